"""Refuses what was given for a table of text and is a file of another kind, which is named."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from disttrain.errors import DataError

__all__ = ["refuse_binary", "refuse_other_texts"]

KINDS = {
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself: git lfs pull fetches "
    "that",
    b"ARROW1": "a Feather file: write it as Parquet or CSV, as with pandas' to_parquet",
    b"\x93NUMPY": "an array of numpy: prepare it with `disttrain prepare npz`",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file: prepare it with `disttrain prepare hdf5`",
    b"MATLAB 5.0": "a file of MATLAB: write its table as CSV (writetable), or its arrays with "
    "scipy.io.loadmat and numpy.savez",
    b"\xd0\xcf\x11\xe0": "a workbook of Excel or the like: save its sheet there as CSV",
    b"\x28\xb5\x2f\xfd": "packed by zstd: unpack it first",
    b"7z\xbc\xaf\x27\x1c": "packed by 7-Zip: unpack it first",
    b"Rar!": "packed by RAR: unpack it first",
    b"SQLite format 3": "a database of SQLite: write its table as CSV",
    b"%PDF": "a PDF: a table needs text, as CSV",
    b"<stata_dta>": "a file of Stata: write it as CSV, as with pandas' read_stata and to_csv",
    b"\x89PNG": "an image: for images see `disttrain prepare images`",
    b"\xff\xd8\xff": "an image: for images see `disttrain prepare images`",
}
"""What a file is by its first bytes, and what to do."""

PICKLE = re.compile(rb"\x80[\x02-\x05]")
MARKUP = re.compile(r"\s*<(!doctype|html|\?xml|table|svg)\b", re.IGNORECASE)
ARFF = re.compile(r"@relation\b", re.IGNORECASE)
NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
SPARSE = re.compile(rf"[-+\d.]\S*(\s+qid:\d+)?((?:\s+\d+:{NUMBER})+)\s*(?:#.*)?")
TIME = re.compile(r"\d{1,2}:\d\d")
LINES = 5


def refuse_binary(path: Path, start: bytes) -> None:
    """Raise DataError where the first bytes of a file are those of another format."""
    for begin, kind in KINDS.items():
        if start.startswith(begin):
            raise DataError(f"{path} is {kind}")
    if PICKLE.match(start):
        raise DataError(f"{path} is a pickle, which could run code: write it as CSV or Parquet")


def refuse_other_texts(path: Path, text: str, lines: Sequence[str]) -> None:
    """Raise DataError for text that is of another format."""
    if lines and "\0" in lines[0]:
        raise DataError(f"{path} is not a table of text: check the path")
    if re.match(r"\s*(\{|\[\s*[\[{])", text):
        raise DataError(f"{path} is JSON, not a table: write it as CSV, as with pandas' to_csv")
    if MARKUP.match(text):
        raise DataError(f"{path} is a web page or XML, not a table: fetch the file itself")
    if ARFF.match(_first(text)):
        raise DataError(
            f"{path} is ARFF, not a table: write it as CSV, as with scipy.io.arff.loadarff and "
            "pandas' to_csv"
        )
    if _are_sparse([line.strip() for line in lines if not line.startswith("#")][:LINES]):
        raise DataError(
            f"{path} is in LIBSVM's format, not a table: write it as CSV, as with scikit-learn's "
            "load_svmlight_file and numpy's savetxt"
        )


def _first(text: str) -> str:
    """Return the first line that is neither blank nor a comment of ARFF, without blanks."""
    lines = map(str.strip, text.splitlines())
    return next((line for line in lines if line and not line.startswith("%")), "")


def _are_sparse(lines: Sequence[str]) -> bool:
    """Tell whether lines are a number and pairs such as 3:0.5, as LIBSVM writes them.

    Without a pair there is the number alone. Pairs that may all be times of a day, as 14:30, are
    none.
    """
    found = [SPARSE.fullmatch(line) for line in lines]
    alone = all(re.fullmatch(NUMBER, line) for line, pairs in zip(lines, found, strict=True)
                if not pairs)  # fmt: skip
    pairs = [each for each in found if each]
    return alone and any(each[1] or not all(map(TIME.fullmatch, each[2].split())) for each in pairs)
