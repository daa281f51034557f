"""Exact mode: the choice of the arithmetic, and the probe of its assumptions."""
