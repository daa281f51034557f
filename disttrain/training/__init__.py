"""The main path: a run, its steps, its intervals."""

from disttrain.checkpoint.state import Report
from disttrain.training.build import build_run
from disttrain.training.callbacks import Callback
from disttrain.training.keeper import Keeper, KeepNothing
from disttrain.training.predictor import Predictor
from disttrain.training.pretraining import pretrain
from disttrain.training.run import Run
from disttrain.training.trainer import fit, train_step

__all__ = [
    "Callback",
    "KeepNothing",
    "Keeper",
    "Predictor",
    "Report",
    "Run",
    "build_run",
    "fit",
    "pretrain",
    "train_step",
]
