"""`disttrain launch`: what is refused before anything is started, and one host named as many."""

import sys

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
    ],
)
def test_mistakes(shell, options, words):
    assert words in sentence(shell.run("launch", *options, "train", "run.toml"), 2)


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
