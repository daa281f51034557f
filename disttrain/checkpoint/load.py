"""Reading a checkpoint: whole and of this format, or one sentence that says what is wrong.

A checkpoint is read by its commit record (commit.py), never as HDF5. The record proves that nothing
is damaged, but not who wrote it. So its content is untrusted: it must have exactly the form that
this program writes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from disttrain.checkpoint.commit import Content, read_record
from disttrain.checkpoint.save import FORMAT, VERSION
from disttrain.checkpoint.snapshot import Snapshot
from disttrain.checkpoint.state import State
from disttrain.checkpoint.stated import state_of
from disttrain.errors import CheckpointError, DamagedCheckpoint

__all__ = ["load"]

# The slots of checkpoints from before they listed them.
BEFORE_SLOTS = ["velocity"]
SIGNATURE = b"\x89HDF\r\n\x1a\n"
# The attribute `format` stands in the first bytes of a file.
HEAD_BYTES = 1 << 16


def load(path: str | Path) -> Snapshot:
    """Return the snapshot in the checkpoint at `path`, verified against all that it states.

    Raises DamagedCheckpoint for a file that is torn, changed since it was written, or whose weights
    are not those of the digest that it states; CheckpointError for one that is missing, can't be
    read, or is of another format or version.
    """
    path = Path(path)
    if not path.is_file():
        kind = "is not a file" if path.exists() else "does not exist"
        raise CheckpointError(f"checkpoint {path} {kind}: give a run folder or a .h5 file of one")
    try:
        with path.open("rb") as file:
            record = read_record(file)
            if record is None:
                _refuse_uncommitted(path, file)
            if record.size > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
                raise MemoryError
            content = record.read(file)
        if content.damaged:
            raise DamagedCheckpoint(
                f"checkpoint {path} is damaged in {', '.join(content.damaged)[:300]}: use another "
                "one of its run"
            )
        root = content.attributes[""]
        _refuse_other_format(path, root)
        return _read(path, root, content)
    except CheckpointError:
        raise
    except (OSError, MemoryError) as error:
        cause = getattr(error, "strerror", None) or "not enough memory"
        raise CheckpointError(
            f"checkpoint {path} can't be read ({cause}): it may be undamaged; remove the cause "
            "and try "
            "again"
        ) from None
    # Untrusted content may raise anything.
    except Exception as error:
        reason = (str(error)[:300].splitlines() or [type(error).__name__])[0]
        reason = "".join(c if c.isprintable() else "?" for c in reason)
        raise CheckpointError(
            f"checkpoint {path} is damaged ({reason}): use another one of its run"
        ) from None


def _refuse_uncommitted(path: Path, file: BinaryIO) -> NoReturn:
    file.seek(0)
    head = file.read(HEAD_BYTES)
    if head.startswith(SIGNATURE) and FORMAT.encode() in head:
        raise DamagedCheckpoint(
            f"checkpoint {path} is incomplete or was changed (its commit record does not "
            "match): use "
            "another one of its run"
        )
    kind = "an HDF5 file, but " if head.startswith(SIGNATURE) else ""
    kind = "a run file, for `disttrain check`, and " if path.suffix == ".toml" else kind
    raise DamagedCheckpoint(
        f"{path} is {kind}not a checkpoint: give a run folder or a .h5 file of one"
    )


def _refuse_other_format(path: Path, root: Mapping[str, Any]) -> None:
    stated, version = root.get("format"), root.get("version")
    if stated != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint (format {stated!r:.40}, not {FORMAT!r})")
    if version != VERSION:
        raise CheckpointError(
            f"checkpoint {path} has version {version!r:.40}, this program reads {VERSION}: use the "
            "disttrain that wrote it"
        )


def _read(path: Path, root: Mapping[str, Any], content: Content) -> Snapshot:
    arrays = content.arrays
    state = state_of(_text(arrays, "state"))
    progress = State.from_json(state["progress"])
    del state["progress"]
    names = state.get("tensors", [])
    step, epoch = root.get("step"), root.get("epoch")
    if type(step) is not int or type(epoch) is not float or step < 0 or not 0 <= epoch < np.inf:
        raise ValueError(f"step {step!r:.40}, epoch {epoch!r:.40}")
    normalization = {key: arrays.pop(f"normalization/{key}") for key in ("mean", "deviation")}
    normalization |= content.attributes.get("normalization", {})
    snapshot = Snapshot(
        step=step,
        epoch=epoch,
        run_file=_text(arrays, "run_file").decode(),
        parameters=_tensors(arrays, "parameters", names),
        slots={slot: _tensors(arrays, slot, names) for slot in state.get("slots", BEFORE_SLOTS)},
        normalization=_checked(normalization, state.get("data", {}).get("inputs")),
        state=state,
        progress=progress,
        average=_tensors(arrays, "average", names) if _has(arrays, "average") else {},
    )
    if arrays:
        raise ValueError(f"it holds {next(iter(arrays))!r:.40} too")
    digest = root.get("digest")
    if not isinstance(digest, str) or not digest.isprintable():
        raise ValueError(f"digest {digest!r:.40}")
    if digest != snapshot.digest:
        raise DamagedCheckpoint(
            f"checkpoint {path} has other contents than were saved: their digest is "
            f"{snapshot.digest[:12]}, it states {digest!s:.12}; use another one of its run, and "
            "have the memory of that host tested"
        )
    return snapshot


def _text(arrays: dict[str, np.ndarray], name: str) -> bytes:
    array = arrays.pop(name)
    if array.dtype.kind != "S" or array.shape:
        raise ValueError(f"{name} is not a text")
    return bytes(array[()])


def _has(arrays: dict[str, np.ndarray], group: str) -> bool:
    return any(path.startswith(f"{group}/") for path in arrays)


def _tensors(
    arrays: dict[str, np.ndarray], group: str, names: Sequence[str]
) -> dict[str, np.ndarray]:
    """Take the named tensors of a group in their order."""
    there = {path for path in arrays if path.startswith(f"{group}/")}
    if there != {f"{group}/{name}" for name in names} or len(there) != len(names):
        raise ValueError(f"the tensors in {group} are not those that the state lists")
    tensors = {name: arrays.pop(f"{group}/{name}") for name in names}
    if any(tensor.dtype.kind != "f" for tensor in tensors.values()):
        raise ValueError(f"{group} does not hold floats")
    return tensors


def _checked(facts: dict[str, Any], inputs: int | None) -> dict[str, Any]:
    """Return the facts of a normalization; raise ValueError for a missing or wrong one."""
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
        raise ValueError("its normalization has an unknown form")
    return facts
