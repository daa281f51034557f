"""`disttrain launch`: what is refused before anything is started, and one host named as many."""

import signal
import sys
import venv

import pytest

from tests.cli.shell import sentence, wait_for


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--agent", "ssh"), "give --hosts or --hostfile"),
        (("--interface", "eth0"), "give --hosts or --hostfile"),
        (("--hosts", "n1", "--hostfile", "nodes"), "not both"),
        (("--hosts", "n1,,n2"), "is not a host; write n1 or, with 4 slots, n1:4"),
        (("--hostfile", "missing"), "host file missing: No such file or directory"),
        (("--nodes", 2), "launch has no option --nodes: it takes hosts by name"),
        (("--gpus", 2), "each rank takes a GPU of its own, so give as many ranks"),
        (("-n", 5, "--hosts", "n1:2,n2:2"), "5 ranks don't fit the 4 slots of n1, n2"),
        (("--hosts", "n0:99999999999999999999"), "n0 can't take 99999999999999999999 ranks"),
        (("--hosts", "n0,me@n1"), "'me@n1' has a user's name in it"),
        (("--hosts", "n1", "--agent", "ssh -o 'x"), "No closing quotation"),
        (("--hosts", "n1", "--agent", "  "), "--agent is blank"),
        (("--hosts", "n1", "--agent", ""), "--agent is blank"),
        (("--hosts", "n1", "--agent", "ssh -o 'User me'"), "reads no quotation marks"),
        (("--hosts", "n1", "--agent", "ssh -J a:22"), "and no colons; put it into a script"),
        (("--hosts", "localhost", "--interface", "eth77"), "'eth77' is not a network"),
        (("--hosts", "localhost", "--interface", "10.0.0/99,, x"), "'10.0.0/99' is not a network"),
        (("--hosts", "localhost", "--interface", "203.0.113.0/24"), "no address in that network"),
        (("-n", 2, "--python", "/no/python"), "--python /no/python: this host has no such"),
        (("--hosts", "localhost:2", "--python", "/no/python"), "this host has no such program"),
        (("--python", "."), "--python .: this host has no such program"),
        (("--python", "true"), "--python true can't run disttrain on this host"),
    ],
)
def test_mistakes(shell, options, words):
    assert words in sentence(shell.run("launch", *options, "train", "run.toml"), 2)


def test_far_more_ranks_than_cores_are_warned_of(monkeypatch, capsys):
    from disttrain import environment
    from disttrain.cli import launch

    monkeypatch.setattr(environment, "cores", lambda: {0, 1})
    for ranks in (1, 2, 8):
        launch._tell_of_cores(ranks, None)
    assert capsys.readouterr().err == ""
    launch._tell_of_cores(9, None)
    said = capsys.readouterr().err
    assert said.startswith("disttrain: warning: 9 ranks share 2 cores here: ")
    assert "-n 2 gives each a core" in said


def test_a_python_without_the_packages(shell, tmp_path):
    venv.create(tmp_path / "bare", with_pip=False)
    bare = tmp_path / "bare" / "bin" / "python"
    result = shell.run("launch", "--python", bare, "train", "run.toml")
    said = sentence(result, 2)
    assert f"--python {bare} can't run disttrain on this host (" in said
    assert "No module named" in said


@pytest.mark.parametrize(
    "closed", [">&- 2>&-", *(pytest.param(c, marks=pytest.mark.long) for c in (">&-", "2>&-"))]
)
def test_closed_output_does_not_keep_ranks_from_training(shell, closed):
    result = shell.run(
        "launch", "-n", 2, "train", "run.toml", "--output", "out",
        prefix=["sh", "-c", f'exec "$@" {closed}', "sh"],
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "NoneType" not in result.stderr
    assert shell.summary("out")["ranks"] == 2
    assert not shell.left_running()


def test_the_only_host_is_this_one(shell):
    """By its name it is a cluster of one: all slots, and nobody is asked by ssh."""
    result = shell.run(
        "launch", "--hosts", "localhost:2", "--agent", "/no/ssh", "--python", sys.executable,
        "train", "run.toml", "--output", "out",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert shell.summary("out")["ranks"] == 2
    assert not shell.left_running()
    assert not list(shell.folder.glob(".disttrain*"))


def test_a_host_that_lets_nobody_in_is_no_host_that_has_died(shell):
    """Nothing is trained on the others alone: the user has asked for all."""
    agent = shell.folder / "agent"
    agent.write_text("#!/bin/sh\necho 'me@n9: Permission denied (publickey).' >&2; exit 255\n")
    agent.chmod(0o755)
    result = shell.run(
        "launch", "--hosts", "localhost:1,n9:1", "--agent", agent, "--restarts", 3,
        "train", "run.toml", "--output", "out",
    )  # fmt: skip
    said = sentence(result, 2)
    assert "n9 does not answer (me@n9: Permission denied (publickey).)" in said
    assert "make `ssh n9 true` work" in said
    assert not (shell.folder / "out").exists()


SCRIPT = """
import sys, disttrain
comm = disttrain.connect()
run = disttrain.build(disttrain.read("run.toml", ["training.epochs=1"]))
disttrain.fit(run)
if comm.is_root:
    print("ranks", comm.size, "digest", run.digest(), *sys.argv[1:])
"""


@pytest.mark.parametrize(
    "words", [["python"], [], pytest.param(["python3"], marks=pytest.mark.long)]
)
def test_a_script_of_ones_own(shell, words):
    """By the Python that has disttrain in it, whatever comes first on the PATH."""
    (shell.folder / "script.py").write_text(SCRIPT)
    result = shell.run("launch", "-n", 2, *words, "script.py", "-n", "7", "--help")
    assert result.returncode == 0, result.stderr
    assert "ranks 2 digest " in result.stdout
    assert result.stdout.rstrip().endswith("-n 7 --help")
    assert not shell.left_running()


def test_any_program_has_the_code_that_it_has(shell):
    result = shell.run("launch", "-n", 2, "--", "sh", "-c", "echo $OMPI_COMM_WORLD_RANK; exit 9")
    assert result.returncode == 9
    # The first that ends may take the other with it before that has printed.
    assert set(result.stdout.split()) in ({"0"}, {"1"}, {"0", "1"})


def test_a_program_that_loses_a_rank_is_started_again(shell):
    code = "[ -e again ] && exit 0; touch again; kill -KILL $$"
    result = shell.run("launch", "-n", 1, "--restarts", 2, "sh", "-c", code)
    assert result.returncode == 0, result.stderr
    assert "restart 1 of 2" in result.stderr
    assert "restart 2 of 2" not in result.stderr


def test_a_program_is_asked_to_stop_by_usr1(shell):
    code = "trap 'echo asked > heard; exit 75' USR1; touch ready; while :; do sleep 0.1; done"
    process = shell.start("launch", "-n", 1, "sh", "-c", code)
    assert wait_for(lambda: (shell.folder / "ready").exists())
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=100)
    assert process.returncode == 75
    assert (shell.folder / "heard").exists()
    assert not shell.left_running()


@pytest.mark.parametrize(
    "words",
    [
        ("-np", 2, "env"),
        ("--nproc", 2, "env"),
        ("env", "-n", 2),
        pytest.param(("--nproc-per-node=2", "env"), marks=pytest.mark.long),
        pytest.param(("env", "-np", "2"), marks=pytest.mark.long),
        pytest.param(("env", "--ranks=2"), marks=pytest.mark.long),
        pytest.param(("disttrain", "env", "-n", "2"), marks=pytest.mark.long),
    ],
)
def test_the_number_of_ranks_in_other_words(shell, words):
    result = shell.run("launch", *words)
    assert result.returncode == 0, result.stderr
    assert "\nranks: 2\n" in result.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-n", 2, "env", "-n", 3), "goes before the command, once: `disttrain launch -n 4 env`"),
        (("env", "-n", "many"), "goes before the command, once"),
        (("env", "-n"), "goes before the command, once"),
        (("-n", 2, "plot", "out"), "plot is not for several ranks: start it alone"),
        (("-n", 2, "trian", "run.toml"), "'trian' is not a program here: is train meant?"),
        (("--hosts", "n1,n2", "--nproc-per-node", 2, "env"), "--hosts n1:4,n2:4"),
        (("--restarts", 2, "env"), "--restarts is for what can go on"),
        (("--ntasks", 2, "env"), "launch has no option --ntasks: its own options stand before"),
        (("runs.py",), "there is no script runs.py here: is run.py meant?"),
        (("-n", 2, "python", "runs.py"), "there is no script runs.py here: is run.py meant?"),
    ],
)
def test_what_is_not_understood_is_answered_with_the_right_form(shell, words, said):
    (shell.folder / "run.py").touch()
    assert said in sentence(shell.run("launch", *words), 2)


def test_a_number_of_ranks_behind_a_script_is_said_to_be_the_scripts(shell):
    (shell.folder / "hello.py").write_text("import sys; print(*sys.argv[1:])")
    result = shell.run("launch", "python", "hello.py", "--deep", "-n", 2)
    assert result.stdout == "--deep -n 2\n"
    assert result.stderr == (
        "disttrain: -n 2 behind the command is for hello.py, which runs on 1 rank: for 2 ranks "
        "type `disttrain launch -n 2 python hello.py --deep`\n"
    )
    result = shell.run("launch", "-n", 1, "hello.py", "-n", 2)
    assert (result.stdout, result.stderr) == ("-n 2\n", "")
    for words in (("-n=2",), ("-n", 2)):
        result = shell.run("launch", "python", *words)
        assert "nknown option" in result.stderr
        assert "behind the command" not in result.stderr
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize("words", [["-h"], ["launch", "-h"], ["launch", "-n", "2", "train", "-h"],
                                   ["train", "-h"], ["prepare", "csv", "-h"]])  # fmt: skip
def test_h_helps_everywhere(shell, words):
    result = shell.run(*words)
    assert result.returncode == 0, result.stderr
    assert "Usage: " in result.stdout


def test_without_a_home(shell):
    """As under cron; Open MPI alone prints a page and no rank starts."""
    del shell.environment["HOME"]
    result = shell.run("launch", "-n", 2, "train", "run.toml", "--output", "out")
    assert result.returncode == 0, result.stderr


def test_output_that_nobody_reads_any_more(shell):
    """As in `train ... | head -1`: what was done is saved, and the code says so."""
    endless = ("--set", "training.epochs=1000000")
    process = shell.start("train", "run.toml", "--output", "out", *endless)
    process.stdout.readline()
    process.stdout.close()
    said = process.stderr.read()
    assert process.wait(60) == 75, said
    assert "asked to stop" in said
    assert "sys.exit" not in said
    assert shell.summary("out")["status"] == "preempted"
