"""What can be wrong with cores, threads and BLAS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from disttrain.launch.doctor.checks.grouping import by, by_machine, named, shown
from disttrain.launch.doctor.facts import Facts, Processor
from disttrain.launch.doctor.finding import Seen, check, seen

# OpenBLAS's kernels for x86-64, oldest first: a newer processor runs an older one's kernels.
KERNELS = (
    "Prescott", "Core2", "Nehalem", "Sandybridge", "Haswell", "Zen", "SkylakeX", "Cooperlake",
    "SapphireRapids",
)  # fmt: skip


def _machines(ranks: Sequence[Facts]) -> Iterator[tuple[list[Facts], list[Processor], int]]:
    """Yield each computer's ranks, their processors, and how many cores they may use together."""
    for group in by_machine(r for r in ranks if r.processor and r.processor.cores):
        processors = [r.processor for r in group if r.processor]
        yield group, processors, len({core for p in processors for core in p.cores})


def _crowded(ranks: int, cores: int, machine_cores: int) -> bool:
    """Tell whether ranks were bound to fewer cores than there are for them."""
    return ranks > cores and cores < machine_cores


@check("warning", "start them with `--bind-to none`, or ask the scheduler for a core for each rank")
def ranks_share_a_core(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """Ranks of one computer may use fewer cores than there are ranks, but it has more."""
    for group, processors, cores in _machines(ranks):
        every = processors[0].machine_cores
        if _crowded(len(group), cores, every):
            numbers = sorted({str(core) for p in processors for core in p.cores}, key=int)
            word = "core" if cores == 1 else "cores"
            what = f"{named(group)} may all use {word} {shown(numbers)} only, of {every}"
            yield seen(group, what)


@check("warning", "start {cores} ranks on this computer; where more are meant, expect them to wait")
def more_ranks_than_cores(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """One computer has more ranks than cores."""
    for group, processors, cores in _machines(ranks):
        if len(group) > cores and not _crowded(len(group), cores, processors[0].machine_cores):
            what = f"{named(group)} share {cores} core{'s' if cores > 1 else ''}"
            yield seen(group, what, cores=cores)


@check("warning", "leave OMP_NUM_THREADS unset, or set it to {fits}")
def too_many_threads(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """The ranks of a computer would run more BLAS threads than they have cores."""
    for group, processors, cores in _machines(ranks):
        threads = sum(p.threads for p in processors)
        if threads > cores >= len(group):
            asked = next((p.threads_asked for p in processors if p.threads_asked), "")
            why = f" (OMP_NUM_THREADS={asked})" if asked else ""
            what = f"{named(group)} would run {threads} BLAS threads{why} on {cores} cores"
            yield seen(group, what, fits=max(1, cores // len(group)))


@check("warning", "set OMP_NUM_THREADS={fits}, or grant the container more")
def cpu_quota(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """A container is granted the time of fewer cores than its threads would use."""
    for host, group in by((r for r in ranks if r.processor), lambda r: r.host).items():
        quotas = [r.processor.quota for r in group if r.processor and r.processor.quota]
        threads = sum(r.processor.threads for r in group if r.processor)
        # Below one core for each rank, fewer threads would not help.
        if quotas and threads > max(quotas[0], len(group)):
            what = f"{host} is granted the time of {quotas[0]:g} cores for {threads} threads"
            yield seen(group, what, fits=max(1, int(quotas[0] // len(group))))


@check("warning", "set OPENBLAS_CORETYPE={kernel} on all ranks (`mpirun -x OPENBLAS_CORETYPE`)")
def different_blas(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """Ranks use different BLAS kernels: exact mode does not give the same bits then."""
    known = [r for r in ranks if r.processor and r.processor.kernel]
    groups = by(known, lambda r: r.processor.kernel if r.processor else "")
    if len(groups) > 1:
        oldest = min(groups, key=lambda k: KERNELS.index(k) if k in KERNELS else len(KERNELS))
        parts = [f"{kernel} on {named(group)}" for kernel, group in groups.items()]
        what = (
            f"the ranks' BLAS uses different kernels ({shown(parts)}): exact mode can't give "
            "equal bits"
        )
        yield seen(known, what, kernel=oldest)
