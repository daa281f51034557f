"""Pictures of runs and networks, and reports: the only importer of matplotlib and jinja2."""
