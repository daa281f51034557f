"""Hosts as users, MPIs and schedulers write them."""

import socket

import pytest

from disttrain.errors import UsageError
from disttrain.launch.hosts import Host, fitted, is_here, parse_hosts, read_hostfile, total


def test_hosts_of_the_command_line():
    assert parse_hosts("n1,n2:4,10.0.0.3") == [Host("n1"), Host("n2", 4), Host("10.0.0.3")]
    assert parse_hosts("n1,n1,n2") == [Host("n1", 2), Host("n2")]


@pytest.mark.parametrize("text", ["", "n1,", "n1:x", "n1:-2", "-oProxyCommand=x", "n1;reboot"])
def test_what_is_no_host(text):
    with pytest.raises(UsageError, match="is not a host; write n1"):
        parse_hosts(text)


@pytest.mark.parametrize("slots", ["0", "65537", "9" * 20, "9" * 5000])
def test_slots_that_no_host_has(slots):
    with pytest.raises(UsageError, match=r"n1 can't take \d{1,20} ranks: give 1 to 65536 slots"):
        parse_hosts(f"n0,n1:{slots}")
    assert parse_hosts("n1:00000000065536") == [Host("n1", 65536)]


def test_a_user_belongs_into_the_configuration_of_ssh():
    with pytest.raises(UsageError, match="'me@n1:2' has a user's name") as caught:
        parse_hosts("n0,me@n1:2")
    assert "`User me` for it in ~/.ssh/config" in str(caught.value)
    assert '--agent "ssh -l me"' in str(caught.value)


@pytest.mark.parametrize(
    "lines",
    [
        "n1 slots=2\nn2 slots=1\n",
        "# of Open MPI\nn1 slots = 2 max_slots=8\n\nn2 slots=1 # the last\n",
        "n1:2\nn2:1\n",
        "n1\nn1\nn2:1\n",
        "\ufeffn1:2\nn2:1\n",
        "n1 2 all.q@n1 UNDEFINED\nn2 1 all.q@n2 UNDEFINED\n",
    ],
    ids=["slots", "comments", "mpich", "a line per slot", "byte-order mark", "grid engine"],
)
def test_host_files(tmp_path, lines):
    (tmp_path / "hosts").write_text(lines)
    assert read_hostfile(tmp_path / "hosts") == [Host("n1", 2), Host("n2", 1)]


def test_bad_host_files_are_told_with_the_line(tmp_path):
    path = tmp_path / "hosts"
    with pytest.raises(UsageError, match="No such file"):
        read_hostfile(path)
    path.write_text("n1\nn2 cores=4\n")
    with pytest.raises(UsageError, match=r"line 2: 'cores=4' behind n2 is not understood"):
        read_hostfile(path)
    path.write_text("n0 slots=1 max_slots=2 foo\n")
    with pytest.raises(UsageError, match="line 1: 'foo' behind n0 is not understood; write n0 or"):
        read_hostfile(path)
    path.write_text("# nothing\n")
    with pytest.raises(UsageError, match="names no host"):
        read_hostfile(path)


def test_slots_that_nobody_stated_hold_the_ranks_evenly():
    assert fitted([Host("a"), Host("b")], None) == [Host("a", 1), Host("b", 1)]
    assert fitted([Host("a"), Host("b")], 5) == [Host("a", 3), Host("b", 3)]
    assert fitted([Host("a", 4), Host("b")], 6) == [Host("a", 4), Host("b", 2)]
    assert fitted([Host("a", 4), Host("b")], 2) == [Host("a", 4), Host("b", 1)]
    assert total(fitted([Host("a", 4), Host("b", 3)], None)) == 7


def test_more_ranks_than_slots_are_refused():
    with pytest.raises(UsageError, match="9 ranks don't fit the 7 slots of a, b"):
        fitted([Host("a", 4), Host("b", 3)], 9)


def test_this_host_is_known_by_its_names_and_addresses():
    assert is_here("localhost")
    assert is_here("127.0.0.1")
    assert is_here(socket.gethostname())
    # Set aside for documentation: nobody's.
    assert not is_here("203.0.113.7")
    assert not is_here("no-such-host.invalid")
