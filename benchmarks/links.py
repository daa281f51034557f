"""What `disttrain bench scaling` predicts, beside steps measured on links of known bandwidth.

    python benchmarks/links.py [RUN.toml] [--hosts 3] [--rates 1gbit,100mbit] [--set KEY=VALUE]...

Hosts are network namespaces on this machine (tests/cluster/hosts.py), which share its cores; their
links are shaped by `tc tbf` both ways. Needs root or user namespaces. For each rate and number of
ranks: the step, the prediction and its error, and the step over compute + 1.15 x the bound of an
allreduce, 2(N-1)/N x bytes / rate.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from worker import machine

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.cluster.hosts import Cluster, why_not

UNITS = {"gbit": 1e9 / 8, "mbit": 1e6 / 8}
ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
HEADS = "{:>9} {:>5} {:>9} {:>9} {:>9} {:>9} {:>7} {:>9}"


def main() -> None:
    """Measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("run_file", nargs="?")
    parser.add_argument("--hosts", type=int, default=3)
    parser.add_argument("--rates", default="1gbit,100mbit")
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    if why := why_not():
        raise SystemExit(f"no hosts can be made here: {why}")
    print(machine())
    print(
        HEADS.format("link", "ranks", "compute", "bound", "step", "predicted", "error", "of 1.15")
    )
    with tempfile.TemporaryDirectory() as name, Cluster(options.hosts, Path(name)) as cluster:
        for rate in options.rates.split(","):
            cluster.shape(rate)
            found = scaled(cluster, options)
            for line in lines(rate, found):
                print(line, flush=True)


def scaled(cluster: Cluster, options: Any) -> dict[str, Any]:
    """Return what `bench scaling --json` prints on the first host."""
    launching = f"--hosts {','.join(cluster.hosts)} --agent '{cluster.agent}'"
    counts = ",".join(map(str, range(1, options.hosts + 1)))
    command = [sys.executable, "-m", "disttrain", "bench", "scaling", "-n", counts, "--quick",
               "--json", "--launch", launching]  # fmt: skip
    command += [options.run_file] if options.run_file else []
    command += [word for one in options.set for word in ("--set", one)]
    done = cluster.run("n0", command, timeout=300, env=ROOT | {"OMP_NUM_THREADS": "1"})
    if done.returncode:
        raise SystemExit(f"bench scaling ended with {done.returncode}:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def lines(rate: str, found: dict[str, Any]) -> list[str]:
    """Return a line for each number of ranks."""
    number, unit = rate[:-4], rate[-4:]
    bandwidth, made = float(number) * UNITS[unit], []
    predicted = {one["ranks"]: one["seconds"] for one in found["predicted"]}
    for one in found["measured"]:
        ranks, step, compute = one["ranks"], one["step"], one["compute"]
        bound = 2 * (ranks - 1) / ranks * found["machine"]["message"] / bandwidth
        said = predicted[ranks]
        cells = (f"{1e3 * x:.1f}" for x in (compute, bound, step, said))
        allowed = step / (compute + 1.15 * bound)
        made.append(HEADS.format(rate, ranks, *cells, f"{said / step - 1:+.0%}", f"{allowed:.2f}"))
    return made


if __name__ == "__main__":
    main()
