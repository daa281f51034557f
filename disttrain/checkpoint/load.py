"""Reading a checkpoint: whole and of this format, or one sentence that says what is wrong.

The commit record guards against damage; anyone can write a right one behind anything. So all that
stands before it is read as what a stranger wrote: by hdf5/, and checked to be of this form alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from disttrain.checkpoint.commit import content_of, damage, read_marked
from disttrain.checkpoint.save import FORMAT, VERSION
from disttrain.checkpoint.snapshot import Snapshot
from disttrain.checkpoint.stated import run_file_of, state_of
from disttrain.errors import CheckpointError, DamagedCheckpoint
from disttrain.hdf5 import SIGNATURE, Array, Group, Memory, everything_in, root_of

__all__ = ["load"]

# What the optimizer kept before checkpoints named its state vectors.
BEFORE_SLOTS = ["velocity"]


def load(path: str | Path) -> Snapshot:
    """Return the snapshot in the checkpoint at `path`, verified against all that it states.

    Raises DamagedCheckpoint for a file that is torn, changed since it was written, or whose weights
    are not those of the digest that it states; CheckpointError for one that is missing, can't be
    read, or is of another format or version.
    """
    path = Path(path)
    if not path.is_file():
        kind = "is not a file" if path.exists() else "does not exist"
        raise CheckpointError(f"checkpoint {path} {kind}: give a .h5 file of a run folder")
    try:
        written = read_marked(path)
        damaged = None if written is None else damage(written)
        if written is None or damaged is None:
            _refuse_uncommitted(path)
        if damaged:
            raise DamagedCheckpoint(
                f"checkpoint {path} is damaged in {', '.join(damaged)[:300]}: use another one of "
                "its run"
            )
        source = Memory(content_of(written))
        root = root_of(source)
        _refuse_other_format(path, root)
        return _read(path, root, everything_in(root, source))
    except CheckpointError:
        raise
    except (OSError, MemoryError) as error:
        cause = getattr(error, "strerror", None) or "not enough memory"
        raise CheckpointError(
            f"checkpoint {path} can't be read ({cause}): it may be whole; see to the cause and try "
            "again"
        ) from None
    # Whatever a stranger's text or number leads to, also what nobody thought of.
    except Exception as error:
        reason = (str(error)[:300].splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"checkpoint {path} is damaged ({reason}): use another one of its run"
        ) from None


def _refuse_uncommitted(path: Path) -> NoReturn:
    with path.open("rb") as file:
        if file.read(len(SIGNATURE)) != SIGNATURE:
            raise DamagedCheckpoint(f"{path} is not a checkpoint: give a .h5 file of a run folder")
    raise DamagedCheckpoint(
        f"{path} is not a checkpoint, or is torn or was changed (its commit record does not "
        "match): use another one of its run"
    )


def _refuse_other_format(path: Path, root: Group) -> None:
    stated, version = root.attribute("format"), root.attribute("version")
    if stated != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint (format {stated!r:.40}, not {FORMAT!r})")
    if version != VERSION:
        raise CheckpointError(
            f"checkpoint {path} has version {version!r:.40}, this program reads {VERSION}: use the "
            "disttrain that wrote it"
        )


def _read(path: Path, root: Group, arrays: Mapping[str, Array]) -> Snapshot:
    state = state_of(_text(arrays, "state"))
    names = state.get("tensors", [])
    step, epoch = root.attribute("step"), root.attribute("epoch")
    if not isinstance(step, int) or not isinstance(epoch, float) or step < 0 or not epoch >= 0:
        raise ValueError(f"step {step!r}, epoch {epoch!r}")
    snapshot = Snapshot(
        step=step,
        epoch=epoch,
        run_file=run_file_of(_text(arrays, "run_file")),
        parameters=_tensors(arrays, "parameters", names),
        slots={slot: _tensors(arrays, slot, names) for slot in state.get("slots", BEFORE_SLOTS)},
        normalization=_normalization(root, arrays, state.get("data", {}).get("inputs")),
        state=state,
    )
    digest = root.attribute("digest")
    if digest != snapshot.digest:
        raise DamagedCheckpoint(
            f"checkpoint {path} does not hold what it was made of: its digest is "
            f"{snapshot.digest[:12]}, it states {digest!s:.12}; use another one of its run, and "
            "have the memory of that host tested"
        )
    return snapshot


def _text(arrays: Mapping[str, Array], name: str) -> bytes:
    array = arrays[name]
    if array.dtype.kind != "S" or array.shape:
        raise ValueError(f"{name} is not a text")
    return bytes(array.all()[()])


def _tensors(arrays: Mapping[str, Array], group: str, names: list[str]) -> dict[str, np.ndarray]:
    """Return the named tensors in their order: HDF5 itself lists names alphabetically."""
    there = {path for path in arrays if path.startswith(f"{group}/")}
    if there != {f"{group}/{name}" for name in names} or len(there) != len(names):
        raise ValueError(f"the tensors in {group} are not those that the state lists")
    tensors = {name: arrays[f"{group}/{name}"] for name in names}
    if any(array.dtype.kind != "f" for array in tensors.values()):
        raise ValueError(f"{group} does not hold floats")
    # A copy, as what was read can't be written to.
    return {name: np.array(array.all()) for name, array in tensors.items()}


def _normalization(root: Group, arrays: Mapping[str, Array], inputs: int | None) -> dict[str, Any]:
    group = root.get("normalization")
    if not isinstance(group, Group):
        raise ValueError("it has no normalization")
    facts: dict[str, Any] = {key: group.attribute(key) for key in group.attribute_names}
    facts |= {key: np.array(arrays[f"normalization/{key}"].all()) for key in group.names}
    good = (
        set(facts) == {"kind", "divisor", "mean", "deviation"}
        and isinstance(facts["kind"], str)
        and isinstance(facts["divisor"], float)
        and 0 < facts["divisor"] < np.inf
        and facts["mean"].ndim == 1
        and facts["mean"].shape == facts["deviation"].shape == (inputs or len(facts["mean"]),)
        and all(facts[key].dtype == np.float64 for key in ("mean", "deviation"))
        and all(np.isfinite(facts[key]).all() for key in ("mean", "deviation"))
    )
    if not good:
        raise ValueError("its normalization is not one")
    return facts
