"""Choosing models: candidates trained by groups of ranks, searches, cross-validation."""
