"""The kinds of input, in the order in which they take turns."""

from __future__ import annotations

from tests.fuzz import folders, models, settings, tables
from tests.fuzz.base import make_base
from tests.fuzz.kind import Kind

__all__ = ["KINDS", "Kind", "make_base"]

KINDS: list[Kind] = [*models.KINDS, *tables.KINDS, *settings.KINDS, *folders.KINDS]
