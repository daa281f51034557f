"""`disttrain launch`: what is refused before anything is started, and one host named as many."""

import sys
import venv

import pytest

from tests.cli.shell import sentence


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--agent", "ssh"), "give --hosts or --hostfile"),
        (("--interface", "eth0"), "give --hosts or --hostfile"),
        (("--hosts", "n1", "--hostfile", "nodes"), "not both"),
        (("--hosts", "n1,,n2"), "is no host; write n1 or, with 4 slots, n1:4"),
        (("--hostfile", "missing"), "host file missing: No such file or directory"),
        (("-n", 5, "--hosts", "n1:2,n2:2"), "5 ranks don't fit the 4 slots of n1, n2"),
        (("--hosts", "n0:99999999999999999999"), "n0 can't take 99999999999999999999 ranks"),
        (("--hosts", "n0,me@n1"), "'me@n1' has a user's name in it"),
        (("--hosts", "n1", "--agent", "ssh -o 'x"), "No closing quotation"),
        (("--hosts", "n1", "--agent", "  "), "--agent is blank"),
        (("--hosts", "n1", "--agent", ""), "--agent is blank"),
        (("--hosts", "n1", "--agent", "ssh -o 'User me'"), "reads no quotation marks"),
        (("--hosts", "n1", "--agent", "ssh -J a:22"), "and no colons; put it into a script"),
        (("--hosts", "localhost", "--interface", "eth77"), "'eth77' is no network"),
        (("--hosts", "localhost", "--interface", "10.0.0/99,, x"), "'10.0.0/99' is no network"),
        (("--hosts", "localhost", "--interface", "203.0.113.0/24"), "no address in that network"),
        (("-n", 2, "--python", "/no/python"), "--python /no/python: this host has no such"),
        (("--hosts", "localhost:2", "--python", "/no/python"), "this host has no such program"),
        (("--python", "."), "--python .: this host has no such program"),
        (("--python", "true"), "--python true can't run disttrain on this host"),
    ],
)
def test_mistakes(shell, options, words):
    assert words in sentence(shell.run("launch", *options, "train", "run.toml"), 2)


def test_a_python_without_the_packages(shell, tmp_path):
    venv.create(tmp_path / "bare", with_pip=False)
    bare = tmp_path / "bare" / "bin" / "python"
    result = shell.run("launch", "--python", bare, "train", "run.toml")
    said = sentence(result, 2)
    assert f"--python {bare} can't run disttrain on this host (" in said
    assert "No module named" in said


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
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
