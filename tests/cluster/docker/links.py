"""Scenarios with slow and bad links: slower, never hung, never wrong."""

from __future__ import annotations

from tests.cluster.docker.agreement import HOSTS
from tests.cluster.docker.card import Failed, Skipped, expect
from tests.cluster.docker.training import SHORT, Training

__all__ = ["delay", "loss", "rate_10", "rate_100"]

# Room for a burst of 64 KB, which the kernel cuts into frames only later.
SHAPER = ("tbf", "burst", "128kb", "latency", "100ms", "rate")
DROP = ("INPUT", "-m", "statistic", "--mode", "random", "--probability", "0.01", "-j", "DROP")
FEW = 2


def rate_100(training: Training) -> str:
    """All links carry 100 Mbit/s."""
    return _shaped(training, "100mbit")


def rate_10(training: Training) -> str:
    """All links carry 10 Mbit/s."""
    return _shaped(training, "10mbit")


def delay(training: Training) -> str:
    """20 ms each way and 1 % loss, where the kernel has netem."""
    options = ("netem", "delay", "20ms", "2ms", "loss", "1%")
    try:
        training.nodes.network("tc", "qdisc", "add", "dev", "DEV", "root", *options)
    except Failed as why:
        raise Skipped(f"this kernel has no netem ({why})") from None
    try:
        return _timed(training, "delay", FEW)
    finally:
        training.nodes.network("tc", "qdisc", "del", "dev", "DEV", "root")


def loss(training: Training) -> str:
    """1 % of the packets that come in is lost on every node."""
    nodes = training.nodes
    try:
        nodes.network("iptables", "-A", *DROP)
    except Failed as why:
        raise Skipped(f"iptables has no statistic here ({why})") from None
    try:
        detail = _timed(training, "loss", FEW)
        said = nodes.run("head", "iptables", "-nvxL", "INPUT", root=True).stdout
        lost = int(next(line for line in said.splitlines() if "DROP" in line).split()[0])
        expect(lost > 0, "nothing was lost")
    finally:
        nodes.network("iptables", "-D", *DROP)
    return f"{detail}, the head lost {lost} packets"


def _shaped(training: Training, rate: str) -> str:
    nodes = training.nodes
    nodes.network("tc", "qdisc", "add", "dev", "DEV", "root", *SHAPER, rate)
    try:
        return _timed(training, rate)
    finally:
        nodes.network("tc", "qdisc", "del", "dev", "DEV", "root")


def _timed(training: Training, output: str, epochs: int = SHORT) -> str:
    """Train on all nodes; return how long, which nobody judges."""
    training.start(output, *HOSTS, epochs=epochs).finish()
    training.check(output, training.nodes.names, epochs)
    seconds = training.summary(output)["wall_seconds"]
    return f"{epochs} epochs in {seconds:.1f} s"
