"""Tables, arrays, images and IDX files of other programs, as `disttrain prepare` takes them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import zipfile
from pathlib import Path
from random import Random

import h5py
import numpy as np

from tests.fuzz.kind import Case, Kind
from tests.fuzz.mutation import changed_bytes, changed_text, utf8
from tests.fuzz.trial import Outcome

COMPRESSED = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def changed_table(random: Random, base: Path, folder: Path) -> Case:
    """Change a table as a text or in its bytes, also behind its compression."""
    content = (base / "table.csv").read_bytes()
    if random.randrange(3):
        content = utf8(changed_text(content.decode(), random))
    else:
        content = changed_bytes(content, random)
    name = "table.csv"
    if random.randrange(4) == 0:
        ending = random.choice(list(COMPRESSED))
        content, name = COMPRESSED[ending](content), name + ending
        if random.randrange(2):
            content = changed_bytes(content, random)
    (folder / name).write_bytes(content)
    return Case(["prepare", "csv", name, "out.h5"])


def table_in_a_dialect(random: Random, base: Path, folder: Path) -> Case:
    """Write known numbers in a way that other programs do: they are read as they are."""
    rows, columns = random.randrange(8, 40), random.randrange(1, 5)
    numbers = [
        [round(random.uniform(-50, 50), random.randrange(4)) for _ in range(columns)]
        for _ in range(rows)
    ]
    labels = [random.choice(("ant", "bee", "a cow")) for _ in range(rows)]
    labels[:6] = ["ant", "bee", "a cow"] * 2
    between = random.choice((",", ";", "\t", "|"))
    quote = random.choice(("", '"'))
    end = random.choice(("\n", "\r\n"))
    names = [
        random.choice(("length", "width, in mm", "höhe", "x", "n")) + str(n) for n in range(columns)
    ]
    needed = quote or ('"' if any(between in name for name in names) else "")
    lines = [between.join([*(f"{needed}{name}{needed}" for name in names), f"{quote}label{quote}"])]
    for row, label in zip(numbers, labels, strict=True):
        lines.append(between.join([*map(str, row), f"{quote}{label}{quote}"]))
    mark = random.choice(("", "\ufeff"))
    text = mark + end.join(lines) + random.choice(("", end, end + end))
    (folder / "table.csv").write_bytes(text.encode())

    def judge(outcome: Outcome) -> str:
        if outcome.code:
            return "a table in order was refused: " + outcome.err.strip()[:300]
        with h5py.File(folder / "out.h5") as file:
            inputs, targets = file["train/inputs"][()], file["train/targets"][()]
            classes = [
                c.decode() if isinstance(c, bytes) else str(c) for c in file.attrs["classes"]
            ]
        found = sorted(
            (*map(float, np.float32(row).ravel()), classes[t])
            for row, t in zip(inputs, targets, strict=True)
        )
        right = sorted(
            (*map(float, np.float32(row)), label)
            for row, label in zip(numbers, labels, strict=True)
        )
        return (
            "" if found == right else f"other rows than were written: {found[:2]} for {right[:2]}"
        )

    return Case(["prepare", "csv", "table.csv", "out.h5"], judge)


def changed_arrays(random: Random, base: Path, folder: Path) -> Case:
    """Change an archive of arrays, or an array inside an archive that is in order."""
    name = random.choice(("arrays.npz", "deflated.npz"))
    content = (base / name).read_bytes()
    if random.randrange(2):
        content = changed_bytes(content, random)
    else:
        content = _with_a_changed_member(content, random)
    (folder / "arrays.npz").write_bytes(content)
    return Case(["prepare", "npz", "arrays.npz", "out.h5"])


def _with_a_changed_member(content: bytes, random: Random) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
        chosen = random.choice(old.namelist())
        for name in old.namelist():
            data = old.read(name)
            how = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
            new.writestr(name, changed_bytes(data, random) if name == chosen else data, how)
    return made.getvalue()


def changed_idx(random: Random, base: Path, folder: Path) -> Case:
    """Change an IDX file, or what is inside its compression."""
    shutil.copytree(base / "idx", folder / "idx")
    path = random.choice(sorted((folder / "idx").iterdir()))
    content = path.read_bytes()
    if random.randrange(2):
        path.write_bytes(changed_bytes(content, random))
    else:
        path.write_bytes(gzip.compress(changed_bytes(gzip.decompress(content), random)))
    return Case(["prepare", "idx", "idx", "out.h5"])


def changed_images(random: Random, base: Path, folder: Path) -> Case:
    """Change an image, its name, or what lies beside it."""
    shutil.copytree(base / "images", folder / "images")
    path = random.choice(sorted((folder / "images").rglob("*.*")))
    match random.randrange(6):
        case 0 | 1:
            path.write_bytes(changed_bytes(path.read_bytes(), random))
        case 2:
            path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 6\nshowpage\n")
        case 3:
            path.unlink()
            os.mkfifo(path)
        case 4:
            os.rename(path.parent, os.fsencode(path.parent.parent) + b"/\xe9t\xe9")
        case 5:
            path.rename(
                path.with_name(random.choice((".hidden.png", "a\nb.png", "\x1b[2J.jpg", "x.txt")))
            )
    return Case(
        [
            "prepare",
            "images",
            "images",
            "out.h5",
            *random.choice(([], ["--size", "6x5"], ["--grey"])),
        ]
    )


def foreign_hdf5(random: Random, base: Path, folder: Path) -> Case:
    """Change an HDF5 file that another program has written, in any of several layouts."""
    random_numbers = np.random.default_rng(random.randrange(1 << 30))
    inputs, targets = random_numbers.normal(size=(24, 3)), np.arange(24) % 2
    options = random.choice(
        (
            {},
            {"chunks": (5, 3)},
            {"compression": "gzip"},
            {"compression": "lzf"},
            {"shuffle": True, "chunks": (8, 1)},
        )
    )
    with h5py.File(folder / "data.h5", "w", libver=random.choice(("earliest", "latest"))) as file:
        file.create_dataset(
            "train/inputs", data=inputs, dtype=random.choice(("f4", ">f8", "f2")), **options
        )
        file["train/targets"] = targets.astype(random.choice(("i8", "u1", ">i4")))
    if random.randrange(5):
        (folder / "data.h5").write_bytes(changed_bytes((folder / "data.h5").read_bytes(), random))
    (folder / "run.toml").write_bytes(
        (base / "run.toml").read_bytes().replace(b"units = 3", b"units = 2")
    )
    return Case(
        random.choice((["check", "run.toml"], ["verify", "data.h5"], ["inspect", "data.h5"]))
    )


KINDS = [
    Kind("table", changed_table),
    Kind("table dialect", table_in_a_dialect),
    Kind("arrays", changed_arrays),
    Kind("idx", changed_idx),
    Kind("images", changed_images),
    Kind("foreign hdf5", foreign_hdf5),
]
