"""The network between hosts: never that of a bridge."""

import socket
import threading

import pytest

from disttrain.errors import UsageError
from disttrain.launch import interfaces as module
from disttrain.launch.hosts import is_here
from disttrain.launch.interfaces import Interface, check_chosen, interfaces, routes, tcp_options

LO = Interface("lo", "127.0.0.0", "127.0.0.0/8")
ETH = Interface("eth0", "10.1.0.0", "10.1.0.0/16")
FAST = Interface("ib0", "192.168.7.0", "192.168.7.0/24")
DOCKER = Interface("docker0", "172.17.0.0", "172.17.0.0/16")
VIRTUAL = Interface("virbr0", "192.168.122.0", "192.168.122.0/24")


def test_hosts_in_one_network():
    here = [LO, DOCKER, ETH, FAST]
    near = {"10.1.0.2": "10.1.0.1", "10.1.9.9": "10.1.0.1"}
    assert tcp_options(here, near) == ["--mca", "btl_tcp_if_include", "10.1.0.0/16"]
    fast = {"192.168.7.2": "192.168.7.1"}
    assert tcp_options(here, fast) == ["--mca", "btl_tcp_if_include", "192.168.7.0/24"]


def test_hosts_behind_routers_or_in_two_networks_leave_bridges_out():
    left_out = ["--mca", "btl_tcp_if_exclude", "127.0.0.0/8,172.17.0.0/16,192.168.122.0/24"]
    here = [LO, DOCKER, ETH, FAST, VIRTUAL]
    assert tcp_options(here, {"10.2.0.2": "10.1.0.1"}) == left_out
    assert tcp_options(here, {"10.1.0.2": "10.1.0.1", "192.168.7.2": "192.168.7.1"}) == left_out
    assert tcp_options(here, {"172.17.0.2": "172.17.0.1"}) == left_out
    assert tcp_options(here, {}) == left_out


def test_without_bridges_mpi_chooses():
    assert tcp_options([LO, ETH], {"10.2.0.2": "10.1.0.1"}) == []
    assert tcp_options([LO], {"127.0.0.2": "127.0.0.1"}) == []


def test_this_host_has_a_loopback_and_a_way_to_itself():
    assert any(i.name == "lo" and i.network == LO.network for i in interfaces())
    assert routes(["127.0.0.1", "no-such-host.invalid"]) == {"127.0.0.1": "127.0.0.1"}


def test_a_name_server_that_does_not_answer_is_not_waited_for(monkeypatch):
    asked, over = [], threading.Event()

    def never(name):
        asked.append(name)
        over.wait()
        raise OSError

    monkeypatch.setattr(socket, "gethostbyname", never)
    monkeypatch.setattr(module, "LOOKUP", 0.01)
    assert not is_here("silent.invalid")
    assert routes(["silent.invalid"]) == {}
    assert asked == ["silent.invalid"]
    over.set()


@pytest.mark.parametrize(
    "text", ["eth0", "eth0,ib0", "10.1.0.0/16", "10.1.2.3/16", "10.0.0.0/8", "10.2.0.0/16,ib0"]
)
def test_interfaces_and_networks_that_are_here(text):
    check_chosen(text, [LO, ETH, FAST], is_host=True)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("eth77", "eth77"),
        ("lo", "lo"),
        ("10.0.0/99,, x", "10.0.0/99"),
        ("eth0,", ""),
        ("eth0, ib0", " ib0"),
        ("10.1.0.0", "10.1.0.0"),
        ("10.1.0.0/255.255.0.0", "10.1.0.0/255.255.0.0"),
        ("", ""),
    ],
)
@pytest.mark.parametrize("is_host", [True, False])
def test_what_is_no_interface_is_named_beside_those_that_are(text, word, is_host):
    with pytest.raises(UsageError) as caught:
        check_chosen(text, [LO, ETH, FAST], is_host)
    assert f"{word!r} is not a network such as 10.0.0.0/16, nor an interface of this host" in str(
        caught.value
    )
    assert "there are eth0 (10.1.0.0/16), ib0 (192.168.7.0/24)" in str(caught.value)


def test_a_network_of_the_others_is_for_them_alone():
    check_chosen("10.9.0.0/16", [ETH], is_host=False)
    with pytest.raises(UsageError, match="this host has no address in that network"):
        check_chosen("10.9.0.0/16", [ETH], is_host=True)
    with pytest.raises(UsageError, match="this host has no address in that network"):
        check_chosen("127.0.0.0/8", [LO, ETH], is_host=True)
