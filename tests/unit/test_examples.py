"""Every command has an example in its help; it, and every command in the documentation, parses."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from disttrain.cli import app
from disttrain.cli.examples import EXAMPLES, GROUPS, commands
from disttrain.launch.command import PARALLEL

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md")])
CLI = typer.main.get_command(app)
# The line in a list of commands is cut off where a terminal of 80 columns ends.
LONGEST = 58


def parse(words: list[str], whole: str) -> None:
    """Parse the words behind `disttrain`, and those of a command that `launch` starts."""
    command, words = CLI, list(words)
    while hasattr(command, "commands"):
        if not words or words[0].startswith("-"):
            return
        name = words.pop(0)
        assert name in command.commands, f"{name} is no command: {whole}"
        command = command.commands[name]
    if {"-h", "--help"} & set(words):
        return
    found = command.make_context(command.name, words).params
    started = list(found.get("arguments") or [])
    if command.name == "launch" and started[0] in PARALLEL:
        parse(started, whole)


def documented() -> Iterator[tuple[str, str]]:
    """Yield each command in a block of a page, and the page."""
    for page in PAGES:
        blocks = re.findall(r"^ *```(\w*)[^\n]*\n(.*?)^ *```", page.read_text(), re.M | re.S)
        for block in (text for kind, text in blocks if kind in ("", "sh", "console")):
            for line in block.replace("\\\n>", " ").replace("\\\n", " ").splitlines():
                words = re.sub(r"^\$ |#(?= ).*$|\s+>.*$|\|.*$", "", line.strip()).strip()
                if words.startswith("disttrain ") and "..." not in words and "$" not in words:
                    yield words, str(page.relative_to(ROOT))


def test_every_command_has_an_example_and_no_other_has() -> None:
    assert {name for name, _ in commands(app)} == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_parses_and_stands_in_the_help(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line, example = EXAMPLES[name]
    assert len(line) <= LONGEST
    assert line.endswith(".")
    assert name in example
    parse(shlex.split(example)[1:], example)
    app([*name.split(), "--help"], prog_name="disttrain", standalone_mode=False)
    assert f"Example: {example}" in " ".join(capsys.readouterr().out.split())


def test_the_list_of_commands_is_not_cut_off(capsys: pytest.CaptureFixture[str]) -> None:
    for group in ((), *((name,) for name in GROUPS)):
        app([*group, "--help"], prog_name="disttrain", standalone_mode=False)
        listed = capsys.readouterr().out.partition("Commands:")[2].split("\n\n")[0]
        assert not re.search(r"\.\.\.$", listed, re.M)


def test_every_command_of_the_documentation_parses() -> None:
    found = list(documented())
    assert len(found) > 60
    for words, page in found:
        try:
            parse(shlex.split(words)[1:], f"{page}: {words}")
        except typer.TyperException as error:
            pytest.fail(f"{page}: {words}: {error}")
