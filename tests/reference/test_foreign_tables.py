"""`benchmarks/foreign.py`: packages that are missing, and one table all the way."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")
SCRIPT = Path(__file__).parents[2] / "benchmarks/foreign.py"


@pytest.fixture
def foreign(monkeypatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("foreign", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "foreign", module)  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def test_a_package_that_is_missing_is_named_and_the_others_go_on(foreign, monkeypatch, capsys):
    iris = foreign.TABLES[0]
    tables = (dataclasses.replace(iris, name="other", package="not_there.at_all"), iris)
    monkeypatch.setattr(foreign, "TABLES", tables)
    scores = {name: [0.9, 0.9] for name in (*foreign.COLUMNS, "peer", "peer of two keys")}
    monkeypatch.setattr(foreign, "measured", lambda *_: ((3, 1), scores | {"two keys": [0.8, 0.8]}))
    monkeypatch.setattr(sys, "argv", ["foreign.py"])
    foreign.main()
    said, _, _, row = capsys.readouterr().out.splitlines()
    assert said.endswith("not installed: pip install not_there")
    assert row.startswith("| iris (sklearn) | 3 + 1 | 0.900 (+0.000 ± 0.000) |")
    assert row.endswith("| no: two keys |")


@pytest.mark.long
def test_a_table_is_prepared_trained_and_scored_beside_scikit_learn(foreign):
    diabetes = next(table for table in foreign.TABLES if table.name == "diabetes")
    packages, _ = foreign.imported([diabetes])
    rows, scores = foreign.measured(diabetes, packages[diabetes.package], 1)
    assert rows == (331, 111)
    for name in foreign.COLUMNS:
        (score,), (peer,) = scores[name], scores["peer"]
        assert score > peer - 0.1 > 0.1, (name, scores)
