"""Reports in a real browser: desktop and phone, light and dark; skipped where there is none.

`DISTTRAIN_SCREENSHOTS=DIR` keeps a picture of each.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from disttrain.report.write import write_report
from tests.browser.chromium import Chromium, found
from tests.unit.report.conftest import runs  # noqa: F401 - a fixture
from tests.unit.report.test_report import ensemble, folds, study

pytest.importorskip("jinja2")
pytestmark = pytest.mark.skipif(found() is None, reason="no Chromium: apt-get install chromium")

# The least contrast of WCAG 2.1, level AA, for texts of the size of the page's.
CONTRAST = """
(() => {
  const light = c => {
    const [r, g, b] = c.map(x => (x /= 255) <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const c = rgb(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > 0) return c.slice(0, 3);
    }
    return [255, 255, 255];
  };
  let least = 21, where = "";
  const texts = "h1,h2,p,dt,dd,a,th,td,li,pre,figcaption,.plain text";
  for (const e of document.querySelectorAll(texts)) {
    const style = getComputedStyle(e);
    const color = rgb(e.tagName === "text" ? style.fill : style.color).slice(0, 3);
    const [a, b] = [light(color), light(behind(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < least) { least = ratio; where = e.tagName + " " + e.textContent.slice(0, 40); }
  }
  return [least, where];
})()
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    chromium = Chromium(tmp_path_factory.mktemp("profile"))
    yield chromium
    chromium.close()


@pytest.fixture(scope="module")
def pages(runs: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:  # noqa: F811
    """A report of each kind that differs in its parts."""
    folder = tmp_path_factory.mktemp("pages")
    made = {"images": [runs("images", "{ units = 3 }")], "regions": [runs("classes")]}
    made["two"] = [*made["images"], *made["regions"]]
    for name, make in {"study": study, "folds": folds, "ensemble": ensemble}.items():
        (folder / name).mkdir()
        make(folder / name)
        made[name] = [folder / name]
    return {name: write_report(paths, folder / f"{name}.html") for name, paths in made.items()}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390], ids=["desktop", "phone"])
@pytest.mark.parametrize("name", ["images", "regions", "two", "study", "folds", "ensemble"])
def test_a_report(
    browser: Chromium, pages: dict[str, Path], name: str, width: int, dark: bool
) -> None:
    browser.errors.clear()
    browser.open(pages[name], width, dark)
    assert browser.errors == []
    assert browser.tell("document.documentElement.scrollWidth") <= width, "nothing sticks out"
    assert browser.tell("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    back = browser.tell("getComputedStyle(document.body).backgroundColor")
    assert (int(back[4:].split(",")[0]) < 128) == dark
    least, where = browser.tell(CONTRAST)
    assert least >= 4.5, where
    if folder := os.environ.get("DISTTRAIN_SCREENSHOTS"):
        place = Path(folder) / f"{name}-{width}-{'dark' if dark else 'light'}.png"
        browser.picture(place)


def test_all_of_it_is_reached_by_the_keyboard(browser: Chromium, pages: dict[str, Path]) -> None:
    browser.open(pages["images"], 390, dark=False)
    browser.press("Tab")
    assert browser.tell("document.activeElement.className") == "skip"
    assert browser.tell("document.activeElement.getBoundingClientRect().left") >= 0
    reached = set()
    for _ in range(60):
        browser.press("Tab")
        reached.add(browser.tell("document.activeElement.outerHTML.slice(0, 60)"))
    links = browser.tell("document.querySelectorAll('nav a').length")
    assert sum(text.startswith("<a href") for text in reached) == links
    assert browser.tell(
        "[...document.querySelectorAll('.scroll, .paper, pre')]"
        ".filter(e => e.scrollWidth > e.clientWidth).every(e => e.tabIndex === 0)"
    ), "what scrolls can be reached"
