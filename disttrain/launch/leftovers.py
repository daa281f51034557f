"""What a launch leaves on a host, and how it is removed there.

Standard library only, and nothing of disttrain: the text of this file is also sent to the Python
of other hosts, as in `ssh n1 python - begin MARK BASE FOLDER`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time

__all__ = ["begin", "clean", "folders", "kill", "marked"]

# The variable that all processes of a launch carry; `disttrain.environment` has the same.
MARK = "DISTTRAIN_LAUNCH"
SHARED_MEMORY = "/dev/shm"
# Seconds that killed processes may take to go.
GOING = 5.0
# What `main` returns where the launch's working directory, or a place for its files, is not there.
NOT_SHARED, NO_ROOM = 3, 4


def folders(mark: str, base: str) -> tuple[str, str]:
    """Return where MPI puts what belongs to the launch: its own files, its shared memory.

    With folders of their own they can be removed without a look at other people's files, and no
    launch ever meets what another one has left. The second is empty where there is none.
    """
    name = f"disttrain-{mark[:12]}"
    shared = os.path.join(SHARED_MEMORY, name) if os.access(SHARED_MEMORY, os.W_OK) else ""
    return os.path.join(base, name), shared


def begin(mark: str, base: str) -> None:
    """Remove what an earlier attempt of this launch has left, and make its folders.

    Raises OSError where there can be none: no such place, no room.
    """
    clean(mark, base)
    for folder in filter(None, folders(mark, base)):
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, mode=0o700)


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


def marked(mark: str, also: bytes = b"") -> list[int]:
    """Return the processes here that belong to the launch, and have `also` in their environment."""
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
        if needle in environment and also in environment:
            found.append(int(name))
    return found


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
        sys.stderr.write(f"{error.filename}: {error.strerror}; give another TMPDIR\n")
        return NO_ROOM
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
