"""Reading a checkpoint: whole and of this format, or one sentence that says what is wrong."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, NoReturn

import h5py
import numpy as np

from disttrain.checkpoint.commit import damage
from disttrain.checkpoint.save import FORMAT, VERSION
from disttrain.checkpoint.snapshot import Snapshot
from disttrain.errors import CheckpointError

__all__ = ["load"]

HDF5 = b"\x89HDF\r\n\x1a\n"


def load(path: str | Path) -> Snapshot:
    """Return the snapshot in the checkpoint at `path`, verified against all that it states.

    Raises CheckpointError for a file that is missing, torn, changed since it was written, of
    another format or version, or whose weights are not those of the digest that it states.
    """
    path = Path(path)
    if not path.is_file():
        kind = "is not a file" if path.exists() else "does not exist"
        raise CheckpointError(f"checkpoint {path} {kind}: give a .h5 file of a run folder")
    try:
        written = path.read_bytes()
        damaged = damage(written)
        if damaged is None:
            _refuse_uncommitted(path, written)
        if damaged:
            raise CheckpointError(
                f"checkpoint {path} is damaged in {', '.join(damaged)}: use another one of its run"
            )
        with h5py.File(io.BytesIO(written), "r") as file:
            return _read(path, file)
    except CheckpointError:
        raise
    # h5py and json report damaged files by errors of many classes.
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"checkpoint {path} is damaged ({reason}): use another one of its run"
        ) from None


def _refuse_uncommitted(path: Path, written: bytes) -> NoReturn:
    if not written.startswith(HDF5):
        raise CheckpointError(f"{path} is not a checkpoint: give a .h5 file of a run folder")
    raise CheckpointError(
        f"{path} is not a checkpoint, or is torn or was changed (its commit record does not "
        "match): use another one of its run"
    )


def _read(path: Path, file: h5py.File) -> Snapshot:
    stated = file.attrs.get("format")
    if stated != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint (format {stated!r}, not {FORMAT!r})")
    if file.attrs.get("version") != VERSION:
        raise CheckpointError(
            f"checkpoint {path} has version {file.attrs.get('version')}, this program reads "
            f"{VERSION}: use the disttrain that wrote it"
        )
    state = json.loads(bytes(file["state"][()]))
    snapshot = Snapshot(
        step=int(file.attrs["step"]),
        epoch=float(file.attrs["epoch"]),
        run_file=bytes(file["run_file"][()]).decode(),
        parameters=_tensors(file["parameters"], state["tensors"]),
        velocity=_tensors(file["velocity"], state["tensors"]),
        normalization=_facts(file["normalization"]),
        state=state,
    )
    if file.attrs["digest"] != snapshot.digest:
        raise CheckpointError(
            f"checkpoint {path} does not hold what it was made of: its digest is "
            f"{snapshot.digest[:12]}, it states {file.attrs['digest'][:12]}; use another one of "
            "its run, and have the memory of that host tested"
        )
    return snapshot


def _tensors(group: h5py.Group, names: list[str]) -> dict[str, np.ndarray]:
    """Return the named tensors in their order: HDF5 itself lists names alphabetically."""
    return {name: group[name][()] for name in names}


def _facts(group: h5py.Group) -> dict[str, Any]:
    facts = {key: _plain(value) for key, value in group.attrs.items()}
    return facts | {key: group[key][()] for key in group}


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
