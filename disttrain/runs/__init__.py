"""Runs in their folders: train, resume, summarize, replay, compare, verify."""

from disttrain.runs.comparison import compare_runs
from disttrain.runs.replay import replay
from disttrain.runs.session import train

__all__ = ["compare_runs", "replay", "train"]
