"""Runs the fuzz: see the package's own text."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

from tests.fuzz.kinds import KINDS, Kind, make_base
from tests.fuzz.trial import Outcome, run, warm

WORKERS = 2


def main() -> None:
    """Make the whole inputs, then break them until the time is over; print a table."""
    parser = argparse.ArgumentParser(description="a fuzz of all that disttrain reads")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--only", choices=[kind.name for kind in KINDS])
    parser.add_argument("--number", type=int, help="of the one case to do, with --only")
    parser.add_argument("--keep", type=Path, help="a folder for the inputs of cases that fail")
    given = parser.parse_args()
    kinds = [kind for kind in KINDS if given.only in (None, kind.name)]
    warm()
    with tempfile.TemporaryDirectory(prefix="disttrain-fuzz-") as temporary:
        base = make_base(Path(temporary) / "base")
        if given.number is not None:
            sys.exit(_one(kinds[0], given.seed, given.number, base, Path(temporary)))
        end = time.monotonic() + given.seconds
        pids = []
        for worker in range(WORKERS):
            pids.append(os.fork())
            if not pids[-1]:
                _work(worker, kinds, given, base, Path(temporary), end)
        for pid in pids:
            os.waitpid(pid, 0)
        sys.exit(_tell(kinds, given, Path(temporary)))


def _one(kind: Kind, seed: int, number: int, base: Path, temporary: Path) -> int:
    """Do one case and print all about it."""
    argv, outcome, broken = _try(kind, seed, number, base, temporary / "one")
    print("disttrain", *argv)
    print(outcome.out, outcome.err, f"exit code {outcome.code}", *broken, sep="\n")
    return bool(broken)


def _try(
    kind: Kind, seed: int, number: int, base: Path, folder: Path
) -> tuple[list[str], Outcome, list[str]]:
    """Make case `number` in `folder` and run it; return its command, outcome and broken rules."""
    folder.mkdir()
    case = kind.make(Random(f"{seed} {kind.name} {number}"), base, folder)
    outcome = run(case.argv, folder)
    broken = outcome.broken_rules()
    if not broken:
        wrong = case.judge(outcome)
        broken += [wrong] if wrong else []
    return case.argv, outcome, broken


def _work(
    worker: int, kinds: list[Kind], given: argparse.Namespace, base: Path, temporary: Path,
    end: float,
) -> None:  # fmt: skip
    """Do every second case, kind after kind, and write down what became of each."""
    code, number = 0, worker
    with (temporary / f"found-{worker}").open("w") as found:
        while time.monotonic() < end:
            for kind in kinds:
                if number % kind.every or time.monotonic() > end:
                    continue
                folder = temporary / f"{kind.name}-{number}"
                argv, outcome, broken = _try(kind, given.seed, number, base, folder)
                line = {"kind": kind.name, "number": number, "code": outcome.code}
                if broken:
                    line |= {
                        "argv": argv,
                        "broken": broken,
                        "text": (outcome.out + outcome.err)[-1500:],
                    }
                    if given.keep:
                        shutil.copytree(
                            folder,
                            given.keep / folder.name,
                            symlinks=True,
                            ignore=lambda at, names: [
                                n
                                for n in names
                                if not (Path(at) / n).is_file() and not (Path(at) / n).is_dir()
                            ],
                        )
                print(json.dumps(line), file=found, flush=True)
                shutil.rmtree(folder, ignore_errors=True)
            number += WORKERS
    os._exit(code)


def _tell(kinds: list[Kind], given: argparse.Namespace, temporary: Path) -> int:
    """Print a table of outcomes and every case that broke a rule; return the exit code."""
    files = sorted(temporary.glob("found-*"))
    cases = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    bad = [case for case in cases if "broken" in case]
    print(f"fuzz, seed {given.seed}: {len(cases)} cases")
    missing = 0
    for kind in kinds:
        codes = Counter(case["code"] for case in cases if case["kind"] == kind.name)
        missing += not codes
        said = ", ".join(f"code {code}: {count}" for code, count in sorted(codes.items()))
        print(f"  {kind.name:<20} {sum(codes.values()):6}   {said}")
    for case in bad:
        print(
            f"\n--seed {given.seed} --only '{case['kind']}' --number {case['number']}: "
            f"{', '.join(case['broken'])}"
        )
        print(f"disttrain {' '.join(case['argv'])}\n{case['text']}")
    print(
        f"\n{len(cases) - len(bad)} passed, {len(bad)} failed"
        + ", some kinds had no case" * bool(missing)
    )
    return 1 if bad or missing else 0


if __name__ == "__main__":
    main()
