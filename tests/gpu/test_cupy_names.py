"""Every name of CuPy's that the package uses is there in the CuPy that is installed.

`pip install cupy-cuda13x` (or `-cuda12x`) switches the test on; it needs no GPU. What the stand-in
of the tests has could be a name that CuPy never had.
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "disttrain").rglob("*.py"))
# Methods and attributes of objects, which are called by no name that could be found.
NEEDED = {
    "cuda.Stream": ("begin_capture", "end_capture", "record", "wait_event", "synchronize"),
    "cuda.Event": ("record", "synchronize", "done"),
    "cuda.Graph": ("launch",),
    "cuda.Device": ("use",),
    "RawModule": ("get_function",),
    "ndarray": ("data", "flags", "nbytes", "dtype", "shape", "size", "strides", "view", "copy",
                "reshape", "T", "astype", "ndim"),
}  # fmt: skip


def chain_of(node: ast.AST) -> str:
    """Return `cupy.cuda.Stream` of such an expression; "" for any other."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def names_in(path: Path) -> set[str]:
    """Return the names of cupy, of cupyx, and of `xp` that a file uses."""
    tree, found = ast.parse(path.read_text()), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            chain = chain_of(node)
            if chain.split(".")[0] in ("cupy", "cupyx", "cp", "xp"):
                found.add(chain)
    return found


USED = {path: names for path in FILES if (names := names_in(path))}


def test_the_search_finds_what_the_package_uses() -> None:
    names = set().union(*USED.values())
    assert {"cupy.cuda.Stream", "cupyx.empty_pinned", "cupy.RawModule", "xp.exp"} <= names


@pytest.fixture(scope="module")
def cupy() -> Any:
    return pytest.importorskip("cupy", reason="no CuPy: pip install cupy-cuda13x")


@pytest.mark.parametrize("path", USED, ids=lambda path: str(path.relative_to(ROOT)))
def test_cupy_has_every_name_that_a_file_uses(cupy: Any, path: Path) -> None:
    lacking = []
    for name in sorted(USED[path]):
        first, *parts = name.split(".")
        found: Any = importlib.import_module("cupyx" if first == "cupyx" else "cupy")
        for part in parts:
            if not hasattr(found, part):
                lacking.append(name)
                break
            found = getattr(found, part)
    assert lacking == []


@pytest.mark.parametrize("kind", NEEDED)
def test_cupys_objects_have_the_methods_that_are_called(cupy: Any, kind: str) -> None:
    found = cupy
    for part in kind.split("."):
        found = getattr(found, part)
    assert [name for name in NEEDED[kind] if not hasattr(found, name)] == []


def test_signatures_are_those_that_the_package_calls(cupy: Any) -> None:
    # Cython writes the signature as the first line of the documentation.
    cuda = cupy.cuda
    for known, words in (
        (cuda.Stream.__init__, ("null=", "non_blocking=")),
        (cuda.Event, ("disable_timing",)),
        (cuda.Graph.launch, ("stream=None",)),
        (cuda.Stream.begin_capture, ("mode=None",)),
        (cuda.Stream.record, ("event=None",)),
        (cupy.RawModule, ("code=", "options=")),
    ):
        assert [word for word in words if word not in known.__doc__] == [], known
    assert issubclass(cupy.cuda.memory.OutOfMemoryError, MemoryError)


def test_an_xp_of_the_package_is_in_numpy_too() -> None:
    of_xp = {name for names in USED.values() for name in names if name.startswith("xp.")}
    assert [name for name in sorted(of_xp) if not hasattr(np, name.split(".")[1])] == []
