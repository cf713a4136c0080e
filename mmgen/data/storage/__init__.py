"""Data sets as files for many readers: tar shards, and features of a frozen network."""
