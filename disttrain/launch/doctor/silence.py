"""The finding that MPI gave no answer: at which stage, and the cure for that stage.

Standard library only: it is said in a hurry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from disttrain.environment import Launched
from disttrain.launch.doctor.finding import Finding
from disttrain.launch.doctor.interfaces import Network

__all__ = ["CONNECTING", "CURES", "Silence", "no_answer"]

CONNECTING = "connecting the ranks"
# The variables of launchers that may have started ranks of Open MPI.
OPEN_MPI = ("OMPI_", "PMIX_", "SLURM_")
PATIENT = "if Python or MPI is slow to start here, wait longer: `disttrain doctor --limit 60`"
# By what there is to be seen: the first that fits.
CURES = {
    "late between hosts": (
        "export OMPI_MCA_btl_tcp_if_include={network}; if that does not help, run `disttrain "
        "doctor` "
        f"alone on each host; {PATIENT}"
    ),
    "late": f"{PATIENT}; if it never ends, run `disttrain doctor` alone, without a launcher",
    "ended": (
        "look at what the other ranks and the launcher say on standard error; then run `disttrain "
        "doctor` alone on each host"
    ),
    "died": (
        "look at what MPI says on standard error, and at OMPI_MCA_* and mpirun's options; then "
        "run `disttrain doctor` alone, and `disttrain launch -n 2 doctor`"
    ),
}


@dataclass(frozen=True)
class Silence:
    """How work ended without an answer: at which stage, and in words.

    `kind` is "late" where it took too long, "ended" where the launcher ended the job, "died" where
    the process went by itself.
    """

    stage: str
    kind: Literal["late", "ended", "died"]
    how: str

    def __str__(self) -> str:
        return f"{self.stage or 'starting'}: {self.how}"


def no_answer(silence: Silence, network: Network, job: Launched | None = None) -> Finding:
    """Return the finding that MPI gave no answer; `network` is this host's, `job` the launcher's.

    The network is suspected only where ranks of several hosts did not find each other in time.
    """
    what, kind = str(silence), str(silence.kind)
    searching = silence.kind == "late" and silence.stage == CONNECTING
    # MPICH and its like have no such setting.
    if searching and job and job.several_hosts and job.variable.startswith(OPEN_MPI):
        kind = "late between hosts"
        if network.bridges and network.outward and not network.chosen:
            names = ", ".join(interface.name for interface in network.bridges)
            what += f" (it may have used {names} to reach other hosts)"
    cure = CURES[kind].format(network=next(iter(network.outward), "NETWORK"))
    return Finding("no-answer", "problem", what, cure)
