"""What people and programs are told; and that the page of findings is what the code says."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from disttrain.environment import launched
from disttrain.launch.doctor.bug_report import shown_variables
from disttrain.launch.doctor.checks import CHECKS, judge
from disttrain.launch.doctor.facts import Interface, Network
from disttrain.launch.doctor.finding import SEVERITIES
from disttrain.launch.doctor.report import as_object, in_words
from disttrain.launch.doctor.silence import CONNECTING, CURES, Silence, no_answer
from tests.unit.launch.made import DOCKER, LO, alone, changed, everywhere, job, with_gpus

PAGE = Path(__file__).parents[3] / "docs" / "doctor.md"


def test_a_good_job_in_words():
    lines = in_words(with_gpus(job(2, 2)), [])
    assert lines[0].endswith("4 ranks on 2 hosts (n0, n1)")
    text = "\n".join(lines)
    for part in (
        "Open MPI 5.0.11",
        "8 of 8 cores",
        "NVIDIA H200",
        "/scratch/runs: nfs4, 966 GB free",
    ):
        assert part in text
    assert lines[-1] == "no problems found"


def test_each_finding_has_its_cure_below_it_and_the_last_line_counts():
    ranks = changed(alone(), [0], "disk", free=0, lock_problem="no locks")
    lines = in_words(ranks, judge(everywhere(ranks, "software", kernels="numpy")))
    found = [
        i for i, line in enumerate(lines) if line.startswith(tuple(f"{s}:" for s in SEVERITIES))
    ]
    assert [lines[i].partition(":")[0] for i in found] == ["problem", "warning", "note"]
    assert all(lines[i + 1].startswith("   cure: ") for i in found)
    assert lines[-1] == "1 problem, 1 warning"


def test_a_note_is_no_problem():
    lines = in_words(alone(), judge(everywhere(alone(), "software", kernels="numpy")))
    assert lines[-1] == "no problems found"
    assert any(line.startswith("note: ") for line in lines)


def test_of_many_alike_people_see_three_and_programs_all():
    findings = judge(everywhere(job(9, 1), "machine", shared_free=0))
    assert len(findings) == 9
    lines = in_words(job(9, 1), findings)
    assert sum(line.startswith("warning") for line in lines) == 3
    assert "6 more of the same kinds: --json has them all" in lines
    assert lines[-1] == "9 warnings"
    assert len(as_object(job(9, 1), findings)["findings"]) == 9


def test_the_object_has_findings_facts_and_counts():
    ranks = changed(job(2, 2), [2], "disk", token_seen=False)
    told = json.loads(json.dumps(as_object(ranks, judge(ranks))))
    assert (told["ranks"], told["hosts"]) == (4, ["n0", "n1"])
    assert (told["problems"], told["warnings"], told["notes"]) == (0, 1, 0)
    (finding,) = told["findings"]
    assert set(finding) == {"name", "severity", "what", "cure", "ranks", "hosts"}
    assert (finding["name"], finding["ranks"], finding["hosts"]) == (
        "folder-not-shared",
        [2],
        ["n1"],
    )
    assert [facts["rank"] for facts in told["facts"]] == [0, 1, 2, 3]


LATE = Silence(CONNECTING, "late", "not over after 9 s")
ETH = Interface("eth0", "10.0.0.1", "10.0.0.0/24")
ONE_HOST = launched({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"})
TWO_HOSTS = launched({"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"})


def test_no_answer_is_told_without_any_facts():
    finding = no_answer(LATE, Network(), ONE_HOST)
    assert in_words([], [finding])[-1] == "1 problem"
    assert as_object([], [finding])["facts"] == []
    assert finding.what == "connecting the ranks: not over after 9 s"


def test_no_answer_names_the_bridge_that_may_be_the_cause_and_the_network_to_take():
    finding = no_answer(LATE, Network((LO, DOCKER, ETH)), TWO_HOSTS)
    assert finding.what.endswith("s (it may have used docker0 to reach other hosts)")
    assert "OMPI_MCA_btl_tcp_if_include=10.0.0.0/24" in finding.cure
    chosen = Network((LO, DOCKER, ETH), "chosen=eth0")
    assert "docker0" not in no_answer(LATE, chosen, TWO_HOSTS).what
    assert "include=NETWORK;" in no_answer(LATE, Network(), TWO_HOSTS).cure


@pytest.mark.parametrize(
    ("silence", "job"),
    [
        (LATE, ONE_HOST),
        (LATE, None),
        (LATE, launched({"PMI_SIZE": "4", "MPI_LOCALNRANKS": "2"})),
        (Silence("", "late", "not over after 9 s"), TWO_HOSTS),
        (Silence("looking at the hosts", "late", "not over after 9 s"), TWO_HOSTS),
        (Silence(CONNECTING, "died", "the process ended with status 14"), TWO_HOSTS),
        (Silence(CONNECTING, "ended", "the launcher has ended the job"), TWO_HOSTS),
    ],
)
def test_the_network_is_blamed_only_where_ranks_of_several_hosts_are_late_to_meet(silence, job):
    finding = no_answer(silence, Network((LO, DOCKER, ETH)), job)
    assert "if_include" not in finding.cure
    assert "docker0" not in finding.what
    # A slow start is no fault: the way to wait longer is told.
    assert ("--limit 60" in finding.cure) == (silence.kind == "late")


def test_what_is_not_known_is_said_so():
    (one,) = alone()
    bare = replace(one, mpi=replace(one.mpi, problem="mpi4py is not installed"), disk=None)
    lines = in_words([bare], [])
    assert any(line.endswith("mpi4py is not installed") for line in lines)
    assert not any("run folder" in line for line in lines)


def test_a_run_folder_in_words_has_only_what_was_measured():
    def line(**values):
        lines = in_words(changed(alone(), [0], "disk", **values), [])
        return next(line for line in lines if "run folder" in line).partition("runs: ")[2]

    assert line() == "nfs4, 966 GB free, a megabyte synced in 10 ms"
    assert line(write_problem="Read-only file system", free=0, sync_seconds=0.0) == "nfs4"
    assert line(sync_problem="Input/output error") == "nfs4, 966 GB free"


def test_only_harmless_variables_are_shown():
    shown = {
        "OMP_NUM_THREADS": "2",
        "OPENBLAS_CORETYPE": "Haswell",
        "OMPI_MCA_btl_tcp_if_include": "eth0",
        "OMPI_COMM_WORLD_SIZE": "4",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        "SLURM_JOB_ID": "7",
        "SLURM_NTASKS_PER_NODE": "2",
        "DISTTRAIN_LAUNCH": "x",
        "CUDA_VISIBLE_DEVICES": "0",
        "HDF5_USE_FILE_LOCKING": "FALSE",
    }
    hidden = {
        "AWS_SECRET_ACCESS_KEY": "s", "SLURM_JWT": "s", "DISTTRAIN_TOKEN": "s", "PATH": "s",
        "PMIX_SECURITY_CREDENTIAL": "s", "NOT_OMP_NUM_THREADS": "s", "OMP_NUM_THREADS_X": "s",
        "OMPI_MCA_my_password": "s", "SLURM_JOB_ACCOUNT": "s", "HOME": "s", "MPI4PY_AUTH": "s",
    }  # fmt: skip
    assert shown_variables(shown | hidden) == shown


# ---- docs/doctor.md


def table():
    """The table of findings as the page must have it."""
    lines = ["| finding | kind | when | cure |", "|---|---|---|---|"]
    for check in CHECKS:
        cure = re.sub(r"\{(\w+)\}", lambda value: value[1].upper(), check.cure)
        lines.append(f"| `{check.name}` | {check.severity} | {check.when} | {cure} |")
    return "\n".join(lines)


def test_the_page_has_every_finding_as_it_is():
    assert table() in PAGE.read_text(), f"docs/doctor.md must hold:\n{table()}"


def test_the_page_says_of_every_finding_what_happens_where_it_is_not_mended():
    reasons = PAGE.read_text().partition("### Why each")[2].partition("### When")[0]
    assert re.findall(r"^\| `(\S+)` \| .+ \|$", reasons, re.MULTILINE) == [c.name for c in CHECKS]


def test_the_page_has_what_is_said_where_there_is_no_answer():
    page = " ".join(PAGE.read_text().split())
    assert "`no-answer`" in page
    for cure in CURES.values():
        assert cure.format(network="NETWORK") in page, cure


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_check_is_one_sentence_and_a_cure(check):
    assert check.severity in SEVERITIES
    assert check.when
    assert check.cure
    assert "|" not in check.when + check.cure
    assert not check.cure.endswith(".")
