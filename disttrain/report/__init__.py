"""Pictures of a run and of a network: the only room that knows matplotlib."""
