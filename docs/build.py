"""Runs every command of the course's pages, and compares what they print, or writes it into them.

    python docs/build.py --check [PAGE...]      fails where a page and the program differ
    python docs/build.py --write [PAGE...]      puts outputs and pictures into the pages

A page is Markdown. What counts of it:

- a block ```console: a line `$ COMMAND` is run by the shell (a line that ends with a backslash goes
  on in the next one, which begins with `> `); what follows is what it prints, both streams. A
  command that ends with the comment `# exit 2` must have that exit status, others 0. Numbers are
  compared as `#`, spaces as one space, and a line `...` stands for any lines; in a block
  ```console exact numbers count;
- a block ```toml or ```python: its first line `# file: NAME` says where it is written to, before
  the first command;
- a comment <!-- picture: MADE -> pictures/NAME.png -->: the file MADE by a command of the page is
  the picture that the page shows.

Each page has a temporary folder of its own, in which its commands run in order. What they print is
also written, at once, to a log for each page (--logs), which stays.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from page import Command, Page, parse

COURSE = Path(__file__).parent / "course"
LOGS = Path(__file__).parent / ".logs"
# A command takes seconds, minutes on a machine where much else runs; longer than this it hangs.
LIMIT_SECONDS = 900.0
# Of what a command that failed has printed so many lines are shown, and where the rest is.
SHOWN_LINES = 40
# Seconds that it may take to end when it is asked to.
GRACE = 5.0
ANY = "..."
PICTURE_LIMIT = 250_000

NUMBER = re.compile(r"[-+]?\d[\d,]*(\.\d*)?([eE][-+]?\d+)?|\b(nan|inf)\b")


# Which units are silent, and so how many, is another list on another processor.
LIST = re.compile(r"#(, #)+")


def masked(line: str, exact: bool = False) -> str:
    """Return the line with `#` for each number or list of them, unless `exact`; single spaces."""
    return " ".join((line if exact else LIST.sub("#", NUMBER.sub("#", line))).split())


def aligned(
    expected: Sequence[str], printed: Sequence[str], exact: bool = False
) -> list[str] | None:
    """Return `printed` with `...` where `expected` has it, or None where they do not agree."""
    want = [ANY if line.strip() == ANY else masked(line, exact) for line in expected]
    have = [masked(line, exact) for line in printed]
    # ends[i]: the places in `printed` from where the lines of `expected` from the i-th on fit.
    ends: list[set[int]] = [{len(have)}]
    for line in reversed(want):
        if line == ANY:
            ends.append(set(range(max(ends[-1], default=-1) + 1)))
        else:
            ends.append({p - 1 for p in ends[-1] if p and have[p - 1] == line})
    ends.reverse()
    if 0 not in ends[0]:
        return None
    place, taken = 0, []
    for line, after in zip(want, ends[1:], strict=True):
        if line == ANY:
            # As few lines as possible: the first ones are shown where several would fit.
            place = min(p for p in after if p >= place)
            taken.append(ANY)
        else:
            taken.append(printed[place])
            place += 1
    return taken


def environment() -> dict[str, str]:
    """Return the environment of the commands: this Python first, no colours, one BLAS thread."""
    here = str(Path(sys.executable).parent)
    return os.environ | {
        "PATH": here + os.pathsep + os.environ.get("PATH", ""),
        "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb", "LC_ALL": "C.UTF-8",
        "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONUNBUFFERED": "1",
    }  # fmt: skip


def run(page: Page, folder: Path, log: Path, limit: float) -> dict[int, list[str]]:
    """Run the page's commands in `folder`; return what each printed, by its line. Notes problems.

    After a command with another exit status than it must have, or that takes longer than `limit`
    seconds, no more are run. All that is printed is in the file `log` too.
    """
    for name, text in page.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    printed: dict[int, list[str]] = {}
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w+", encoding="utf-8", errors="replace") as file:
        for command in page.commands:
            file.write(f"$ {command.text}\n")
            file.flush()
            begin, start = file.seek(0, os.SEEK_END), time.monotonic()
            status = one(command.text, folder, file.fileno(), limit)
            file.seek(begin)
            lines = [line.rstrip() for line in file.read().strip("\n").splitlines()]
            file.seek(0, os.SEEK_END)
            file.write(f"# {time.monotonic() - start:.1f} s, exit status {status}\n")
            if status != command.status:
                how = f"has exit status {status}, not {command.status}"
                if status is None:
                    how = f"takes more than {limit:g} s"
                last = "\n".join(f"    {line}" for line in lines[-SHOWN_LINES:])
                page.complain(command.line, f"`{command.text}` {how}; its log is {log}\n{last}")
                break
            printed[command.line] = lines
    return printed


def one(text: str, folder: Path, output: int, limit: float) -> int | None:
    """Run a command of the shell and return its exit status; None where it had to be killed."""
    process = subprocess.Popen(
        ["/bin/sh", "-c", text], cwd=folder, env=environment(), start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=output, stderr=output,
    )  # fmt: skip
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        # With all that it has started in its own group: `disttrain launch` then ends its ranks.
        os.killpg(process.pid, signal.SIGTERM)
        time.sleep(GRACE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None


def compare(page: Page, printed: dict[int, list[str]]) -> None:
    """Note every command that printed something else than the page says."""
    for command in page.commands:
        if command.line not in printed:
            continue
        lines, expected = printed[command.line], _without_end(command.printed)
        if aligned(expected, lines, command.exact) is None:
            page.complain(command.line, f"`{command.text}` prints\n{_difference(command, lines)}")


def _difference(command: Command, lines: list[str]) -> str:
    want = [masked(line, command.exact) for line in command.printed]
    have = [masked(line, command.exact) for line in lines]
    return "\n".join(
        [f"    + {line}" for line, m in zip(lines, have, strict=True) if m not in want]
        + [f"    - {line}" for line, m in zip(command.printed, want, strict=True)
           if m not in have and m != ANY]
    ) or "    the same lines in another order or number"  # fmt: skip


def _without_end(lines: list[str]) -> list[str]:
    """Return the lines without empty ones at the end."""
    count = len(lines)
    while count and not lines[count - 1].strip():
        count -= 1
    return lines[:count]


def rewritten(page: Page, printed: dict[int, list[str]]) -> str:
    """Return the page's text with what its commands printed; lines `...` stay where they fit."""
    lines = list(page.lines)
    for command in reversed(page.commands):
        if command.line in printed:
            expected = _without_end(command.printed)
            new = aligned(expected, printed[command.line], command.exact)
            rest = command.printed[len(expected) :]
            lines[command.first - 1 : command.last - 1] = (
                printed[command.line] if new is None else new
            ) + rest
    return "\n".join(lines) + "\n"


def pictures(page: Page, folder: Path, write: bool) -> None:
    """Note the pictures that were not made, are not there or are too large; copy them to write."""
    for name, made in page.pictures.items():
        source, target = folder / made, page.path.parent / name
        line = next((n for n, text in enumerate(page.lines, 1) if name in text), 1)
        if not source.is_file() or not source.stat().st_size:
            page.complain(line, f"no command made the picture {made}")
        elif source.stat().st_size > PICTURE_LIMIT:
            page.complain(line, f"{made} is larger than {PICTURE_LIMIT:,} bytes")
        elif write:
            target.parent.mkdir(exist_ok=True)
            copy(source, target)
        elif not target.is_file():
            page.complain(line, f"{name} is not there: python docs/build.py --write makes it")


def copy(source: Path, target: Path) -> None:
    """Copy a picture; of a PNG keep 128 colours, which are enough for plots, in half the bytes."""
    if source.suffix != ".png" or source.read_bytes()[:4] != b"\x89PNG":
        shutil.copyfile(source, target)
        return
    from PIL import Image

    with Image.open(source) as picture:
        picture.convert("RGB").quantize(128).save(target, optimize=True)


def build(path: Path, write: bool, logs: Path = LOGS, limit: float = LIMIT_SECONDS) -> list[str]:
    """Run a page, and write it again or compare; return what is wrong with it."""
    page = parse(path, path.read_text(encoding="utf-8"))
    if page.problems:
        return page.problems
    with tempfile.TemporaryDirectory(prefix="disttrain-course-") as folder:
        printed = run(page, Path(folder), logs / f"{path.stem}.log", limit)
        if not page.problems:
            pictures(page, Path(folder), write)
    if write and not page.problems:
        path.write_text(rewritten(page, printed), encoding="utf-8")
    elif not write:
        compare(page, printed)
    return page.problems


def chosen(names: Sequence[str]) -> Iterator[Path]:
    """Return the pages that are named, by path or by the beginning of their name, or all."""
    pages = sorted(COURSE.glob("*.md"))
    for name in names:
        found = [p for p in pages if p.name.startswith(Path(name).name)]
        if not found:
            raise SystemExit(f"there is no page {name} in {COURSE.name}/")
        yield from found
    if not names:
        yield from pages


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the pages; return 1 where something is wrong with one of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--check", action="store_true", help="compare the pages with the program")
    mode.add_argument("--write", action="store_true", help="write outputs and pictures")
    parser.add_argument("--jobs", type=int, default=2, help="pages at the same time [default: 2]")
    parser.add_argument("--logs", type=Path, default=LOGS, help="where logs go [docs/.logs]")
    parser.add_argument("--limit", type=float, default=LIMIT_SECONDS,
                        help=f"seconds that a command may take [{LIMIT_SECONDS:g}]")  # fmt: skip
    parser.add_argument("pages", nargs="*", help="some pages only, as in 01 or 01-perceptron.md")
    given = parser.parse_args(arguments)
    paths = list(chosen(given.pages))
    bad = 0
    with ThreadPoolExecutor(given.jobs) as pool:
        for path, problems in zip(
            paths,
            pool.map(lambda p: build(p, given.write, given.logs, given.limit), paths),
            strict=True,
        ):
            print("\n".join(problems) if problems else f"{path.name}: ok", flush=True)
            bad += bool(problems)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
