"""What a launch leaves on a host, and how it is removed there.

Standard library only, and nothing of disttrain: the text of this file is also sent to the Python
of other hosts, as in `ssh n1 python - begin MARK BASE FOLDER`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import signal
import stat
import sys
import time
from collections.abc import Sequence

__all__ = [
    "A_RANK",
    "begin",
    "clean",
    "folders",
    "kill",
    "marked",
    "parent_of",
    "sweep",
    "why_no_place",
]

# The variable that all processes of a launch carry; `disttrain.environment` has the same.
MARK = "DISTTRAIN_LAUNCH"
# What else is in the environment of a rank of Open MPI, of MPICH.
A_RANK = (b"OMPI_COMM_WORLD_RANK=", b"PMI_RANK=")
# Who takes over a process whose parent has died, where it is not process 1.
REAPER = "systemd"
# What is in the names of programs that start ranks.
LAUNCHERS = ("mpi", "prte", "hydra", "python", "disttrain")
SHARED_MEMORY = "/dev/shm"
NAME = re.compile("disttrain-[0-9a-f]{12}")
# What a rank of plain mpirun shares with others, while it has a name: its process is in it.
FILE = re.compile(r"disttrain-([0-9]+)-\w+")
# Seconds after which such a file is one that a killed rank has left.
SHORT = 60.0
# Seconds after which an empty folder can't be that of a launch that is just starting.
OLD = 3600.0
# Seconds to wait for killed processes to end.
GOING = 5.0
# Bytes of shared memory without which a rank of Open MPI 5 does not start (it asks for 16 MiB), and
# a little for the rest.
NEEDED = 18 << 20
# What `main` returns where the launch's working directory, or a place for its files, is not there.
NOT_SHARED, NO_ROOM = 3, 4


def folders(mark: str, base: str) -> tuple[str, str]:
    """Return where MPI puts what belongs to the launch: its own files, its shared memory.

    With folders of their own they can be removed without a look at other people's files, and no
    launch ever uses the files of another one. The second is empty where there is none.
    """
    name = f"disttrain-{mark[:12]}"
    shared = os.path.join(SHARED_MEMORY, name) if os.access(SHARED_MEMORY, os.W_OK) else ""
    return os.path.join(base, name), shared


def begin(mark: str, base: str, needed: int = NEEDED) -> None:
    """Remove what an earlier attempt, and what killed launches, have left; make the folders.

    Raises OSError where there can be none: no such place, no room, `needed` bytes of shared memory.
    """
    clean(mark, base)
    sweep(base)
    check_room(needed)
    for folder in filter(None, folders(mark, base)):
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, mode=0o700)


def check_room(needed: int) -> None:
    """Raise OSError where less than that many bytes of shared memory are free."""
    try:
        free = os.statvfs(SHARED_MEMORY)
    except OSError:
        return
    if (have := free.f_bavail * free.f_frsize) < needed:
        words = (
            f"{have / 1e6:.0f} MB are free, and MPI needs {needed / 1e6:.0f} MB for ranks on one "
            "host: remove what is left there, or give the container more, as in "
            "`docker run --shm-size=1g`"
        )
        raise OSError(errno.ENOSPC, words, SHARED_MEMORY)


def sweep(base: str) -> tuple[list[int], list[str]]:
    """Kill and remove what launches and ranks of this user have left that are gone; return both.

    Of processes the ranks whose mpirun has died. Of folders only one that has files in it, and no
    process here: it had daemons or ranks, and they are gone. An empty one may be of a launch that
    begins; an hour later it is of none.
    """
    killed, removed = [pid for pid in marked("", A_RANK) if _is_orphan(pid)], []
    killed = [pid for pid in killed if not _launch_lives(pid)]
    for pid in killed:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + GOING
    while any(map(parent_of, killed)) and time.monotonic() < end:
        time.sleep(0.02)
    for place in (base, SHARED_MEMORY):
        with contextlib.suppress(OSError):
            for name in os.listdir(place):
                path = os.path.join(place, name)
                if NAME.fullmatch(name) and _is_stale(path):
                    shutil.rmtree(path, ignore_errors=True)
                elif (file := FILE.fullmatch(name)) and _is_left(path, int(file[1])):
                    os.unlink(path)
                else:
                    continue
                removed.append(path)
    return killed, removed


def _is_orphan(pid: int) -> bool:
    """Return True for a rank whose parent has died; in a container mpirun may be process 1."""
    parent = parent_of(pid)
    try:
        with open(f"/proc/{parent}/comm", encoding="utf-8", errors="replace") as file:
            name = file.read().strip()
    except OSError:
        return False
    starts_ranks = any(word in name for word in LAUNCHERS)
    return name == REAPER or (parent == 1 and not starts_ranks)


def _launch_lives(pid: int) -> bool:
    """Return True where others than ranks of its launch are here: a rank may start daemons."""
    with contextlib.suppress(OSError, IndexError):
        with open(f"/proc/{pid}/environ", "rb") as file:
            mark = file.read().split(f"{MARK}=".encode(), 1)[1].split(b"\0")[0].decode()
        return bool(set(marked(mark)) - set(marked(mark, A_RANK)))
    return False


def _is_stale(folder: str) -> bool:
    try:
        found, used = os.lstat(folder), bool(os.listdir(folder))
    except OSError:
        return False
    if found.st_uid != os.getuid() or not (used or time.time() - found.st_mtime > OLD):
        return False
    # Looked up after its files: the process that made them existed before them.
    return not marked(os.path.basename(folder).partition("-")[2])


def _is_left(file: str, pid: int) -> bool:
    found = os.lstat(file)
    mine = stat.S_ISREG(found.st_mode) and found.st_uid == os.getuid()
    return mine and time.time() - found.st_mtime > SHORT and not os.path.exists(f"/proc/{pid}")


def clean(mark: str, base: str) -> None:
    """Kill the processes of the launch on this host, wait until they are gone, remove its files."""
    end = time.monotonic() + GOING
    while kill(mark) and time.monotonic() < end:
        time.sleep(0.02)
    for folder in filter(None, folders(mark, base)):
        shutil.rmtree(folder, ignore_errors=True)


def kill(mark: str) -> bool:
    """Kill the processes of the launch on this host; return whether there was one."""
    pids = marked(mark)
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            # It has ended meanwhile, or belongs to somebody else.
            continue
    return bool(pids)


def marked(mark: str, also: Sequence[bytes] = (b"",)) -> list[int]:
    """Return the processes here that belong to the launch, with one of `also` in their environment.

    The first letters of a mark are enough.
    """
    needle, found = f"{MARK}={mark}".encode(), []
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                environment = file.read()
        except OSError:
            # It has ended meanwhile, or belongs to somebody else.
            continue
        if needle in environment and any(word in environment for word in also):
            found.append(int(name))
    return found


def parent_of(pid: int) -> int:
    """Return the parent of a process; 0 where it has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except OSError:
        return 0


def why_no_place(error: OSError) -> str:
    """Return where there is no place for MPI's files, why, and what to do."""
    cure = "" if error.filename == SHARED_MEMORY else "; give another TMPDIR"
    return f"{error.filename}: {error.strerror}{cure}"


def main(arguments: list[str]) -> int:
    """Do what a launch asks of this host: `begin MARK BASE FOLDER [SIGNS]` or `clean MARK BASE`."""
    what, mark, base, *shared = arguments
    if what == "clean":
        clean(mark, base)
        return 0
    for folder, needed in zip(shared, (os.R_OK, os.W_OK), strict=False):
        if not os.path.isdir(folder) or not os.access(folder, needed):
            sys.stderr.write(f"{folder}\n")
            return NOT_SHARED
    try:
        begin(mark, base)
    except OSError as error:
        sys.stderr.write(f"{why_no_place(error)}\n")
        return NO_ROOM
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
