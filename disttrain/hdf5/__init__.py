"""Reading HDF5 files that nobody vouches for: a strict subset, in Python, on bounded memory.

The HDF5 library crashes, or runs for ever, on some damaged files, and follows links into other
files. It is therefore never used for reading. This room reads what the formats of disttrain need:

    superblock ── group ── group ── array        numbers or fixed-length text; contiguous, compact,
        │           │                            or in chunks behind the few usual filters
        └ signature └ attributes                 numbers and text

and refuses the rest by a `Refused` that says what it met. Nothing but the one file is ever opened;
every place and size is compared with the size of the file before anything is allocated; the bytes
of structure, their depth and their number are limited. Source: HDF5 File Format Specification 3.0.
"""

from disttrain.hdf5.array import Array
from disttrain.hdf5.group import Group
from disttrain.hdf5.source import Memory, OpenFile, Refused, Source
from disttrain.hdf5.superblock import SIGNATURE, root_of
from disttrain.hdf5.walk import everything_in

__all__ = [
    "SIGNATURE",
    "Array",
    "Group",
    "Memory",
    "OpenFile",
    "Refused",
    "Source",
    "everything_in",
    "root_of",
]
