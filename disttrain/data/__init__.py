"""Data sets in HDF5: reading, sharing out, shuffling and normalizing samples."""

from disttrain.data.batches import Batches, Feed, Part, batch_sizes
from disttrain.data.dataset import Dataset, Split, open_dataset
from disttrain.data.division import PIECE_ROWS, Division, Leaves, Piece, Shares, share
from disttrain.data.file import looks_like_data, read_facts
from disttrain.data.fingerprint import fingerprint
from disttrain.data.normalization import Normalization, measure
from disttrain.data.order import BlockShuffle
from disttrain.data.shape import in_words, interchangeable
from disttrain.data.source import ArrayRows
from disttrain.data.targets import TargetScale, measure_targets

__all__ = [
    "PIECE_ROWS",
    "ArrayRows",
    "Batches",
    "BlockShuffle",
    "Dataset",
    "Division",
    "Feed",
    "Leaves",
    "Normalization",
    "Part",
    "Piece",
    "Shares",
    "Split",
    "TargetScale",
    "batch_sizes",
    "fingerprint",
    "in_words",
    "interchangeable",
    "looks_like_data",
    "measure",
    "measure_targets",
    "open_dataset",
    "read_facts",
    "share",
]
