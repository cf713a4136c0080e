"""Losses that several methods share: functions of logits, features and codes."""
