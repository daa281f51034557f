"""For mkdocs: what pages link to outside of docs/ is named there, if it exists."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
OUTSIDE = re.compile(r"\[([^\]\n]+)\]\((?:\.\./)+([\w./-]+)(?:#[\w-]+)?\)")
LOG = logging.getLogger("mkdocs.plugins.site")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links to files of the repository into their names; a missing one is a warning."""
    here = Path(page.file.abs_src_path).parent

    def named(link: re.Match[str]) -> str:
        target = (here / link[0].partition("](")[2].rstrip(")").partition("#")[0]).resolve()
        if target.is_relative_to(ROOT / "docs"):
            return link[0]
        if not target.exists():
            LOG.warning("%s links to %s, which is not there", page.file.src_path, target)
        return f"{link[1]} (`{target.relative_to(ROOT)}` in the repository)"

    # Markdown of the site knows blocks by one word: ```console exact numbers.
    return re.sub(r"^```(\w+) [^\n]*$", r"```\1", OUTSIDE.sub(named, markdown), flags=re.MULTILINE)
