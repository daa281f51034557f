"""The main path: a run, its steps, its intervals, its folder."""

from disttrain.training.build import build_run
from disttrain.training.callbacks import Callback
from disttrain.training.comparison import compare_runs
from disttrain.training.predictor import Predictor
from disttrain.training.replay import replay
from disttrain.training.run import Run
from disttrain.training.session import train
from disttrain.training.state import Report
from disttrain.training.trainer import fit, train_step

__all__ = [
    "Callback",
    "Predictor",
    "Report",
    "Run",
    "build_run",
    "compare_runs",
    "fit",
    "replay",
    "train",
    "train_step",
]
