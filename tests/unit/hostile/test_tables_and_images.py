"""Tables and images with bytes changed, cut out, doubled and put in: read, or one sentence."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas
import pytest

from disttrain.data.importers.images import import_images
from disttrain.data.importers.tables import Options, import_table
from disttrain.errors import DisttrainError

SECONDS = 10  # for one file: far more than any needs
CASES = 400
PARTS = [
    b",", b'"', b"\n", b"\r", b"\0", b";", b"\t", b" ", b"nan", b"inf", b"1e400", b"-", b"\xff",
    b"9" * 30, b"True", b"label", b"\xef\xbb\xbf", b"\xff\xfe", b"|", b"\\",
]  # fmt: skip
COLOURS, ANIMALS = (b"red", b'"x, y"'), (b"cat", b"dog")
ROWS = b"".join(
    b"%d,%.2f,%s,%s\n" % (i, i / 3, COLOURS[i % 2], ANIMALS[i % 3 > 0]) for i in range(12)
)
TABLES = [
    b"a,b,c,label\n" + ROWS, b"1;2,5;0\n3;4,5;1\n" * 4, b"a b y\n1 2 3.5\n4 5 6.5\n",
    b"sep=;\na;b;y\n1;2;3\n2;3;4\n", "größe\tlabel\n1\tä\n2\tö\n".encode("utf-16"),
]  # fmt: skip
OPTIONS = [
    Options(), Options(target="label", missing="indicator"), Options(missing="drop", one_hot=True),
    Options(missing="median", decimal=","), Options(target="1", na=("red",), regression=True),
    Options(pixels=True),
]  # fmt: skip


def mutated(draw: random.Random, content: bytes) -> bytes:
    """Return `content` with a few places of it changed."""
    made = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(made) + 1)
        kind = draw.randrange(5)
        if kind == 0:
            made[place : place + draw.randint(0, 3)] = draw.choice(PARTS)
        elif kind == 1 and place < len(made):
            made[place] = draw.randrange(256)
        elif kind == 2:
            del made[place : place + draw.randint(1, 20)]
        elif kind == 3:
            made[place:place] = made[place : place + draw.randint(1, 30)]
        elif not draw.randrange(3):
            del made[place:]
    return bytes(made)


@contextmanager
def a_sentence_or_nothing() -> Iterator[None]:
    """Fail where a reader raises anything that is not ours, says two lines, or takes too long."""

    def late(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    except DisttrainError as error:
        if "\n" in str(error):
            pytest.fail(f"not one line: {error}")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def parquet() -> bytes:
    """Return a small Parquet file."""
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    buffer = io.BytesIO()
    frame = pandas.DataFrame({"a": range(20), "c": ["x", "y"] * 10, "label": [0, 1] * 10})
    frame.to_parquet(buffer)
    return buffer.getvalue()


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes, "gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress,
}  # fmt: skip


@pytest.mark.parametrize("way", [*PACKED, "parquet"])
def test_mutated_tables(tmp_path: Path, way: str) -> None:
    draw = random.Random(way)
    path = tmp_path / "table"
    for case in range(CASES if way == "plain" else CASES // 4):
        if way == "parquet":
            content = mutated(draw, parquet())
        else:
            content = PACKED[way](mutated(draw, draw.choice(TABLES)))
            content = mutated(draw, content) if case % 2 else content
        path.write_bytes(content)
        with a_sentence_or_nothing():
            import_table(path, draw.choice(OPTIONS))


@pytest.mark.parametrize("format", ["BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP"])
def test_mutated_images(tmp_path: Path, format: str) -> None:
    pillow = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    draw = random.Random(format)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        pillow.new("RGB", (9, 7), (1, 2, 3)).save(tmp_path / name / "1.png", format)
    whole = (tmp_path / "b" / "1.png").read_bytes()
    for _ in range(CASES // 8):
        (tmp_path / "b" / "1.png").write_bytes(mutated(draw, whole))
        with a_sentence_or_nothing():
            import_images(tmp_path)
