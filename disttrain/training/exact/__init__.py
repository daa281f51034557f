"""Exact mode: which arithmetic, and the probe of what it may rely on."""
