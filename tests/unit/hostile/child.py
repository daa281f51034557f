"""Reads files that may be hostile, in a process that dies of what a reader must not do.

    python -m tests.unit.hostile.child VALID KIND each FILE...
    python -m tests.unit.hostile.child VALID KIND mutate FLIPS FIRST EVERY SIGN

Each prints one JSON object. Each FILE is read in a fork. Before that, after the imports and one
reading of the whole file VALID, there are

    no pickle, and h5py for data   the modules are gone
    64 MB more than now            of address space
    1 second                       of processor time for a file: then the process dies by SIGPROF
    no other file                  every `open` but that of the file itself is counted (audit hook)

What the HDF5 library does by itself no audit hook sees: so it is made unusable, but for data files
that other programs have written.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from disttrain.checkpoint.commit import signed
from disttrain.comm.alone import Alone
from disttrain.config import Data
from disttrain.data import open_dataset
from disttrain.data.file import looks_like_data
from disttrain.data.importers.arrays import import_npz, read_npy
from disttrain.data.importers.idx import read_idx
from disttrain.data.importers.tables import import_table
from disttrain.errors import DisttrainError
from disttrain.memory import LIMITS
from disttrain.runs.trained import load_trained
from tests.unit.hostile.signing import anew, parted

MORE = 64 << 20
# What tells how much memory is free.
HARMLESS = {"/proc/meminfo", *(path for both in LIMITS for path in both)}
ALONE = Alone()
opened: list[str] = []


def read_data(path: Path) -> list[Any]:
    looks_like_data(str(path))
    dataset = open_dataset(Data(path=str(path), memory="stream"), 1, ALONE)
    found: list[Any] = [dataset.classes, dataset.class_names]
    for name, split in dataset.splits.items():
        stored, places = split.rows.locate(np.arange(split.count))
        found += [name, stored.dtype.str, stored[places], split.targets]
    return found


def read_checkpoint(path: Path) -> list[Any]:
    snapshot = load_trained(path, ALONE).snapshot
    groups = (snapshot.parameters, *snapshot.slots.values(), snapshot.normalization)
    tensors = [part for group in groups for pair in group.items() for part in pair]
    return [snapshot.step, snapshot.epoch, snapshot.run_file, snapshot.state, *tensors]


def read_archive(path: Path) -> list[Any]:
    return [array for pair in import_npz(path).splits.values() for array in pair]


def read_table(path: Path) -> list[Any]:
    return [array for pair in import_table(path).splits.values() for array in pair]


def open_another(path: Path) -> list[Any]:
    return [len(Path(__file__).read_bytes())]


def unpickle(path: Path) -> list[Any]:
    import pickle

    return [pickle.loads(path.read_bytes())]


def doors_are_closed() -> bool:
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def take_memory(path: Path) -> list[Any]:
    return [np.ones(2 * MORE, np.uint8).shape] if doors_are_closed() else []


def take_time(path: Path) -> list[Any]:
    while doors_are_closed():
        pass
    return []


READERS: dict[str, Callable[[Path], list[Any]]] = {
    **{f.__name__: f for f in (open_another, unpickle, take_memory, take_time)},
    "data": read_data,
    "checkpoint": read_checkpoint,
    "npz": read_archive,
    "npy": lambda path: [np.array(read_npy(path))],
    "csv": read_table,
    "idx": lambda path: [read_idx(path)],
}


def digest(found: list[Any]) -> str:
    sha = hashlib.sha256()
    for part in found:
        text = f"{part.dtype}{part.shape}" if isinstance(part, np.ndarray) else repr(part)
        sha.update(text.encode() + (part.tobytes() if isinstance(part, np.ndarray) else b""))
    return sha.hexdigest()


def outcome(kind: str, path: Path) -> tuple[str, str]:
    """Return what became of reading `path`: "read" and a digest, or the error and its text."""
    signal.setitimer(signal.ITIMER_PROF, 1.0)
    try:
        return "read", digest(READERS[kind](path))
    except DisttrainError as error:
        return type(error).__name__, str(error)
    except BaseException as error:
        return f"not one of ours: {type(error).__name__}", str(error)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def close_the_doors(path: Path, kind: str, valid: Path) -> str:
    """Set the limits, and return the digest of the whole file."""
    whole = outcome(kind, valid)[1]
    shut = ("pickle", "_pickle") if kind == "data" else ("pickle", "_pickle", "h5py")
    for name in [m for m in sys.modules if m.partition(".")[0] in shut]:
        sys.modules[name] = None  # type: ignore[assignment]
    for name in ("File", "h5f") if kind != "data" else ():
        delattr(h5py, name)

    def watch(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and str(args[0]) not in {*HARMLESS, str(path)}:
            opened.append(str(args[0]))
        elif event.split(".")[0] in ("pickle", "subprocess", "socket", "os.system", "ctypes"):
            opened.append(event)

    sys.addaudithook(watch)
    now = 1024 * int(next(x for x in Path("/proc/self/status").read_text().splitlines()
                          if x.startswith("VmSize")).split()[1])  # fmt: skip
    resource.setrlimit(resource.RLIMIT_AS, (now + MORE, now + MORE))
    opened.clear()
    return whole


def each(kind: str, valid: Path, paths: list[Path]) -> dict[str, Any]:
    """Read each file in a process of its own; return what became of it by the file's name."""
    found: dict[str, Any] = {}
    for path in paths:
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            close_the_doors(path, kind, valid)
            word, text = outcome(kind, path)
            result = {"outcome": word, "text": text, "opened": opened}
            os.write(writing, json.dumps(result).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            answer = pipe.read()
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        found[path.name] = json.loads(answer) if answer else {"outcome": f"died by {-status}"}
    return found


def mutate(
    kind: str, valid: Path, flips: list[int], first: int, every: int, sign: str
) -> dict[str, Any]:
    """Read `valid` with one byte changed at a time, by one of `flips` in turn.

    With `sign`, its record is right each time: "anew" changes the record's own table too, "first"
    has the record of the first form. Where the process dies, the byte is the last one in the file
    `<valid>.place`.
    """
    path = valid.with_suffix(".mutated")
    written = valid.read_bytes()
    content, table = parted(written) if sign else (written, {})
    table = {"data sets": table["data sets"]} if sign == "first" else table
    text = json.dumps(table).encode() if sign == "anew" else b""
    whole = close_the_doors(path, kind, valid)
    counts: dict[str, int] = {}
    bad: list[Any] = []

    def changed(place: int, flip: int) -> bytes:
        subject = bytearray(content + text)
        subject[place] ^= flip
        if not sign:
            return bytes(subject)
        if place < len(content):
            return anew(bytes(subject[: len(content)]), table)
        return content + signed(bytes(subject[len(content) :]))

    with (
        path.open("wb", buffering=0) as file,
        valid.with_suffix(".place").open("w") as note,
    ):
        for number, place in enumerate(range(first, len(content) + len(text), every)):
            flip = flips[number % len(flips)]
            note.seek(0)
            note.write(f"{place:9d} {flip:3d}\n")
            note.flush()
            file.seek(0)
            file.truncate()
            file.write(changed(place, flip))
            word, said = outcome(kind, path)
            counts[word] = counts.get(word, 0) + 1
            ours = not word.startswith("not") and "MemoryError" not in said
            if not ours or (word == "read" and not sign and said != whole):
                bad.append([place, flip, word, said])
    places = {str(valid), str(valid.with_suffix(".place"))}
    return {"counts": counts, "bad": bad, "opened": [o for o in opened if o not in places]}


def main() -> None:
    valid, kind, how, *more = sys.argv[1:]
    if how == "each":
        result = each(kind, Path(valid), [Path(p) for p in more])
    else:
        flips = [int(flip) for flip in more[0].split(",")]
        result = mutate(kind, Path(valid), flips, int(more[1]), int(more[2]), more[3])
    print(json.dumps(result))


if __name__ == "__main__":
    main()
