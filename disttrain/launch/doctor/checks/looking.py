"""What can go wrong with looking itself: a subject that fails or hangs, a check that fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from disttrain.launch.doctor.checks.grouping import by, named, shown
from disttrain.launch.doctor.checks.network import bridges_of, networks_of
from disttrain.launch.doctor.facts import Facts, Network
from disttrain.launch.doctor.finding import Check, Finding, Seen, check, seen

REPORT = "if the reason says nothing to you, report it together with what `disttrain env` prints"

NO_ANSWER = (
    "between hosts, export OMPI_MCA_btl_tcp_if_include={network}; if that is not it, run "
    "`disttrain doctor` alone on each host, then `disttrain launch -n 2 doctor`"
)


@check("warning", REPORT)
def not_looked_at(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """A subject could not be looked at on a rank: it failed, or gave no answer in 8 seconds."""
    # The run folder has a finding of its own.
    subjects = dict.fromkeys(s for r in ranks for s in r.failed if s != "disk")
    for subject in subjects:
        for reason, group in by(ranks, lambda r, s=subject: r.failed.get(s, "")).items():  # type: ignore[misc]
            if reason:
                yield seen(group, f"looking at the {subject} failed on {named(group)}: {reason}")


def no_answer(how: str, network: Network) -> Finding:
    """Return the finding that MPI gave no answer; `network` are this host's interfaces."""
    here = Facts(network=network)
    bridges = [interface.name for interface in bridges_of(here)]
    if bridges and not network.chosen:
        how += f" (it may have taken {shown(bridges)} for the way to other hosts)"
    cure = NO_ANSWER.format(network=next(iter(networks_of(here)), "NETWORK"))
    return Finding("no-answer", "problem", how, cure)


def broken(check: Check, error: Exception) -> Finding:
    """Return the finding that a check itself has failed."""
    what = f"the check {check.name} failed: {type(error).__name__}: {error}"
    return Finding("not-looked-at", "warning", what, REPORT)
