"""Untrusted text, made fit for a terminal, a log or a sentence: escaped, and cut where long.

Names, values and texts come out of run files, checkpoints, tables and other programs. Whatever is
printed of them goes through `shown`: errors by their base class, lines by `cli.options.say`, what
ranks say by the journal. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

__all__ = ["decimals", "measures", "quoted", "shown", "shown_lines"]

# Characters of one line, and of a name or a value inside a sentence.
LINE, NAME = 2000, 200


def shown(value: object, most: int = LINE) -> str:
    """Return `value` as one line of about `most` characters, none of which controls a terminal.

    Control characters (also line ends), invisible ones that change the direction of text, and
    halves of characters are written as in Python: `\\x1b`. Of a long text the middle is left out.
    """
    text = _text(value)
    if len(text) <= most:
        return _escaped(text)
    end = most // 3
    left_out = f"... ({len(text) - most} characters) ..."
    return _escaped(text[: most - end]) + left_out + _escaped(text[-end:])


def quoted(value: object, most: int = NAME) -> str:
    """Return `value` as Python writes it, with the quotes of a text, as `shown` returns it."""
    try:
        return shown(repr(value), most)
    except (ValueError, RecursionError):
        return shown(value, most)


def shown_lines(text: str) -> str:
    """Return a text of several lines, such as a traceback, each of them as `shown` returns it."""
    return "\n".join(shown(line) for line in text.rstrip().split("\n"))


def _text(value: object) -> str:
    try:
        return str(value)
    except ValueError:
        # Python refuses to write integers of more than 4,300 digits.
        if isinstance(value, int):
            return f"an integer of {math.floor(value.bit_length() * math.log10(2)) + 1} digits"
        return f"a {type(value).__name__} that can't be written"
    except RecursionError:
        return f"a {type(value).__name__} that is too deep to be written"


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def decimals(value: float) -> str:
    """Return a loss or a score with four decimals, as 1.2e+30 or 3.1e-07 where they don't fit."""
    return f"{value:.4f}" if value == 0 or 0.00005 <= abs(value) < 1e6 else f"{value:.3g}"


def measures(metrics: Mapping[str, float]) -> str:
    """Return metrics by name, each after a comma: ", r2 0.91, mean absolute error 3.4"."""
    return "".join(f", {shown(name.replace('_', ' '))} {metrics[name]:.4g}" for name in metrics)
