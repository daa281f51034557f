"""A disk that notes every call that changes it, fails where it shall, and is cut off anywhere.

`Disk` stands between the package and the real file system. From what it noted `after_a_crash` makes
every folder that a power failure could leave, by the rules that file systems promise and no more:

- bytes are safe once their file was synced; of those that were not, any beginning may be there, and
  blocks may be zero;
- a name that was made, moved or deleted is so once its directory was synced; before that each such
  change may have happened or not, whatever the others did.
"""

from __future__ import annotations

import builtins
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

BLOCK = 4096
OPENERS = ("disttrain.checkpoint.save", "disttrain.runs.lines")
Folder = dict[str, bytes]
"""Path below the root → content; a directory ends with "/" and has none."""


@dataclass(frozen=True)
class Call:
    """One call that changes the disk; `target` is the new name, `data` what is written."""

    kind: str
    path: str
    data: bytes = b""
    target: str = ""


@dataclass
class Disk:
    """What the package did below `root`; raises `error` in place of call number `fail_at`.

    With `forever` all later calls fail too. A write takes at most `chunk` bytes, and before a write
    that fails half of them are written. `skip` names a kind of call that is not made: a program
    with a mistake.
    """

    root: Path
    chunk: int = BLOCK
    fail_at: int | None = None
    error: BaseException | None = None
    forever: bool = False
    skip: str = ""
    calls: list[Call] = field(default_factory=list)
    count: int = 0

    @contextmanager
    def watched(self) -> Iterator[Disk]:
        """Watch, and fail, everything that is done in the body."""
        with pytest.MonkeyPatch.context() as patch:
            for name in OPENERS:
                if name in sys.modules:
                    patch.setattr(sys.modules[name], "open", self._open, raising=False)
            for name in ("unlink", "mkdir"):
                patch.setattr(os, name, self._one(name, getattr(os, name)))
            for name in ("replace", "rename"):
                patch.setattr(os, name, self._two(getattr(os, name)))
            patch.setattr(os, "fsync", self._fsync(os.fsync))
            yield self

    def do(self, call: Call, real: Callable[[], Any]) -> Any:
        """Note `call` and make it, or fail in its place."""
        self.count += 1
        failing = self.fail_at is not None and self.count >= self.fail_at
        if self.error and failing and (self.forever or self.count == self.fail_at):
            raise self.error
        if call.kind == self.skip:
            return None
        result = real()
        self.calls.append(call)
        return result

    def inside(self, path: object) -> str | None:
        """Return `path` below the root, or None where it is elsewhere."""
        found = Path(os.path.abspath(str(path)))
        return str(found.relative_to(self.root)) if found.is_relative_to(self.root) else None

    def _one(self, kind: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *args: Any, **more: Any) -> Any:
            name = self.inside(path)
            # What is not there is not deleted, what is there is not made: neither is a change.
            if name is None or os.path.lexists(path) != (kind == "unlink"):
                return real(path, *args, **more)
            return self.do(Call(kind, name), lambda: real(path, *args, **more))

        return call

    def _two(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(source: Any, target: Any) -> Any:
            one, two = self.inside(source), self.inside(target)
            if one is None or two is None:
                return real(source, target)
            return self.do(Call("move", one, target=two), lambda: real(source, target))

        return call

    def _fsync(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def call(descriptor: int) -> None:
            path = os.readlink(f"/proc/self/fd/{descriptor}")
            name = self.inside(path)
            if name is None:
                return real(descriptor)
            kind = "sync directory" if os.path.isdir(path) else "sync"
            return self.do(Call(kind, name), lambda: real(descriptor))

        return call

    def _open(self, path: Any, mode: str = "r", *args: Any, **more: Any) -> Any:
        name = self.inside(path)
        if name is None or not set(mode) & set("wax"):
            return builtins.open(path, mode, *args, **more)
        real = self.do(
            Call("open", name) if "a" in mode and os.path.exists(path) else Call("create", name),
            lambda: builtins.open(path, mode, *args, **more),  # noqa: SIM115 - _File closes it
        )
        return _File(self, name, real)


class _File:
    """An open file that takes its bytes in pieces, through the disk."""

    def __init__(self, disk: Disk, name: str, real: Any) -> None:
        self.disk, self.name, self.real, self.fileno = disk, name, real, real.fileno

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *args: object) -> None:
        self.real.close()

    def write(self, data: Any) -> int:
        whole = isinstance(data, str)
        piece = data if whole else data[: self.disk.chunk]
        content = piece.encode() if whole else bytes(piece)
        call = Call("write", self.name, content)
        try:
            written: int = self.disk.do(call, lambda: self.real.write(piece))
        except OSError:
            if not whole:
                self.real.write(piece[: len(piece) // 2])
            raise
        return written


def after_a_crash(before: Folder, calls: Iterable[Call]) -> Iterator[Folder]:
    """Yield every folder that a crash right after `calls` may leave; `before` was all synced."""
    disk = _Model(before)
    for call in calls:
        disk.make(call)
    yield from disk.left()


class _Model:
    """Files by number, the names that are safe, and the changes of names that are not yet."""

    def __init__(self, before: Folder) -> None:
        self.contents = dict(enumerate(before.values()))
        self.synced = {number: len(content) for number, content in self.contents.items()}
        self.safe = dict(zip(before, self.contents, strict=True))
        self.now = dict(self.safe)
        self.pending: list[tuple[str, Call, int]] = []

    def make(self, call: Call) -> None:
        if call.kind == "sync directory":
            for directory, change, number in self.pending:
                if directory == call.path:
                    _rename(self.safe, change, number)
            self.pending = [p for p in self.pending if p[0] != call.path]
        elif call.kind == "write":
            self.contents[self.now[call.path]] += call.data
        elif call.kind == "sync":
            self.synced[self.now[call.path]] = len(self.contents[self.now[call.path]])
        elif call.kind != "open":
            number = len(self.contents)
            if call.kind in ("create", "mkdir"):
                self.contents[number], self.synced[number] = b"", 0
            else:
                number = self.now[call.path]
            _rename(self.now, call, number)
            self.pending.append((str(Path(call.path).parent), call, number))

    def left(self) -> Iterator[Folder]:
        for happened in itertools.product([False, True], repeat=len(self.pending)):
            names = dict(self.safe)
            for (_, change, number), yes in zip(self.pending, happened, strict=True):
                if yes:
                    _rename(names, change, number)
            names = {name: n for name, n in names.items() if _reachable(name, names)}
            files = [name for name in names if not name.endswith("/")]
            choices = [list(self.versions(names[name])) for name in files]
            directories = {name: b"" for name in names if name.endswith("/")}
            for contents in itertools.product(*choices):
                yield directories | dict(zip(files, contents, strict=True))

    def versions(self, number: int) -> Iterator[bytes]:
        """Yield what may be there of a file: all that is synced, and any part of the rest."""
        content, safe = self.contents[number], self.synced[number]
        length = len(content)
        yield content
        if length == safe:
            return
        for end in sorted({safe, (safe + length) // 2, length - 1, *range(safe, length, BLOCK)}):
            yield content[:end]
        yield content[:safe] + bytes(length - safe)
        for low in range(safe, length, BLOCK):
            high = min(low + BLOCK, length)
            yield content[:low] + bytes(high - low) + content[high:]


def _rename(names: dict[str, int], change: Call, number: int) -> None:
    """Make, move or delete a name."""
    if change.kind == "mkdir":
        names[f"{change.path}/"] = number
    elif change.kind == "create":
        names[change.path] = number
    else:
        names.pop(change.path, None)
        if change.kind == "move":
            names[change.target] = number


def _reachable(name: str, names: dict[str, int]) -> bool:
    above = [str(p) for p in Path(name).parents if str(p) != "."]
    return all(f"{p}/" in names for p in above)


def read(root: Path) -> Folder:
    """Return all that is below `root`."""
    return {
        str(p.relative_to(root)) + "/" * p.is_dir(): b"" if p.is_dir() else p.read_bytes()
        for p in sorted(root.rglob("*"))
    }


def write(root: Path, folder: Folder) -> Path:
    """Make `folder` below `root`, which is new; return `root`."""
    root.mkdir()
    for name, content in sorted(folder.items()):
        if name.endswith("/"):
            (root / name).mkdir()
        else:
            (root / name).write_bytes(content)
    return root
