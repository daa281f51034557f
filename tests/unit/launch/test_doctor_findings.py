"""A made environment for each finding; and good ones, in which nothing is found."""

from dataclasses import replace

import pytest

from disttrain.launch.doctor.checks import CHECKS, judge
from disttrain.launch.doctor.checks.looking import broken
from disttrain.launch.doctor.facts import Facts, Interface, Launch, Program, from_plain
from disttrain.launch.doctor.finding import check
from tests.unit.launch.made import (
    DOCKER,
    GB,
    LO,
    PROGRAMS,
    alone,
    changed,
    everywhere,
    job,
    with_gpus,
)

MB = 1 << 20
ETH = Interface("eth0", "10.0.0.1", "10.0.0.0/24")
MPICH = {"vendor": "MPICH", "version": "5.0.2", "abi": "mpich"}


def unloaded(ranks):
    bad = {"vendor": "", "version": "", "library": "", "world": 0, "mpi4py": ""}
    return everywhere(ranks, "mpi", **bad, problem="mpi4py is not installed")


def packages(rank, **versions):
    return dict(rank.software.packages) | versions


def containers(ranks):
    """Hosts that are containers on one computer."""
    return everywhere(ranks, "machine", boot="one")


# name: the environment, what the finding and its cure must say, and the ranks it names.
BAD = {
    "singletons": (
        lambda: changed(job(1, 1), [0], "launch", variable="PMI_SIZE", processes=2),
        "PMI_SIZE = 2", "launch -n 2", (0,),
    ),
    "not-joined": (
        lambda: changed(job(1, 2), [0, 1], "launch", error="no shared memory"),
        "no shared memory", "one host", (0, 1),
    ),
    "mpi-not-loaded": (
        lambda: [replace(unloaded(alone())[0], launch=Launch("PMI_SIZE", 2, "not there"))],
        "mpi4py is not installed", "pip install", (0,),
    ),
    "different-mpi": (
        lambda: changed(job(2, 2), [2, 3], "mpi", version="5.0.5"),
        "5.0.5 (openmpi) on ranks 2-3 on n1", "same mpi4py", (0, 1, 2, 3),
    ),
    "foreign-launcher": (
        lambda: changed(
            alone(), [0], "launch", programs=(*PROGRAMS, Program("/usr/bin/mpirun", "mpich", "4"))
        ),
        "/usr/bin/mpirun is of MPICH 4", "disttrain launch", (0,),
    ),
    "no-launcher": (
        lambda: changed(alone(), [0], "launch", programs=()), "no mpirun", "pip install", (0,),
    ),
    "ranks-share-a-core": (
        lambda: everywhere(job(), "processor", cores=(0,), threads=1),
        "ranks 0-3 on n0 may all use core 0 only, of 8", "--bind-to none", (0, 1, 2, 3),
    ),
    "more-ranks-than-cores": (
        lambda: everywhere(job(1, 4), "processor", cores=(0, 1), machine_cores=2, threads=1),
        "share 2 cores", "start 2 ranks", (0, 1, 2, 3),
    ),
    "too-many-threads": (
        lambda: everywhere(job(1, 4), "processor", threads=8, threads_asked="8"),
        "32 BLAS threads (OMP_NUM_THREADS=8) on 8 cores", "set it to 2", (0, 1, 2, 3),
    ),
    "cpu-quota": (
        lambda: everywhere(job(1, 2), "processor", quota=2.0),
        "time of 2 cores for 8 threads", "OMP_NUM_THREADS=1", (0, 1),
    ),
    "different-blas": (
        lambda: changed(job(2, 1), [0], "processor", kernel="SkylakeX"),
        "SkylakeX on rank 0 on n0", "OPENBLAS_CORETYPE=Haswell", (0, 1),
    ),
    "small-shared-memory": (
        lambda: everywhere(job(1, 4), "machine", shared_total=64 * MB, shared_free=64 * MB),
        "64 MB free: 4 ranks can share gradients of 2.5 million", "--shm-size=1g", (0, 1, 2, 3),
    ),
    "gpu-shared": (
        lambda: changed(
            with_gpus(job(1, 3)), [2], "gpu", device="gpu 0 (NVIDIA H200)", bus="0000:00:00.0"
        ),
        "ranks 0, 2 on n0 would all take gpu 0 (NVIDIA H200)", "start 2 ranks", (0, 2),
    ),
    "gpu-on-some-ranks": (
        lambda: changed(with_gpus(job(1, 2)), [1], "gpu", device="", driver="", driver_cuda=0,
                        wheels=(), cupy="", problem="CuPy is not installed"),
        "rank 1 on n0 can use no GPU (CuPy is not installed)", 'device.kind = "cpu"', (1,),
    ),
    "different-gpus": (
        lambda: changed(with_gpus(job(1, 2)), [1], "gpu", device="gpu 1 (NVIDIA L4)"),
        "NVIDIA L4 on rank 1", "one kind", (0, 1),
    ),
    "no-cupy": (
        lambda: everywhere(alone(), "gpu", driver="550.1", driver_cuda=12040),
        "no CuPy", "disttrain[cuda12]", (0,),
    ),
    "two-cupy-wheels": (
        lambda: changed(with_gpus(alone()), [0], "gpu", wheels=("cupy-cuda12x", "cupy-cuda13x")),
        "cupy-cuda12x and cupy-cuda13x",
        "pip uninstall cupy-cuda12x cupy-cuda13x, then pip install 'disttrain[cuda13]'", (0,),
    ),
    "cupy-newer-than-driver": (
        lambda: changed(with_gpus(alone()), [0], "gpu", driver="550.1", driver_cuda=12040,
                        device="", problem="driver too old"),
        "driver 550.1 serves CUDA 12 at most", "pip uninstall cupy-cuda13x", (0,),
    ),
    "gpu-unusable": (
        lambda: changed(with_gpus(alone()), [0], "gpu", device="", problem="out of memory"),
        "n0: out of memory", "nvidia-smi", (0,),
    ),
    "different-versions": (
        lambda: changed(job(2, 2), [3], "software", packages=packages(job()[0], numpy="2.0.0")),
        "numpy differs between ranks: 2.4.6 on ranks 0-2", "same environment", (0, 1, 2, 3),
    ),
    "different-code": (
        lambda: changed(job(2, 1), [1], "software", code="bbbbbbbbbbbb"),
        "bbbbbbbbbbbb on rank 1 on n1", "same code", (0, 1),
    ),
    "no-compiled-kernels": (
        lambda: everywhere(job(1, 2), "software", kernels="numpy"), "numpy", "compiler", (0, 1),
    ),
    "folder-gives-no-answer": (
        lambda: [replace(r, disk=None, failed={"disk": "no answer in 8 s"}) for r in alone()],
        "no answer in 8 s", "--output", (0,),
    ),
    "folder-not-writable": (
        lambda: changed(alone(), [0], "disk", write_problem="Read-only file system", free=0),
        "nothing can be written in /scratch: Read-only", "--output", (0,),
    ),
    "rename-not-atomic": (
        lambda: changed(alone(), [0], "disk", rename_problem="a reader saw half of it"),
        "a reader saw half", "--output", (0,),
    ),
    "sync-fails": (
        lambda: changed(alone(), [0], "disk", sync_problem="Input/output error", sync_seconds=9.0),
        "fsync does not work in /scratch: Input/output error", "--output", (0,),
    ),
    "sync-slow": (
        lambda: changed(alone(), [0], "disk", sync_seconds=2.5), "2.5 s", "every_epochs", (0,),
    ),
    "no-locks": (
        lambda: changed(alone(), [0], "disk", lock_problem="Function not implemented"),
        "flock does not work", "-o flock", (0,),
    ),
    "little-space": (
        lambda: changed(alone(), [0], "disk", free=300 * MB), "300 MB", "checkpoint.keep", (0,),
    ),
    "folder-does-not-last": (
        lambda: changed(alone(), [0], "disk", kind="overlay"), "container", "volume", (0,),
    ),
    "folder-not-shared": (
        lambda: changed(job(3, 2), [4], "disk", token_seen=False),
        "/scratch is not shared with n2: checkpoints are on n0 only", "all hosts share", (4,),
    ),
    "docker-bridges": (
        lambda: changed(job(2, 2), [0, 1], "network", interfaces=(LO, DOCKER, ETH)),
        "docker0 (172.17.0.1) on n0", "OMPI_MCA_btl_tcp_if_include=10.0.0.0/24", (0,),
    ),
    "not-looked-at": (
        lambda: [replace(r, gpu=None, failed={"gpu": "no answer in 8 s"}) if r.rank else r
                 for r in job(1, 2)],
        "looking at the gpu failed on rank 1 on n0: no answer in 8 s", "disttrain env", (1,),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_made_environment_gives_its_finding_and_no_other(name):
    make, what, cure, ranks = BAD[name]
    (finding,) = judge(make())
    assert finding.name == name
    assert what in finding.what
    assert cure in finding.cure
    assert finding.ranks == ranks
    assert set(finding.hosts) == {r.host for r in make() if r.rank in ranks}
    assert "{" not in finding.what + finding.cure
    assert "\n" not in finding.what + finding.cure


def test_every_check_has_its_environment():
    assert {check.name for check in CHECKS} == set(BAD)
    assert len({check.name for check in CHECKS}) == len(CHECKS)


def bound(ranks):
    """Each rank on two cores of its own."""
    return [
        replace(r, processor=replace(r.processor, cores=(2 * r.rank, 2 * r.rank + 1), threads=2))
        for r in ranks
    ]


def bridged(ranks, **network):
    return everywhere(ranks, "network", interfaces=(LO, DOCKER, ETH), **network)


GOOD = {
    "alone": alone,
    "alone with a GPU": lambda: with_gpus(alone()),
    "one rank under a launcher": lambda: job(1, 1),
    "four ranks": job,
    "bound to cores of their own": lambda: bound(job()),
    "three hosts": lambda: job(3, 4),
    "a launcher that states no size": lambda: everywhere(job(), "launch", processes=0),
    "an unknown launcher beside": lambda: changed(
        job(), [0], "launch", programs=(*PROGRAMS, Program("/opt/mpirun", "unknown"))
    ),
    "ranks that have met, and another MPI's mpirun beside": lambda: changed(
        job(), [0], "launch", programs=(*PROGRAMS, Program("/usr/bin/mpirun", "mpich", "4"))
    ),
    "four GPUs": lambda: with_gpus(job()),
    "an older wheel than the driver serves": lambda: everywhere(
        with_gpus(job(1, 2)), "gpu", wheels=("cupy-cuda12x",), runtime_cuda=12090
    ),
    "two hosts with the same bus": lambda: everywhere(
        with_gpus(job(2, 1)), "gpu", bus="0000:01:00.0"
    ),
    "docker on one host": lambda: bridged(job(1, 4)),
    "docker, and the network chosen": lambda: bridged(
        job(2, 2), chosen="OMPI_MCA_btl_tcp_if_include=eth0"
    ),
    "docker, and MPICH": lambda: everywhere(
        everywhere(bridged(job(2, 2)), "mpi", **MPICH), "launch", programs=()
    ),
    "containers with nothing but a veth": lambda: everywhere(
        job(2, 1), "network", interfaces=(LO, Interface("veth1", "10.0.0.2", "10.0.0.0/24"))
    ),
    "containers on one computer, with cores enough": lambda: everywhere(
        containers(job(4, 1)), "processor", threads=2
    ),
    "a container with a quota that fits": lambda: everywhere(job(), "processor", quota=8.0),
    "hosts that differ in what draws": lambda: changed(
        job(2, 1), [1], "software", packages=packages(job()[0], matplotlib="3.9")
    ),
    "a local folder on one host": lambda: changed(job(), [0], "disk", kind="ext4", source="/dev/x"),
    "no /dev/shm to be seen": lambda: everywhere(
        job(), "machine", shared_total=None, shared_free=None
    ),
    "nothing is known": lambda: [Facts(host="n0")],
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_a_good_environment_raises_no_alarm(name):
    assert judge(GOOD[name]()) == []


def test_containers_on_one_computer_share_its_cores():
    (finding,) = judge(everywhere(containers(job(3, 1)), "processor", cores=(0,), threads=1))
    assert finding.name == "ranks-share-a-core"
    assert finding.hosts == ("n0", "n1", "n2")


def test_several_findings_come_worst_first():
    ranks = everywhere(job(1, 2), "software", kernels="numpy")
    ranks = everywhere(changed(ranks, [0], "disk", free=5 * MB), "processor", threads=8)
    ranks = changed(ranks, [0], "disk", lock_problem="no")
    found = [f.severity for f in judge(ranks)]
    assert found == ["problem", "warning", "warning", "note"]


def test_a_check_that_fails_is_a_finding_and_stops_no_other():
    @check("warning", "none")
    def wild(ranks):
        """It always fails."""
        raise KeyError("oops")
        yield

    (real,) = [c for c in CHECKS if c.name == "little-space"]
    found = judge(changed(alone(), [0], "disk", free=0), [wild, real])
    assert [f.name for f in found] == ["not-looked-at", "little-space"]
    assert found[0] == broken(wild, KeyError("oops"))
    assert "wild failed: KeyError" in found[0].what


def test_many_ranks_and_hosts_make_a_short_sentence():
    (finding,) = judge(everywhere(job(40, 2), "software", kernels="numpy"))
    assert "ranks 0-79 on n0, n1, n2, n3, n4, n5 and 34 more" in finding.what
    assert len(finding.ranks) == 80


def test_facts_travel_as_plain_values_also_between_versions():
    (one,) = with_gpus(alone())
    plain = one.plain()
    assert from_plain(plain) == one
    plain["mpi"]["new"] = plain["newer"] = 1
    del plain["disk"]["free"]
    assert from_plain(plain) == replace(one, disk=replace(one.disk, free=0))
    assert from_plain({"rank": 2, "host": "n0", "mpi": None}) == Facts(2, "n0")


def test_shared_memory_is_judged_by_what_is_free_for_how_many():
    enough = 3 * 64 * MB + 16 * MB
    assert judge(everywhere(job(1, 2), "machine", shared_free=enough)) == []
    assert judge(everywhere(job(1, 2), "machine", shared_free=enough - 1))
    # Alone: two ranks will be started at least.
    assert judge(everywhere(alone(), "machine", shared_free=enough)) == []
    many = everywhere(job(1, 40), "processor", cores=tuple(range(40)), machine_cores=40, threads=1)
    (finding,) = judge(everywhere(many, "machine", shared_free=GB))
    assert "--shm-size=3g" in finding.cure
