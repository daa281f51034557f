"""Checks before a training and advice after it."""
