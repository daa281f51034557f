"""Arrays, and computing on them on processors and GPUs: the only importer of cupy."""

from disttrain.arrays.checksum import checksum
from disttrain.arrays.choose import choose
from disttrain.arrays.device import Array, Cpu, Device, Mirror
from disttrain.arrays.draws import field, generator, permutation
from disttrain.arrays.workspace import Chunks, OneArray, Workspace

__all__ = [
    "Array",
    "Chunks",
    "Cpu",
    "Device",
    "Mirror",
    "OneArray",
    "Workspace",
    "checksum",
    "choose",
    "field",
    "generator",
    "permutation",
]
