"""Checkpoints in HDF5: saved whole or not at all, rotated, verified, loaded."""

from disttrain.checkpoint.digest import digest
from disttrain.checkpoint.layout import Buffer
from disttrain.checkpoint.load import load
from disttrain.checkpoint.rotate import (
    Found,
    all_checkpoints,
    delete_older,
    find,
    newest_whole,
    path_of,
    put_aside,
    save_newest,
    step_of,
)
from disttrain.checkpoint.save import Draft, drafted, image, pieces_of, save, write_atomically
from disttrain.checkpoint.snapshot import Snapshot
from disttrain.checkpoint.state import Report, State
from disttrain.checkpoint.verify import Verdict, is_checkpoint, verify

__all__ = [
    "Buffer",
    "Draft",
    "Found",
    "Report",
    "Snapshot",
    "State",
    "Verdict",
    "all_checkpoints",
    "delete_older",
    "digest",
    "drafted",
    "find",
    "image",
    "is_checkpoint",
    "load",
    "newest_whole",
    "path_of",
    "pieces_of",
    "put_aside",
    "save",
    "save_newest",
    "step_of",
    "verify",
    "write_atomically",
]
