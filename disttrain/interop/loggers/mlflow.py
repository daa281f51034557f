"""The logger `mlflow`: a run of the experiment that the run file names.

It goes where `MLFLOW_TRACKING_URI` says, else into `mlruns` of the run folder: files, which MLflow
has in maintenance and asks to be allowed; a database would need more libraries.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import mlflow

__all__ = ["MLflow"]

# What MLflow takes for one value.
LONGEST = 500


class MLflow:
    """Writes settings as parameters and each number as a metric."""

    def start(self, name: str, folder: str, settings: dict[str, Any], step: int) -> None:
        """Begin a run of the experiment."""
        if "MLFLOW_TRACKING_URI" not in os.environ:
            os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
            mlflow.set_tracking_uri(f"file://{Path(folder) / 'mlruns'}")
        mlflow.set_experiment(name)
        mlflow.start_run(run_name=Path(folder).name)
        mlflow.log_params({key: str(value)[:LONGEST] for key, value in settings.items()})

    def interval(self, step: int, numbers: dict[str, Any]) -> None:
        """Write the numbers."""
        mlflow.log_metrics({key: float(value) for key, value in numbers.items()}, step=step)

    def end(self, summary: dict[str, Any]) -> None:
        """End the run."""
        mlflow.set_tags({key: str(summary.get(key)) for key in ("status", "digest", "ranks")})
        mlflow.end_run()
