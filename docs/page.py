"""A page of the course as a program reads it: files to write, commands, pictures, complaints."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Command", "Page", "parse"]

EXIT = re.compile(r"#\s*exit (\d+)\s*$")
PICTURE = re.compile(r"<!--\s*picture:\s*(\S+)\s*->\s*(\S+)\s*-->")
SHOWN = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)")
FILE = re.compile(r"#\s*file:\s*(\S+)\s*$")


@dataclass
class Command:
    """A command of a page; `line` counts from 1, `first` to `last` are the lines it printed."""

    text: str
    line: int
    first: int
    last: int
    exact: bool = False
    printed: list[str] = field(default_factory=list)

    @property
    def status(self) -> int:
        """The exit status that it must have."""
        found = EXIT.search(self.text)
        return int(found[1]) if found else 0


@dataclass
class Page:
    """What a page has: files to write, commands, pictures made, pictures shown, complaints."""

    path: Path
    lines: list[str]
    files: dict[str, str] = field(default_factory=dict)
    commands: list[Command] = field(default_factory=list)
    pictures: dict[str, str] = field(default_factory=dict)
    shown: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def complain(self, line: int, what: str) -> None:
        """Note a problem with the page's name and line in front."""
        self.problems.append(f"{self.path.name}:{line}: {what}")


def parse(path: Path, text: str) -> Page:
    """Return the page in `text`."""
    page = Page(path, text.splitlines())
    kind, start = None, 0
    for number, line in enumerate(page.lines, 1):
        if kind is None and line.startswith("```"):
            kind, start = line[3:].strip(), number
        elif kind is not None and line.rstrip() == "```":
            _take_block(page, kind, start, number)
            kind = None
        elif kind is None:
            page.pictures |= {shown: made for made, shown in PICTURE.findall(line)}
            page.shown += [name for name in SHOWN.findall(line) if "://" not in name]
    if kind is not None:
        page.complain(start, "this block has no end")
    for name in page.shown:
        if name not in page.pictures:
            page.complain(1, f"no comment says what makes the picture {name}")
    for name in page.pictures:
        if name not in page.shown:
            page.complain(1, f"the picture {name} is made but not shown")
    return page


def _take_block(page: Page, kind: str, start: int, end: int) -> None:
    """Take in the block between the lines `start` and `end`, which hold its fences."""
    body = page.lines[start : end - 1]
    if kind.split()[:1] == ["console"]:
        page.commands += _commands(page, body, start + 1, kind.split()[1:] == ["exact"])
    elif kind in ("toml", "python"):
        found = FILE.match(body[0]) if body else None
        if not found or "/" in found[1]:
            page.complain(start, f"a {kind} block begins with a line `# file: NAME`")
        elif found[1] in page.files:
            page.complain(start, f"the file {found[1]} is there twice")
        else:
            page.files[found[1]] = "\n".join(body[1:]).strip("\n") + "\n"


def _commands(page: Page, body: Sequence[str], first: int, exact: bool) -> list[Command]:
    """Return the commands of a console block whose first line is number `first`."""
    commands: list[Command] = []
    goes_on = False
    for number, line in enumerate(body, first):
        if goes_on:
            commands[-1].text += "\n" + line.removeprefix("> ")
            commands[-1].first = commands[-1].last = number + 1
        elif line.startswith("$ "):
            commands.append(Command(line[2:], number, number + 1, number + 1, exact))
        elif commands:
            commands[-1].printed.append(line)
            commands[-1].last = number + 1
        else:
            page.complain(number, "a console block begins with a line `$ COMMAND`")
            return []
        goes_on = (goes_on and line.endswith("\\")) or (
            line.startswith("$ ") and line.endswith("\\")
        )
    return commands
