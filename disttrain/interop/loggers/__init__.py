"""Loggers: what a run reports, written for other programs by a process of its own for each."""
