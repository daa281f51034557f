"""Several hosts as one place to start ranks on."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from disttrain.environment import MARK
from disttrain.errors import LostRanks, UsageError
from disttrain.launch import leftovers
from disttrain.launch.agent import Agent, Trouble
from disttrain.launch.hosts import Host, is_here, listed, total
from disttrain.launch.interfaces import interfaces, routes, tcp_options

__all__ = ["Cluster", "sentence_on"]

# Keepalive: a dead host is noticed after 2 + 3 * 1 seconds, not after 8 minutes.
KEEPALIVE = {"time": 2, "intvl": 1, "probes": 3}
# The user's variables that ranks on other hosts need too: ssh passes none of them on, mpirun only
# its own (OMPI_MCA_...). Not CUDA_VISIBLE_DEVICES, which is different on each host.
HANDED_ON = ("DISTTRAIN_", "PYTHON", "OMP_", "OPENBLAS_", "MKL_", "NUMBA_", "NCCL_", "CUPY_",
             "HDF5_", "UCX_", "FI_", "LC_")  # fmt: skip
ALSO = ("PATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "VIRTUAL_ENV", "COLUMNS", "NO_COLOR", "TZ", "LANG")
# Not passed on, although their names begin so: they are for this host alone.
NOT = ("PYTHONHOME",)


@dataclass(frozen=True)
class Cluster:
    """Hosts with their slots, and the agent that reaches them; `interface` where one was given."""

    hosts: tuple[Host, ...]
    agent: Agent
    interface: str | None = None

    def __str__(self) -> str:
        return listed(self.hosts)

    @property
    def slots(self) -> int:
        """How many ranks all hosts take."""
        return total(self.hosts)

    def without(self, gone: Mapping[str, Trouble]) -> Cluster:
        """Return the hosts that are left. Raises LostRanks where there is none."""
        left = tuple(host for host in self.hosts if host.name not in gone)
        if not left:
            raise LostRanks(f"no host is left: {sentence_on(gone)}")
        return replace(self, hosts=left)

    def begin(
        self, mark: str, base: str, signs: Path | None, hurried: Callable[[], bool], first: bool
    ) -> dict[str, Trouble]:
        """Make all hosts ready and return those that are gone, or can't be used.

        When a launch does it `first`, UsageError is raised for one that can't be used as it is, or
        refuses every login: a restart would not help.
        """
        self._at_home(leftovers.begin, mark, base)
        troubles = self.agent.begin(self.hosts, mark, base, hurried, signs)
        for name, trouble in troubles.items():
            if first and (trouble.refused or not trouble.gone):
                self.clean(mark, base, hurried)
                cure = f": make `ssh {name} true` work, or give --agent" if trouble.gone else ""
                raise UsageError(f"{name} {trouble.says}{cure}")
        return troubles

    def clean(
        self, mark: str, base: str, hurried: Callable[[], bool], but: Collection[str] = ()
    ) -> dict[str, Trouble]:
        """Remove what the launch left on all hosts `but` those; return which did not answer."""
        self._at_home(leftovers.clean, mark, base)
        asked = [host for host in self.hosts if host.name not in but]
        return self.agent.clean(asked, mark, base, hurried)

    def _at_home(self, do: Callable[[str, str], None], mark: str, base: str) -> None:
        """Do the same on this host where no rank runs on it: mpirun itself has files here."""
        if not any(is_here(host.name) for host in self.hosts):
            do(mark, base)

    def options(self, mark: str, environment: Mapping[str, str]) -> list[str]:
        """Return the options of Open MPI 5's mpirun for these hosts and variables."""
        places = ",".join(f"{host.name}:{host.slots}" for host in self.hosts)
        options = ["--host", places, *self.agent.options()]
        # The daemons carry the mark too, so that leftover ones can be found.
        options += ["--prtemca", "prte_launch_agent", f"env {MARK}={mark} prted"]
        # Each is started from here: hosts need not reach each other by ssh, and a daemon would hand
        # on that command only up to its equals sign.
        options += ["--prtemca", "plm_ssh_no_tree_spawn", "1"]
        for name, value in KEEPALIVE.items():
            options += ["--prtemca", f"oob_tcp_keepalive_{name}", str(value)]
        options += self._network()
        for name in sorted(environment):
            wanted = name.startswith(HANDED_ON) or name in ALSO
            if wanted and name not in NOT:
                options += ["-x", name]
        return options

    def _network(self) -> list[str]:
        if self.interface:
            chosen = ["--mca", "btl_tcp_if_include", self.interface]
            return [*chosen, "--prtemca", "prte_if_include", self.interface]
        if any(name in os.environ for name in ("OMPI_MCA_btl_tcp_if_include",
                                               "OMPI_MCA_btl_tcp_if_exclude")):  # fmt: skip
            return []
        others = [host.name for host in self.hosts if not is_here(host.name)]
        return tcp_options(interfaces(), routes(others))


def sentence_on(gone: Mapping[str, Trouble]) -> str:
    """Return the hosts that are gone, each with what is wrong, for a sentence."""
    return ", ".join(f"{name} {trouble.says}" for name, trouble in gone.items())
