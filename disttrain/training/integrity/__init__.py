"""Proof that a run is right: each sample used once, equal replicas, a chain of digests."""
