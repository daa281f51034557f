"""What can be wrong with the run folder and the file system below it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from disttrain.launch.doctor.checks.grouping import shown
from disttrain.launch.doctor.facts import Disk, Facts
from disttrain.launch.doctor.finding import Seen, check, seen

FORGETS = {"tmpfs": "memory", "ramfs": "memory", "overlay": "a container's own layer"}
# Bytes below which a checkpoint or two may not fit, and seconds that a synced megabyte may take.
SPACE = 1 << 30
SLOW = 1.0


def _disks(ranks: Sequence[Facts]) -> Iterator[tuple[Facts, Disk]]:
    """Yield rank 0, which alone writes in the run folder, and its facts of that folder."""
    return ((rank, rank.disk) for rank in ranks[:1] if rank.disk)


@check("problem", "look at its mount (`df`, `mount`), or choose another folder with --output")
def folder_gives_no_answer(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """The test of the run folder fails, or does not end in time, as on a dead network disk."""
    for rank in ranks:
        if reason := rank.failed.get("disk"):
            yield seen([rank], f"the run folder could not be tried out on {rank.host}: {reason}")


@check("problem", "choose another folder with --output, or ask for the right to write there")
def folder_not_writable(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """The run folder can't be made or written."""
    for rank, disk in _disks(ranks):
        if disk.write_problem:
            yield seen([rank], f"nothing can be written in {disk.tested}: {disk.write_problem}")


@check("problem", "choose a folder on another file system with --output")
def rename_not_atomic(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """Renaming a file over another fails there, or readers see something between old and new."""
    for rank, disk in _disks(ranks):
        if disk.rename_problem:
            what = f"renaming over a file does not work in {disk.tested}: {disk.rename_problem}"
            yield seen([rank], what)


@check("problem", "choose a folder on another file system with --output")
def sync_fails(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """Files or their names can't be synced there: a checkpoint may be gone after a power cut."""
    for rank, disk in _disks(ranks):
        if disk.sync_problem:
            yield seen([rank], f"fsync does not work in {disk.tested}: {disk.sync_problem}")


@check("warning", "save less often (checkpoint.every_epochs), or choose a faster --output")
def sync_slow(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """Writing and syncing one megabyte takes more than a second."""
    for rank, disk in _disks(ranks):
        if disk.sync_seconds > SLOW and not disk.sync_problem:
            what = f"to sync a megabyte takes {disk.sync_seconds:.1f} s in {disk.tested}"
            yield seen([rank], what)


@check("problem", "mount it with locks (Lustre: `-o flock`), or choose another folder by --output")
def no_locks(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """flock fails there or has no effect: a run refuses the folder, or two runs share it."""
    for rank, disk in _disks(ranks):
        if disk.lock_problem:
            yield seen([rank], f"flock does not work in {disk.tested}: {disk.lock_problem}")


@check("warning", "make room, keep fewer checkpoints (checkpoint.keep), or choose another --output")
def little_space(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """The run folder's file system has less than 1 GB free."""
    for rank, disk in _disks(ranks):
        if disk.free < SPACE and not disk.write_problem:
            yield seen([rank], f"{disk.tested} has {disk.free >> 20} MB free")


@check("warning", "choose a folder on a disk or a mounted volume with --output")
def folder_does_not_last(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """The run folder is in memory or in a container's own layer: it is lost at a restart."""
    for rank, disk in _disks(ranks):
        if disk.kind in FORGETS:
            where = FORGETS[disk.kind]
            what = f"{disk.tested} lies in {where} ({disk.kind}): checkpoints go with a restart"
            yield seen([rank], what)


@check("warning", "choose a folder that all hosts share with --output")
def folder_not_shared(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """Other hosts don't see what rank 0 writes in the run folder."""
    blind = [r for r in ranks if r.disk and r.disk.token_seen is False]
    if blind and ranks[0].disk:
        what = (
            f"{ranks[0].disk.tested} is not shared with {shown([r.host for r in blind])}: "
            f"checkpoints are on {ranks[0].host} only, and lost with it"
        )
        yield seen(blind, what)
