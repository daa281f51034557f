"""Which BLAS multiplies here."""

from __future__ import annotations

import functools
import sys
from typing import Any, NamedTuple

import numpy as np  # noqa: F401 - loads the BLAS that is asked
from threadpoolctl import ThreadpoolController

__all__ = ["Blas", "all_have", "blas", "loaded"]


class Blas(NamedTuple):
    """The BLAS that NumPy has loaded: name, version, the kernels that it chose here, threads.

    As in "openblas", "0.3.31", "Haswell"; what is not known is empty.
    """

    name: str = "unknown"
    version: str = ""
    kernel: str = ""
    threads: int = 1

    @property
    def kernels(self) -> str:
        """Name, version and kernels, without the threads."""
        return " ".join(filter(None, (self.name, self.version, self.kernel)))

    def __str__(self) -> str:
        return "unknown" if self == Blas() else f"{self.kernels}, {self.threads} threads"


@functools.lru_cache(1)
def _all_libraries(modules: int) -> list[Any]:
    """Return threadpoolctl's objects for each BLAS; looking for them takes a while.

    A library comes with a module, so they are looked for again where there are more `modules`.
    """
    found: list[Any] = ThreadpoolController().select(user_api="blas").lib_controllers
    return found


@functools.cache
def _libraries() -> list[Any]:
    """Return those for NumPy's BLAS."""
    found = _all_libraries(len(sys.modules))
    return [one for one in found if "numpy" in one.filepath] or found[:1]


def loaded() -> list[dict[str, Any]]:
    """Return what threadpoolctl says of NumPy's BLAS; other packages bring libraries of their own.

    Where none is NumPy's it is the one that was loaded first, if any.
    """
    return [one.info() for one in _libraries()]


def blas() -> Blas:
    """Return NumPy's BLAS as it is now."""
    for library in loaded():
        version, kernel = library.get("version"), library.get("architecture")
        threads = int(library.get("num_threads") or 1)
        return Blas(library["internal_api"], version or "", kernel or "", threads)
    return Blas()


def all_have(threads: int) -> bool:
    """Return whether each BLAS in this process, as SciPy's beside NumPy's, has so many threads."""
    return all(one.get_num_threads() == threads for one in _all_libraries(len(sys.modules)))
