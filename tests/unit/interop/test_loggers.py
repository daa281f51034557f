"""Loggers write what a run reports, and none can stop it."""

from __future__ import annotations

import csv
import json
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from disttrain.config import Settings
from disttrain.errors import UsageError
from disttrain.interop.loggers import process
from disttrain.interop.loggers.process import Logger, loggers_of
from disttrain.preemption import Preemption
from disttrain.training import Callback
from disttrain.training.stage import Stage

Go = Callable[..., dict[str, Any]]
Make = Callable[..., Settings]


class Heard(Callback):
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.times: list[float] = []

    def on_warning(self, line: str) -> None:
        self.lines.append(line)
        self.times.append(time.monotonic())


class Of:
    """What a logger asks of a run."""

    def __init__(self, settings: Settings, heard: Heard) -> None:
        self.settings, self.callbacks = settings, [heard]
        self.preemption, self.stage = Preemption(), Stage()
        self.state = type("S", (), {"step": 0})


def logged(
    go: Go, settings: Settings, tmp_path: Path, **more: Any
) -> tuple[dict[str, Any], list[str]]:
    """Train with the loggers of the settings; return the summary and the warnings."""
    heard = Heard()
    loggers = loggers_of(settings, tmp_path / "run")
    return go(settings, callbacks=[heard, *loggers], **more), heard.lines


def test_csv_has_a_line_for_each_interval_and_goes_on(
    tmp_path: Path, settings: Make, go: Go
) -> None:
    ask = 'logging.loggers=["csv"]'
    _, lines = logged(go, settings(ask, "training.epochs=2"), tmp_path)
    assert lines == []
    logged(go, settings(ask, "training.epochs=4"), tmp_path, resume=True)
    with (tmp_path / "run" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    kept = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    for row, line in zip(rows, kept, strict=True):
        want = json.loads(line)
        assert {key: float(value) for key, value in row.items()} == {
            key: value for key, value in want.items() if value is not None
        }


def test_tensorboard_has_the_numbers_of_each_interval(
    tmp_path: Path, settings: Make, go: Go
) -> None:
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event

    logged(go, settings('logging.loggers=["tensorboard"]'), tmp_path)
    (file,) = (tmp_path / "run" / "tensorboard").iterdir()
    content, found = file.read_bytes(), {}
    while content:
        # A record: length, its checksum, the event, its checksum.
        (length,) = struct.unpack("<Q", content[:8])
        event = Event.FromString(content[12 : 12 + length])
        content = content[16 + length :]
        for value in event.summary.value:
            if value.tag == "validation_loss":
                found[event.step] = value.simple_value
    rows = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert found == {row["step"]: pytest.approx(row["validation_loss"]) for row in rows}


BAD = {
    "raises": "raise RuntimeError('no disk')",
    "exits": "import os; os._exit(9)",
    "hangs": "import time; time.sleep(1000)",
    "hangs_in_c": "import ctypes; ctypes.PyDLL(None).sleep(1000)",
    "crashes": "import ctypes; ctypes.string_at(0)",
}


@pytest.mark.parametrize("where", ["start", "interval", "end"])
@pytest.mark.parametrize("kind", BAD)
def test_a_logger_that_fails_costs_its_own_records_only(
    tmp_path: Path, settings: Make, go: Go, monkeypatch: pytest.MonkeyPatch, kind: str, where: str
) -> None:
    if where != "interval" and kind not in ("raises", "hangs"):
        pytest.skip("the same as in an interval")
    methods = {"start": "self, **facts", "interval": "self, **facts", "end": "self, **facts"}
    body = "\n".join(
        f"    def {name}({given}):\n        {BAD[kind] if name == where else 'pass'}"
        for name, given in methods.items()
    )
    (tmp_path / "my_bad_logger.py").write_text(f"class Own:\n{body}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(process, "GRACE", 0.7)
    asked = settings('logging.loggers=["my_bad_logger:Own","csv"]')
    plain = go(settings(), "plain")
    summary, lines = logged(go, asked, tmp_path)
    assert summary["status"] == "completed"
    assert summary["digest"] == plain["digest"]
    assert [line for line in lines if "my_bad_logger:Own" in line]
    assert len(lines) <= 2  # the other one may be slow to start where much else runs
    said = tmp_path / "run" / "logs" / "logger-my_bad_logger-Own.txt"
    if kind == "raises":
        assert "no disk" in said.read_text()


def test_a_logger_that_works_is_waited_for_up_to_a_limit(
    tmp_path: Path, settings: Make, go: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a machine where a second of work takes many: longer at the end than a hanging one may.
    (tmp_path / "my_slow_logger.py").write_text(
        "import pathlib, time\n"
        "class Own:\n"
        "    def start(self, name, folder, settings, step):\n"
        "        self.end_of, self.lines = pathlib.Path(folder) / 'slow.txt', []\n"
        "    def interval(self, step, numbers):\n"
        "        self.lines.append(f'{step}\\n')\n"
        "    def end(self, summary):\n"
        "        begin = time.process_time()\n"
        "        while time.process_time() < begin + 1.2: pass\n"
        "        self.end_of.write_text(''.join(self.lines))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(process, "GRACE", 0.5)
    asked = settings('logging.loggers=["my_slow_logger:Own"]', "training.epochs=2")
    _, lines = logged(go, asked, tmp_path)
    assert lines == []
    assert len((tmp_path / "run" / "slow.txt").read_text().split()) == 2
    monkeypatch.setattr(process, "LIMIT", 0.5)
    _, lines = logged(go, asked, tmp_path, overwrite=True)
    assert [line for line in lines if "did not end in time" in line]


def test_a_pipe_that_nobody_reads_is_never_waited_for(
    tmp_path: Path, settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_deaf_logger.py").write_text("import time\ntime.sleep(1000)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(process, "GRACE", 0.2)
    monkeypatch.setattr(process, "MOST", 1 << 18)
    logger, heard = Logger("my_deaf_logger:Own", tmp_path), Heard()
    run = Of(settings(), heard)
    logger.on_start(run)  # type: ignore[arg-type]
    report = type("R", (), {"step": 1, "facts": lambda self: {"x": "y" * 1000}})()
    for _ in range(1000):
        logger.on_interval(run, report)  # type: ignore[arg-type]
    logger.on_stop()
    assert len(heard.lines) == 1
    assert "records of it are missing" in heard.lines[0]


def test_a_logger_whose_end_joins_a_busy_thread_works(
    tmp_path: Path, settings: Make, go: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_joining_logger.py").write_text(
        "import threading, time\n"
        "def work():\n"
        "    begin = time.thread_time()\n"
        "    while time.thread_time() < begin + 0.8: pass\n"
        "class Own:\n"
        "    def start(self, **facts): pass\n"
        "    def interval(self, **facts): pass\n"
        "    def end(self, summary):\n"
        "        for _ in range(2):\n"
        "            thread = threading.Thread(target=work)\n"
        "            thread.start()\n"
        "            thread.join()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(process, "GRACE", 0.5)
    _, lines = logged(go, settings('logging.loggers=["my_joining_logger:Own"]'), tmp_path)
    assert lines == []


ENDLESS = (
    "import time\n"
    "class Own:\n"
    "    def start(self, **facts): pass\n"
    "    def interval(self, **facts): pass\n"
    "    def end(self, summary):\n"
    "        while True: time.sleep(0.001)\n"
    "class Other(Own): pass\n"
    "class Third(Own): pass\n"
)


def test_all_loggers_have_one_limit(
    tmp_path: Path, settings: Make, go: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_endless.py").write_text(ENDLESS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(process, "LIMIT", 2.0)
    heard, names = Heard(), [f"my_endless:{name}" for name in ("Own", "Other", "Third")]
    asked = settings(f"logging.loggers={json.dumps(names)}")
    go(asked, callbacks=[heard, *loggers_of(asked, tmp_path / "run")])
    assert len(heard.lines) == 3
    assert all("did not end in time" in line for line in heard.lines)
    # One limit after the other would be 4 s.
    assert heard.times[-1] - heard.times[0] < 3.5


def test_a_stop_that_another_rank_was_asked_for_has_the_short_limit(
    tmp_path: Path, settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_endless.py").write_text(ENDLESS.replace("time.sleep(0.001)", "pass"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(process, "GRACE", 1.0)
    logger, heard = Logger("my_endless:Own", tmp_path), Heard()
    run = Of(settings(), heard)
    logger.on_start(run)  # type: ignore[arg-type]
    logger.on_end(run, {})  # type: ignore[arg-type]
    run.stage.asked, begin = True, time.monotonic()
    logger.on_stop()
    assert "did not end in time" in heard.lines[0]
    assert time.monotonic() - begin < 20


def test_a_logger_that_is_not_there_is_one_sentence(
    tmp_path: Path, settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="unknown logger 'tensorbord': give csv"):
        Logger("tensorbord", tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name in ("tensorboard", "mlflow", "wandb"):
        with pytest.raises(UsageError, match=rf"pip install 'disttrain\[{name}\]'") as error:
            Logger(name, tmp_path)
        assert error.value.exit_code == 2


@pytest.mark.long
@pytest.mark.parametrize(("name", "left"), [("mlflow", "mlruns"), ("wandb", "wandb")])
def test_mlflow_and_wandb_write_offline(
    tmp_path: Path, settings: Make, go: Go, monkeypatch: pytest.MonkeyPatch, name: str, left: str
) -> None:
    pytest.importorskip(name)
    monkeypatch.setattr(process, "GRACE", 60.0)
    _, lines = logged(go, settings(f'logging.loggers=["{name}"]'), tmp_path)
    assert lines == []
    files = [path.name for path in (tmp_path / "run" / left).rglob("*") if path.is_file()]
    assert "validation_loss" in files or any(path.endswith(".wandb") for path in files)
