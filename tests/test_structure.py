"""The rules of the house: who may import whom, who owns which library, how long things may be."""

from __future__ import annotations

import ast
import functools
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import disttrain

PACKAGE = Path(disttrain.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# Imports go from a higher floor to a lower one, or stay in the same room.
FLOORS = {
    "__main__": 10,
    "cli": 9,
    "api": 8,
    "interop": 7,
    "report": 7,
    "selection": 7,
    "launch": 7,
    "bench": 7,
    "runs": 6,
    "advice": 5,
    "training": 4,
    "model": 3,
    "data": 3,
    "checkpoint": 3,
    "comm": 2,
    "arrays": 2,
    "config": 2,
    "environment": 0,
    "stopped": 1,
    "preemption": 1,
    "disk": 1,
    "memory": 1,
    "errors": -1,
    "written": 1,
    "journal": 0,
    "shown": -2,
}
OWNERS = {
    # In checkpoint for writing; launch tries out in the run folder whether HDF5 can write there.
    "h5py": {"checkpoint", "data", "launch"},
    "cupy": {"arrays"},
    "mpi4py": {"comm"},
    "tomllib": {"config"},
    "tomli_w": {"config"},
    "pydantic": {"config"},
    "matplotlib": {"report"},
    "jinja2": {"report"},
    "PIL": {"data"},
    "sklearn": {"interop", "runs"},
    "optuna": {"selection"},
    "onnx": {"interop"},
    "safetensors": {"interop"},
    "tensorboardX": {"interop"},
    "mlflow": {"interop"},
    "wandb": {"interop"},
    "pandas": {"data"},
    "pyarrow": {"data"},
    "typer": {"cli"},
    "rich": {"api", "cli"},
    "numba": {"arrays"},
}
NEVER = {"torch", "pickle", "tensorflow"}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module or ""
            if node.module == "disttrain":
                yield from (f"disttrain.{alias.name}" for alias in node.names)


def test_imports_go_downward_and_libraries_have_one_owner() -> None:
    for path in FILES:
        here = room(path)
        for name in imports(path):
            top, *rest = name.split(".")
            assert top not in NEVER, f"{path} imports {name}"
            assert here in OWNERS.get(top, {here}), f"{path} imports {name}, which is not its own"
            if top == "disttrain" and rest and here != "__init__":
                assert rest[0] == here or FLOORS[rest[0]] < FLOORS[here], f"{path} imports {name}"


def at_run_time(path: Path) -> Iterator[ast.AST]:
    """Yield the statements of a file but those for type checkers alone."""
    waiting: list[ast.AST] = [tree_of(path)]
    while waiting:
        node = waiting.pop()
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            waiting += ast.iter_child_nodes(node)
            yield node


def test_no_file_imports_itself_by_way_of_others() -> None:
    """Also not in a function: that hides a circle, and does not break it."""
    files = {".".join(p.relative_to(PACKAGE.parent).with_suffix("").parts): p for p in FILES}
    graph: dict[str, set[str]] = {}
    for name, path in files.items():
        nodes = [node for node in at_run_time(path) if isinstance(node, ast.ImportFrom)]
        found = {f"{node.module}.{alias.name}" for node in nodes for alias in node.names}
        found |= {node.module or "" for node in nodes}
        graph[name] = found & files.keys()
    # Raises CycleError, which names the circle.
    graphlib.TopologicalSorter(graph).prepare()


def test_layers_losses_and_the_optimizer_never_see_a_communicator() -> None:
    for path in [*(PACKAGE / "model").rglob("*.py"), PACKAGE / "training" / "optimizer.py"]:
        assert not any(name.startswith("disttrain.comm") for name in imports(path)), path


def test_comm_never_sees_a_parameter() -> None:
    for path in (PACKAGE / "comm").rglob("*.py"):
        assert not any(name.startswith("disttrain.model") for name in imports(path)), path


@functools.cache
def classes() -> dict[str, tuple[list[str], set[str]]]:
    """Return the names of the bases and of the methods of each class."""
    return {
        node.name: (
            [ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in node.bases],
            {inner.name for inner in node.body if isinstance(inner, ast.FunctionDef)},
        )
        for path in FILES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ClassDef)
    }


def overrides(owner: str, method: str) -> bool:
    """Return whether a class above `owner` has the method: its docstring holds here too."""
    bases = [base for base in classes()[owner][0] if base in classes()]
    return any(method in classes()[base][1] or overrides(base, method) for base in bases)


def test_files_and_functions_are_short_and_every_public_thing_is_documented() -> None:
    for path in FILES:
        assert path.read_text().count("\n") <= 300, f"{path} has over 300 lines"
        assert ast.get_docstring(tree_of(path)), f"{path} does not say what it is for"
        check_functions(path, tree_of(path))


def check_functions(path: Path, tree: ast.Module) -> None:
    """Check the length and the docstring of each function and class of a file."""
    told_above = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for inner in node.body
        if isinstance(inner, ast.FunctionDef) and overrides(node.name, inner.name)
    }
    for node in ast.walk(tree):
        public = isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_"
        if public and node not in told_above:
            inner = isinstance(node, ast.FunctionDef) and node.name in ("backward", "hook", "ask")
            local = inner or node.name in ("add", "visit", "say")
            assert local or ast.get_docstring(node), f"{path}: {node.name} has no docstring"
        if isinstance(node, ast.FunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= 45, f"{path}: {node.name} has {lines} lines"


def test_no_room_is_called_utils() -> None:
    bad = ("util", "helper", "manager", "handler", "misc", "common")
    assert not [p for p in FILES if any(word in p.stem for word in bad)]


def test_the_public_names_are_frozen() -> None:
    assert disttrain.__all__ == [
        "AveragePool",
        "BatchNorm",
        "Callback",
        "CheckpointError",
        "Context",
        "Conv",
        "Corruption",
        "DamagedCheckpoint",
        "Data",
        "DataError",
        "Dense",
        "DeviceError",
        "DisttrainError",
        "Divergence",
        "Dropout",
        "Flatten",
        "GlobalAveragePool",
        "LauncherError",
        "Layer",
        "LayerNorm",
        "Loss",
        "LostRanks",
        "MaxPool",
        "Parameter",
        "Preempted",
        "RankFailure",
        "Report",
        "RunFileError",
        "Settings",
        "Softmax",
        "Squared",
        "UsageError",
        "__version__",
        "build",
        "connect",
        "fit",
        "gradient_check",
        "in_groups",
        "load",
        "network_of",
        "parse",
        "read",
        "settings",
        "train",
    ]
    for name in disttrain.__all__:
        assert getattr(disttrain, name) is not None


def test_help_starts_without_the_slow_imports() -> None:
    code = (
        "import sys, disttrain.cli;"
        "print([m for m in ('numpy', 'h5py', 'mpi4py', 'pydantic', 'matplotlib', 'rich', 'pandas')"
        " if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_the_page_about_the_architecture_names_what_is_there() -> None:
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text()
    rooms = {path.parent.relative_to(PACKAGE).parts[0] for path in FILES if path.parent != PACKAGE}
    assert {name for name in rooms if f"`{name}/`" not in page} == set()
    for name in re.findall(r"`(?:disttrain/)?((?!tests/)\w+/[\w/]+\.py)`", page):
        assert (PACKAGE / name).is_file(), f"docs/architecture.md names {name}"
    code = "".join(path.read_text() for path in FILES)
    ways = page.partition("## The way of one sample")[2].partition("## One step")[0]
    for owner, name in re.findall(r"`([A-Z]\w+)(?:\.(\w+))?(?:\(.*?\))?`", ways):
        assert f"class {owner}" in code, f"docs/architecture.md names {owner}"
        assert not name or re.search(rf"\b{name}\b", code), f"docs/architecture.md names {name}"
    for name in re.findall(r"`([a-z]\w*_\w+)`", ways):
        assert re.search(rf"\b{name}\b", code), f"docs/architecture.md names {name}"
