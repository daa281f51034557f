"""Trainings in the shared folder of the nodes, and what they have come to."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from typing import Any

from tests.cluster.docker.card import Failed, expect
from tests.cluster.docker.nodes import Nodes, wait_for

__all__ = ["Launched", "Training"]

RUN_FILE = """
[data]
path = "data/digits.h5"
[model]
layers = [{ units = 32, activation = "tanh" }, { units = 10 }]
[training]
batch_size = 64
[checkpoint]
every_epochs = 2
[communication]
deadline_seconds = 8
[reproducibility]
mode = "exact"
"""
SHORT, LONG = 4, 40


class Launched:
    """A training on its way on a node, started by `command`."""

    def __init__(self, process: subprocess.Popen[str], command: Sequence[str]) -> None:
        self._process, self._command = process, command
        self.out, self.err = "", ""

    def finish(self, code: int | None = 0) -> Launched:
        """Wait for its end. Raises Failed where it does not end with `code`; None takes any."""
        try:
            out, err = self._process.communicate()
            # MPI ends some of its texts with a zero byte instead of the end of a line.
            self.out, self.err = out, err.replace("\0", "\n")
        finally:
            self._process.kill()
        expect("Traceback" not in self.err, f"a traceback:\n{self.err}")
        found = self._process.returncode
        expect(code in (None, found), f"ended with {found}, not {code}:\n{self.out}\n{self.err}")
        return self

    def said(self, words: str) -> str:
        """Return the first line of disttrain's on standard error that has `words`, or raise."""
        for line in self.err.splitlines():
            _, ours, sentence = line.partition("disttrain: ")
            if ours and words in sentence:
                return sentence
        raise Failed(f"nobody said {words!r}:\n{self.err}")


class Training:
    """Trainings of one run file, of which only the length, the ranks and the folder differ."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes
        self._digests: dict[int, str] = {}

    def prepare(self) -> None:
        """Write the run file and the data, where all nodes see them."""
        self.nodes.run("head", "disttrain", "prepare", "digits", "data/digits.h5")
        self.nodes.run("head", "sh", "-c", "cat > run.toml", given=RUN_FILE)

    def start(
        self,
        output: str,
        *launch: str,
        epochs: int = SHORT,
        node: str = "head",
        before: Sequence[str] = ("disttrain", "launch"),
        resume: bool = False,
    ) -> Launched:
        """Start `before launch train run.toml` with its folder, on a node."""
        train = ["train", "run.toml", "--output", output, "--set", f"training.epochs={epochs}"]
        command = [*before, *launch, *train, *(["--resume"] if resume else [])]
        return Launched(self.nodes.start(node, command), command)

    def under_way(self, output: str) -> None:
        """Wait until a run has saved, and is far from its end."""
        count = f"ls {output}/checkpoints/step-*.h5 2>/dev/null | wc -l"

        def saved() -> bool:
            return int(self.nodes.run("head", "sh", "-c", count).stdout) >= 2

        expect(wait_for(saved, 40), f"{output} never saved")
        over = self.nodes.run("head", "test", "-e", f"{output}/summary.json", check=False)
        expect(over.returncode != 0, f"{output} was over before anything could happen to it")

    def summary(self, output: str) -> dict[str, Any]:
        """Return what `summary.json` says."""
        said = self.nodes.run("head", "cat", f"{output}/summary.json").stdout
        return json.loads(said)  # type: ignore[no-any-return]

    def digest(self, epochs: int) -> str:
        """Return the digest of the training on one rank of one node, undisturbed."""
        if epochs not in self._digests:
            output = f"alone-{epochs}"
            self.start(output, before=["disttrain"], epochs=epochs).finish()
            self._digests[epochs] = self.summary(output)["digest"]
        return self._digests[epochs]

    def check(self, output: str, hosts: Sequence[str], epochs: int = SHORT) -> None:
        """A run was completed on these hosts, with the digest of one rank; nothing is left."""
        summary = self.summary(output)
        expect(summary["status"] == "completed", f"{output}: {summary['status']}")
        found = summary["environment"]["hosts"]
        expect(sorted(found) == sorted(hosts), f"{output} ended on {found}, not on {hosts}")
        expect(summary["digest"] == self.digest(epochs), f"{output} has another digest")
        left = self.nodes.are_clean()
        expect(not left, left)
