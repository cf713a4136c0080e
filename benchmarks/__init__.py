"""What the package costs: ``python -m benchmarks.NAME`` prints and writes results."""
