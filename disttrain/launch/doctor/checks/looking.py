"""What can go wrong with looking itself: a subject that fails or hangs, a check that fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from disttrain.launch.doctor.checks.grouping import by, named
from disttrain.launch.doctor.facts import Facts
from disttrain.launch.doctor.finding import Check, Finding, Seen, check, seen

REPORT = (
    "where it is only slow, wait longer by --limit 60; if the reason says nothing to you, report "
    "it together with what `disttrain env` prints"
)


@check("warning", REPORT)
def not_looked_at(ranks: Sequence[Facts]) -> Iterator[Seen]:
    """A check failed on a rank, or did not end in time."""
    # The run folder has a finding of its own.
    subjects = dict.fromkeys(s for r in ranks for s in r.failed if s != "disk")
    for subject in subjects:
        for reason, group in by(ranks, lambda r, s=subject: r.failed.get(s, "")).items():  # type: ignore[misc]
            if reason:
                yield seen(group, f"looking at the {subject} failed on {named(group)}: {reason}")


def broken(check: Check, error: Exception) -> Finding:
    """Return the finding that a check itself has failed."""
    what = f"the check {check.name} failed: {type(error).__name__}: {error}"
    return Finding("not-looked-at", "warning", what, REPORT)
