"""The log of a study: what a kill leaves of it, and what damage does."""

import os

import pytest

from disttrain.errors import CheckpointError, UsageError
from disttrain.selection.log import Log


def written(path, count):
    log = Log(path)
    for number in range(count):
        log.add({"number": number, "score": 0.1 * number})
    log.close()
    return path.read_bytes()


def test_a_log_cut_at_any_byte_keeps_its_whole_lines_and_goes_on(tmp_path):
    path = tmp_path / "study.jsonl"
    whole = written(path, 3)
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        log = Log(path)
        kept = sum(end <= cut for end in ends)
        assert [record["number"] for record in log.records] == list(range(kept))
        log.add({"number": 9})
        log.close()
        again = Log(path)
        assert [record["number"] for record in again.records] == [*range(kept), 9]
        again.close()


def test_damage_before_the_last_line_is_named(tmp_path):
    path = tmp_path / "study.jsonl"
    content = bytearray(written(path, 3))
    content[20] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="line 1 is damaged"):
        Log(path)


def test_a_log_is_open_once(tmp_path):
    log = Log(tmp_path / "study.jsonl")
    with pytest.raises(UsageError, match="in use by another job"):
        Log(tmp_path / "study.jsonl")
    log.close()
    Log(tmp_path / "study.jsonl").close()


def test_a_disk_that_takes_parts_gets_all_of_them(tmp_path, monkeypatch):
    path, real = tmp_path / "study.jsonl", os.write
    monkeypatch.setattr(os, "write", lambda file, content: real(file, content[:7]))
    written(path, 2)
    log = Log(path)
    assert [record["number"] for record in log.records] == [0, 1]
    log.close()
