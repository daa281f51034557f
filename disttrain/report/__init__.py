"""Pictures of a run and of a network: the only importer of matplotlib."""
