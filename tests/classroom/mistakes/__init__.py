"""Typical wrong answers of every assignment, by name, with the points they deserve."""
