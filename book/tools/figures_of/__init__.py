"""Descriptions of the chapters' diagrams, drawn by diagrams.py: a module each."""
