"""Changes to bytes, to texts and to JSON values, drawn from a generator of random numbers."""

from __future__ import annotations

import re
from random import Random
from typing import Any

ODD_NUMBERS = [
    "0", "-1", "1e308", "-1e308", "1e400", "nan", "inf", "-inf", "1e-320", "9007199254740993",
    "18446744073709551616", "-9223372036854775809", "1" + "0" * 400, "0x10", "1_000", "00", "1.5",
    "0.99999999999", "1e9", "100000", "true", "[]", "{}", '""', "'x'", "null", "1979-05-27",
]  # fmt: skip
ODD_WORDS = [
    "", " ", "x" * 5000, "\x1b[31mred\x1b[0m", "\x00", "\x07", "\u202e", "\ud800", "é", "日本",
    "../../etc/passwd", "/dev/zero", "-", "--json", "$HOME", "a\nb", "a\rb", ",", '"', "'", ";",
    "|", "=1+1", "nan", "NaN", "None", "True", "\ufeff", "1,5", "💥",
]  # fmt: skip
ODD_VALUES: list[Any] = [
    None, True, False, 0, -1, 1.5, 1e308, float("nan"), float("inf"), 10**30, -(10**30), "", "x",
    "x" * 5000, "\x1b[2J", "\ud800", [], {}, [[]], [None], {"": {}}, "completed",
]  # fmt: skip
EXTREME_BYTES = [b"\xff" * 8, b"\x00" * 8, b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"\x7f" * 8]


def changed_bytes(content: bytes, random: Random) -> bytes:
    """Return `content` with one to three changes, none of which may be visible."""
    found = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        place = random.randrange(len(found) + 1)
        length = random.choice((1, 1, 2, 4, 8, 64, 1000))
        match random.randrange(8):
            case 0 | 1 if place < len(found):
                found[place] ^= 1 << random.randrange(8)
            case 2 if place < len(found):
                found[place] = random.randrange(256)
            case 3:
                del found[place : place + length]
            case 4:
                found[place:place] = random.randbytes(length)
            case 5:
                found[place:place] = found[place : place + length]
            case 6:
                part = random.choice(EXTREME_BYTES)
                found[place : place + len(part)] = part
            case 7 if random.randrange(4) == 0:
                del found[place:]
    return bytes(found)


def changed_text(text: str, random: Random) -> str:
    """Return `text` with a number, a word, a line or a sign that is not what it was."""
    for _ in range(random.choice((1, 1, 2, 3))):
        match random.randrange(7):
            case 0 | 1:
                text = _instead(r"-?\d+(\.\d+)?(e-?\d+)?", random.choice(ODD_NUMBERS), text, random)
            case 2:
                text = _instead(r"[A-Za-z_]+", random.choice(ODD_WORDS), text, random)
            case 3:
                lines = text.splitlines(keepends=True) or [""]
                lines.insert(random.randrange(len(lines) + 1), random.choice(lines))
                text = "".join(lines)
            case 4:
                lines = text.splitlines(keepends=True) or [""]
                del lines[random.randrange(len(lines))]
                text = "".join(lines)
            case 5:
                place = random.randrange(len(text) + 1)
                text = (
                    text[:place]
                    + random.choice((*ODD_WORDS, "[", "]", "{", "=", "."))
                    + text[place:]
                )
            case 6:
                place = random.randrange(len(text) + 1)
                text = text[:place] + text[place : place + 1] * 2000 + text[place:]
    return text


def _instead(pattern: str, new: str, text: str, random: Random) -> str:
    """Return `text` with one of the matches of `pattern` replaced."""
    matches = list(re.finditer(pattern, text))
    if not matches:
        return text
    match = random.choice(matches)
    return text[: match.start()] + new + text[match.end() :]


def changed_value(value: Any, random: Random) -> Any:
    """Return a copy of a JSON value in which one part is another one, gone, or very deep."""
    if isinstance(value, dict) and value and random.randrange(8):
        key = random.choice(list(value))
        copy = dict(value)
        if random.randrange(8) == 0:
            del copy[key]
        elif random.randrange(8) == 0:
            copy[random.choice(ODD_WORDS)] = copy.pop(key)
        else:
            copy[key] = changed_value(value[key], random)
        return copy
    if isinstance(value, list) and value and random.randrange(8):
        place = random.randrange(len(value))
        return [*value[:place], changed_value(value[place], random), *value[place + 1 :]]
    if random.randrange(30) == 0:
        for _ in range(200):
            value = [value]
        return value
    return random.choice(ODD_VALUES)


def utf8(text: str) -> bytes:
    """Return the bytes of a text that may hold half a surrogate pair."""
    return text.encode("utf-8", "surrogatepass")
