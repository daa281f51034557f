"""The builder of the course: it must see a wrong status, changed words and a missing picture."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
COURSE = ROOT / "docs" / "course"

TOPICS = (
    "Perceptron",
    "Feed-forward",
    "Expressive power",
    "Equivalence",
    "Outputs",
    "Squared loss",
    "Softmax loss",
    "Backpropagation",
    "Protocols",
    "Regularization",
    "Initialization",
    "Learning rate",
    "Momentum",
    "Normalization",
    "How many epochs",
    "Sanity",
    "Dropout",
    "Pictures",
    "Convolution",
    "Pre-training",
    "Choosing hyperparameters",
    "Cross-validation",
    "Ensembles",
)
"""The rows of the table that the course follows, in its order."""


def load_builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_build", ROOT / "docs" / "build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    # Where Python looks when the file is run as a program.
    sys.path.insert(0, str(ROOT / "docs"))
    spec.loader.exec_module(module)
    return module


builder = load_builder()


def build(page: Path, write: bool, limit: float = 60) -> list[str]:
    """Build a page, with its log beside it."""
    return builder.build(page, write, page.parent / "logs", limit)  # type: ignore[no-any-return]


GOOD = """# A page

```toml
# file: a.toml
x = 1
```

```console
$ cat a.toml
x = 25
$ echo "speed  1,234.5 samples/s"; echo left 0:02
speed 7 samples/s
left 0:00
```

```console
$ echo no; exit 2  # exit 2
no
$ printf 'a\\nb\\nc\\n'
a
...
```
"""


def write(folder: Path, text: str) -> Path:
    page = folder / "01-page.md"
    page.write_text(text)
    return page


def test_a_page_that_is_right(tmp_path: Path) -> None:
    assert build(write(tmp_path, GOOD), write=False) == []


@pytest.mark.parametrize(
    ("old", "new", "line", "what"),
    [
        ("# exit 2", "", 17, "has exit status 2, not 0"),
        ("# exit 2", "# exit 3", 17, "has exit status 2, not 3"),
        ("$ cat a.toml", "$ cat b.toml", 9, "has exit status 1, not 0"),
        ("speed 7 samples/s", "speed 7 rows/s", 11, "+ speed  1,234.5 samples/s"),
        ("left 0:00\n", "", 11, "+ left 0:02"),
        ("a\n...\n", "a\nb\n", 19, "+ c"),
        ("a\n...\n", "b\n...\n", 19, "+ a"),
        ("console\n$ cat", "console exact\n$ cat", 9, "- x = 25"),
        ("# file: a.toml\n", "", 3, "begins with a line `# file: NAME`"),
        ("$ cat a.toml", "cat a.toml", 9, "begins with a line `$ COMMAND`"),
        ("...\n```", "...\n", 16, "has no end"),
    ],
)
def test_what_is_wrong_is_told_with_page_and_line(
    tmp_path: Path, old: str, new: str, line: int, what: str
) -> None:
    assert old in GOOD
    problems = build(write(tmp_path, GOOD.replace(old, new)), write=False)
    assert problems
    assert problems[0].startswith(f"01-page.md:{line}: ")
    assert what in problems[0]


def test_a_command_that_takes_too_long_ends_with_all_that_it_started(tmp_path: Path) -> None:
    command = "echo begun; (trap 'echo asked; exit' TERM; while :; do sleep 0.1; done) & wait"
    page = write(tmp_path, f"```console\n$ {command}\n```\n")
    (problem,) = build(page, write=False, limit=1)
    assert "takes more than 1 s; its log is" in problem
    assert "\n    begun" in problem
    assert "\nasked\n" in (tmp_path / "logs" / "01-page.log").read_text()


def test_what_a_command_printed_is_kept_and_shown_where_it_fails(tmp_path: Path) -> None:
    page = write(tmp_path, "```console\n$ echo one\none\n$ seq 60; false\n```\n")
    (problem,) = build(page, write=False)
    log = tmp_path / "logs" / "01-page.log"
    assert f"has exit status 1, not 0; its log is {log}\n    21\n" in problem
    assert log.read_text().startswith("$ echo one\none\n# 0.")
    assert "\n1\n2\n3\n" in log.read_text()


def test_numbers_and_spaces_do_not_count() -> None:
    assert builder.masked("loss 0.0650  rate 1e-05, -3 of 1,000") == "loss # rate # of #"
    assert builder.masked("loss nan") == builder.masked("loss inf") == "loss #"
    assert builder.masked("f = 13.0", exact=True) == "f = 13.0"
    assert builder.masked("loss falls") != builder.masked("loss rises")


def test_dots_stand_for_any_lines() -> None:
    lines = ["a", "b", "c", "d"]
    assert builder.aligned(["..."], lines) == ["..."]
    assert builder.aligned(["a", "...", "d"], lines) == ["a", "...", "d"]
    assert builder.aligned(["...", "c", "d", "..."], lines) == ["...", "c", "d", "..."]
    assert builder.aligned(["a 1", "..."], ["a 2", "b"]) == ["a 2", "..."]
    assert builder.aligned(["...", "b"], lines) is None
    assert builder.aligned(["a", "...", "a"], lines) is None
    assert builder.aligned([], lines) is None
    assert builder.aligned([], []) == []


def test_write_puts_the_outputs_in_and_keeps_the_dots(tmp_path: Path) -> None:
    page = write(tmp_path, GOOD.replace("left 0:00", "right").replace("x = 25", "x = 9"))
    assert build(page, write=True) == []
    text = page.read_text()
    assert "x = 1\n$ echo" in text
    assert "speed  1,234.5 samples/s\nleft 0:02\n```" in text
    assert "a\n...\n```" in text
    assert build(page, write=False) == []


PICTURE = """
![A picture](pictures/01-a.png)
<!-- picture: runs/a.png -> pictures/01-a.png -->

```console
$ mkdir runs && printf picture > runs/a.png
```
"""


def test_pictures_are_copied_and_missed(tmp_path: Path) -> None:
    page = write(tmp_path, PICTURE)
    (problem,) = build(page, write=False)
    assert problem.startswith("01-page.md:2: pictures/01-a.png is not there")
    assert build(page, write=True) == []
    assert (tmp_path / "pictures" / "01-a.png").read_text() == "picture"
    assert build(page, write=False) == []
    for old, what in {
        " && printf picture > runs/a.png": "no command made the picture runs/a.png",
        "![A picture](pictures/01-a.png)": "is made but not shown",
        "<!-- picture: runs/a.png -> pictures/01-a.png -->": "no comment says",
    }.items():
        (problem,) = build(write(tmp_path, PICTURE.replace(old, "", 1)), write=False)
        assert what in problem


def test_a_command_over_two_lines(tmp_path: Path) -> None:
    text = "```console\n$ echo a \\\n>     b\na b\n```\n"
    assert build(write(tmp_path, text), write=False) == []


def test_the_index_has_every_topic_and_every_topic_its_page() -> None:
    text = (COURSE / "README.md").read_text()
    rows = re.findall(r"^\| (\d+) \| \[([^\]]+)\]\((\d\d-[a-z-]+\.md)\) \|", text, re.MULTILINE)
    assert [row[1] for row in rows] == list(TOPICS)
    assert [int(row[0]) for row in rows] == list(range(1, len(TOPICS) + 1))
    assert [row[2] for row in rows] == sorted(p.name for p in COURSE.glob("[0-9]*.md"))


PAGES = sorted(COURSE.glob("[0-9]*.md"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_has_commands_a_picture_and_links_that_lead_somewhere(path: Path) -> None:
    page = builder.parse(path, path.read_text())
    assert page.problems == []
    assert page.commands
    assert page.pictures
    for name in page.pictures:
        assert (COURSE / name).is_file()
        assert name.startswith(f"pictures/{path.name[:2]}-")
    for link in re.findall(r"\]\(([^)#\s]+)\)", path.read_text()):
        assert "://" in link or (COURSE / link).exists(), link


def test_no_picture_is_left_over() -> None:
    shown = {
        COURSE / name for path in PAGES for name in builder.parse(path, path.read_text()).pictures
    }
    assert shown == set((COURSE / "pictures").iterdir())
    assert sum(path.stat().st_size for path in shown) < 2_000_000


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_every_command_of_the_course_prints_what_its_page_says() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "build.py"), "--check"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
