"""Reads other data files: prepared ones, and HDF5 files of other programs."""

from __future__ import annotations

from disttrain.comm import Communicator
from disttrain.config import Data
from disttrain.data.dataset import Dataset, Split, open_whole
from disttrain.data.others.base import Other, Wanted, joined
from disttrain.data.source import ChosenInputs, Rows
from disttrain.data.taught import Taught

__all__ = ["from_data_file", "split_of"]


def split_of(taught: Taught, dataset: Dataset, name: str, labelled: bool = True) -> Split:
    """Return a split of a data file as samples of the network. Raises DataError."""
    split, chosen = dataset.splits[name], taught.inputs_in(dataset)
    rows: Rows = split.rows if chosen is None else ChosenInputs(split.rows, chosen)
    taught.normalization.refuse_other_type(rows.dtype)
    targets = taught.targets_in(dataset, split.targets) if labelled else split.targets
    return Split(name, rows, targets, split.weights)


def from_data_file(
    path: str, taught: Taught, settings: Data, comm: Communicator, wanted: Wanted
) -> Other:
    """Return samples of a data file, called by their rows there. Collective."""
    settings = settings.model_copy(update={"path": path})
    dataset = open_whole(settings, comm, labelled=wanted.labelled, only=wanted.split)
    with comm.together("opening data"):
        splits = {n: split_of(taught, dataset, n, wanted.labelled) for n in dataset.splits}
        return joined(splits, path)
