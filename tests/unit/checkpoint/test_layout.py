"""The pieces of a checkpoint: the file that HDF5 would write, and none of its arrays copied."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import h5py
import numpy as np
import pytest

from disttrain.checkpoint import layout
from disttrain.checkpoint.layout import LARGE, bytes_of
from disttrain.checkpoint.save import written

ATTRIBUTES = {"": {"format": "disttrain-checkpoint", "version": 1, "epoch": 1.5}, "velocity": {}}


def arrays() -> layout.Arrays:
    draw = np.random.default_rng(1)
    return {
        "parameters/a/weight": draw.normal(size=(300, 200)).astype("f4"),
        "parameters/a/bias": draw.normal(size=7),
        "velocity/a/weight": np.asfortranarray(draw.normal(size=(200, 300))),
        "velocity/a/bias": np.zeros((0, 4), "f4"),
        "run_file": np.bytes_(b"a text"),
        "state": np.bytes_(b"longer than any small array" * LARGE),
    }


def test_they_are_the_file_that_hdf5_writes_with_all_arrays_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = b"".join(written(arrays(), ATTRIBUTES))
    # HDF5 itself, given every array.
    monkeypatch.setattr(layout, "_nameless", lambda: None)
    monkeypatch.setattr(layout, "_is_large", lambda array: False)
    assert found == b"".join(written(arrays(), ATTRIBUTES))


def test_where_there_is_no_nameless_file_they_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = b"".join(written(arrays(), ATTRIBUTES))
    # HDF5 can't open it, as without /proc.
    file = h5py.File

    def refuse(name: str, *args: Any, **more: Any) -> h5py.File:
        if name.startswith("/proc"):
            raise OSError
        return file(name, *args, **more)

    monkeypatch.setattr(h5py, "File", refuse)
    before = os.listdir("/proc/self/fd")
    assert found == b"".join(written(arrays(), ATTRIBUTES))
    assert os.listdir("/proc/self/fd") == before
    # The C library can't make it.
    monkeypatch.setattr("ctypes.CDLL", lambda name: None)
    assert found == b"".join(written(arrays(), ATTRIBUTES))


# A whole process: where HDF5 can't write, it may crash. {full} happens once the file is open.
SAVE = """
import os, resource, h5py
from tests.unit.checkpoint.test_layout import ATTRIBUTES, arrays
from disttrain.checkpoint.save import written

def full():
    with open("/dev/shm/filler", "wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass

def opened(*args, **more):
    file = real(*args, **more)
    full()
    return file

real, h5py.File = h5py.File, opened
{before}
weight = arrays()["parameters/a/weight"]
print(sum(map(len, written({{f"parameters/{{n}}": weight for n in range(99)}}, ATTRIBUTES))))
"""


def test_a_full_folder_in_memory_does_not_crash_a_save() -> None:
    inside = ["unshare", "-rm", "sh", "-c"]
    mount = 'mount -t tmpfs -o size=16m tmpfs /dev/shm && exec "$@"'
    if subprocess.run([*inside, mount, "sh", "true"], check=False).returncode:
        pytest.skip("no namespaces here")
    saved = subprocess.run(
        [*inside, mount, "sh", sys.executable, "-c", SAVE.format(before="")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert saved.returncode == 0, saved.stderr
    assert int(saved.stdout) > 99 * LARGE


def test_a_limit_of_file_sizes_does_not_crash_a_save() -> None:
    limit = "full = lambda: None; resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))"
    saved = subprocess.run(
        [sys.executable, "-c", SAVE.format(before=limit)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert saved.returncode == 0, saved.stderr
    assert int(saved.stdout) > 99 * LARGE


def test_arrays_are_pieces_where_they_are_in_memory() -> None:
    given = arrays()
    weight = given["parameters/a/weight"]
    assert any(
        isinstance(piece, memoryview)
        and np.shares_memory(np.frombuffer(piece, "u1"), np.asarray(weight))
        for piece in written(given, ATTRIBUTES)
    )
    assert bytes(bytes_of(given["velocity/a/weight"])) == given["velocity/a/weight"].tobytes()


def test_no_file_is_left_open() -> None:
    written(arrays(), ATTRIBUTES)
    before = os.listdir("/proc/self/fd")
    written(arrays(), ATTRIBUTES)
    with pytest.raises(TypeError):
        written({"a": np.bytes_(b"text")}, {"": {"key": object()}})
    assert os.listdir("/proc/self/fd") == before
