"""What can be wrong with GPUs, their driver and CuPy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from disttrain.launch.doctor.checks.grouping import by, by_machine, named, one_per_host, shown
from disttrain.launch.doctor.facts import Facts
from disttrain.launch.doctor.finding import Seen, check, seen

OLDEST = 12


def _fitting(driver_cuda: int) -> int:
    """Return the CUDA of the newest wheel that a driver serves."""
    return 13 if driver_cuda >= 13000 or not driver_cuda else OLDEST


@check("warning", 'start {gpus} ranks on this computer, or set device.kind = "cpu"')
def gpu_shared(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """Two ranks of one computer would take the same GPU."""
    for group in by_machine(r for r in ranks if r.gpu and r.gpu.device and r.gpu.bus):
        places = by(group, lambda r: r.gpu.bus if r.gpu else "")
        for same in places.values():
            if len(same) > 1 and same[0].gpu:
                what = f"{named(same)} would all take {same[0].gpu.device}"
                yield seen(same, what, gpus=len(places))


@check("problem", 'make GPUs visible to all ranks alike, or set device.kind = "cpu"')
def gpu_on_some_ranks(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """Some ranks have a GPU that works and others have none: the slowest sets the pace."""
    without = [r for r in ranks if r.gpu and not r.gpu.device]
    having = [r for r in ranks if r.gpu and r.gpu.device]
    if having and without:
        reason = without[0].gpu.problem if without[0].gpu else ""
        yield seen(without, f"{named(without)} can use no GPU ({reason}), the others can")


@check("warning", "in exact mode run on one kind of GPU")
def different_gpus(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """Ranks have GPUs of different kinds: exact mode does not give the same bits then."""
    having = [r for r in ranks if r.gpu and r.gpu.device]
    kinds = by(having, lambda r: re.sub(r"^gpu \d+ ", "", r.gpu.device) if r.gpu else "")
    if len(kinds) > 1:
        parts = [f"{kind.strip('()')} on {named(group)}" for kind, group in kinds.items()]
        yield seen(having, f"the ranks have different GPUs: {shown(parts)}")


@check("warning", "pip install 'disttrain[cuda{cuda}]'")
def no_cupy(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """There is an NVIDIA driver and no CuPy: the GPU is not used."""
    for rank in one_per_host(ranks):
        if rank.gpu and rank.gpu.has_driver and not rank.gpu.wheels and not rank.gpu.cupy:
            what = f"{rank.host} has an NVIDIA driver but no CuPy: the processor computes"
            yield seen([rank], what, cuda=_fitting(rank.gpu.driver_cuda))


@check("problem", "pip uninstall {wheels}, then pip install 'disttrain[cuda{cuda}]'")
def two_cupy_wheels(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """More than one CuPy is installed: their files overwrite each other."""
    for rank in one_per_host(ranks):
        if rank.gpu and len(rank.gpu.wheels) > 1:
            wheels = rank.gpu.wheels
            what = f"{rank.host} has {' and '.join(wheels)} in one environment"
            yield seen([rank], what, wheels=" ".join(wheels), cuda=_fitting(rank.gpu.driver_cuda))


@check("problem", "pip uninstall {wheel}, then pip install 'disttrain[cuda12]'; or a newer driver")
def cupy_newer_than_driver(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """The CuPy wheel is for a newer CUDA than the driver supports."""
    for rank in one_per_host(ranks):
        for wheel in rank.gpu.wheels if rank.gpu and rank.gpu.driver_cuda else ():
            made_for = re.search(r"cuda(\d+)", wheel)
            serves = rank.gpu.driver_cuda // 1000 if rank.gpu else 0
            if made_for and int(made_for[1]) > serves:
                driver = rank.gpu.driver if rank.gpu else ""
                what = f"{wheel} on {rank.host}, whose driver {driver} serves CUDA {serves} at most"
                yield seen([rank], what, wheel=wheel)


@check("problem", "look at `nvidia-smi` there, and that CUDA_VISIBLE_DEVICES names a GPU")
def gpu_unusable(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """A driver and CuPy are installed, but no GPU can be used."""
    explained = [s.ranks for c in (two_cupy_wheels, cupy_newer_than_driver) for s in c.look(ranks)]
    hosts = {r.host for group in explained for r in group}
    for rank in one_per_host(r for r in ranks if r.gpu and r.gpu.wheels and not r.gpu.device):
        if rank.gpu and rank.gpu.has_driver and rank.host not in hosts:
            yield seen([rank], f"{rank.host}: {rank.gpu.problem}")
