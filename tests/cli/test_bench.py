"""`disttrain bench`: tables for people, objects for programs, sentences for mistakes."""

import json

import pytest


def test_a_step_of_a_run_file_on_one_rank_and_of_more_rows(shell):
    done = shell.run("bench", "step", "run.toml", "--rows", "4,16", "--quick", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["ranks"], found["rows"], found["link"]) == (1, 32, None)
    assert set(found["compute_of_rows"]) == {"4", "16"}
    assert found["samples_per_second"] == pytest.approx(32 / found["step"])
    assert min(found["floor"], found["compute"]) > 0


@pytest.mark.long
def test_scaling_measures_predicts_and_draws(shell):
    done = shell.run(
        "bench", "scaling", "run.toml", "-n", "1,2", "--picture", "s.png", "--json", "--quick"
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [one["ranks"] for one in found["measured"]] == [1, 2]
    assert [one["ranks"] for one in found["predicted"]] == [1 << n for n in range(13)]
    assert found["machine"]["link"] == found["measured"][1]["link"]
    assert (shell.folder / "s.png").read_bytes().startswith(b"\x89PNG")
    assert "measuring 2 ranks" in done.stderr
    assert not shell.left_running()


def test_a_network_that_is_not_here_is_predicted_for(shell):
    network = ["--latency", "20", "--bandwidth", "1.25"]
    done = shell.run("bench", "scaling", "run.toml", "-n", "1", "--quick", *network)
    assert done.returncode == 0, done.stderr
    assert "latency 20.0 us and bandwidth 1.25 GB/s" in done.stdout
    assert "4096" in done.stdout


def test_sums_on_two_ranks_are_a_table(shell):
    done = shell.run("launch", "-n", "2", "bench", "allreduce", "--quick")
    assert done.returncode == 0, done.stderr
    for way in ("window", "allreduce", "buckets", "ring"):
        assert done.stdout.count(f" {way} ") == 2
    assert "latency" in done.stdout


def test_kernels_stand_beside_numpy(shell):
    done = shell.run("bench", "kernels", "--quick", "--json")
    assert done.returncode == 0, done.stderr
    found = {f"{one['name']} {one['dtype']}": one for one in json.loads(done.stdout)["kernels"]}
    assert set(found["adam float32"]["compiled"]) == {"installed"}
    assert found["adam float64"]["bytes"] == 2 * found["adam float32"]["bytes"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["scaling", "-n", "1"], "one rank says nothing of a network"),
        (["scaling", "-n", "two"], "give numbers from 1"),
        (["scaling", "--latency", "5"], "give --latency and --bandwidth together"),
        (["allreduce"], "one rank has nothing to add: disttrain launch -n 2 bench allreduce"),
        (["step", "--set", "training.epochs=3"], "--set changes a run file: name one"),
        (["step", "nowhere.toml"], "run file nowhere.toml"),
        (["step", "run.toml", "--rows", "0"], "give numbers from 1"),
        (["step", "run.toml", "--set", "training.protocol=batch"], "no batch size to divide"),
    ],
)
def test_mistakes_are_one_sentence(shell, words, said):
    done = shell.run("bench", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_measurement_that_fails_says_so(shell):
    done = shell.run("bench", "scaling", "run.toml", "--set", "data.path=nowhere.h5", "-n", "1,2")
    assert done.returncode != 0
    assert "nowhere.h5" in done.stderr
    assert "a measurement ended with code 3" in done.stderr
