"""Checkpoints in HDF5: saved whole or not at all, rotated, verified, loaded."""

from disttrain.checkpoint.digest import digest
from disttrain.checkpoint.load import load
from disttrain.checkpoint.rotate import all_checkpoints, find, newest_whole, save_newest
from disttrain.checkpoint.save import image, save, write_atomically
from disttrain.checkpoint.snapshot import Snapshot

__all__ = [
    "Snapshot",
    "all_checkpoints",
    "digest",
    "find",
    "image",
    "load",
    "newest_whole",
    "save",
    "save_newest",
    "write_atomically",
]
