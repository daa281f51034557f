"""Texts in files of MATLAB 7.3: character matrices, and cells of them, which are references."""

from __future__ import annotations

import h5py
import numpy as np

from disttrain.data.stored import Refused

__all__ = ["texts_of_matlab"]

CLASS, EMPTY = b"MATLAB_class", b"MATLAB_empty"
LONGEST = 4096
"""Characters of a text."""


def texts_of_matlab(found: h5py.h5d.DatasetID, path: str) -> np.ndarray | None:
    """Return what MATLAB keeps in an array as texts, None where it holds something else.

    A matrix of characters gives a text (rows,) for each of its rows, which are stored as columns.
    Raises Refused for cells that hold no text.
    """
    kind = _class_of(found)
    if kind == b"char" and found.shape and found.shape[0] <= LONGEST:
        letters = np.atleast_2d(h5py.Dataset(found)[()])
        return np.array([_joined(column) for column in letters.T])
    if found.get_type().get_class() != h5py.h5t.REFERENCE:
        return None
    texts = []
    for reference in h5py.Dataset(found)[()].ravel():
        cell = h5py.h5r.dereference(reference, found) if kind == b"cell" and reference else None
        if not isinstance(cell, h5py.h5d.DatasetID) or _class_of(cell) != b"char":
            raise Refused(
                f"{path} holds references to something else than texts",
                "name an array of numbers, of characters, or cells of texts",
            )
        size = int(np.prod(cell.shape))
        if size > LONGEST or cell.get_create_plist().get_external_count():
            raise Refused(f"{path} holds a text of over {LONGEST} characters")
        texts.append("" if h5py.h5a.exists(cell, EMPTY) else _joined(h5py.Dataset(cell)[()]))
    return np.array(texts)


def _class_of(found: h5py.h5d.DatasetID) -> bytes:
    """Return MATLAB's name for the type of an array, empty for one of another program."""
    if not h5py.h5a.exists(found, CLASS):
        return b""
    kind = h5py.AttributeManager(h5py.Dataset(found))["MATLAB_class"]
    return kind if isinstance(kind, bytes) else b""


def _joined(letters: np.ndarray) -> str:
    """Return characters (numbers of UTF-16) as a text without blanks around it."""
    return np.ravel(letters).astype("<u2").tobytes().decode("utf-16-le", "replace").strip()
