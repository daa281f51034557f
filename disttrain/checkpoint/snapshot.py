"""What a checkpoint holds, as plain data that does not depend on the number of ranks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from disttrain.checkpoint.digest import digest
from disttrain.checkpoint.state import State
from disttrain.config import Settings, parse
from disttrain.errors import CheckpointError, RunFileError

__all__ = ["Snapshot"]


@dataclass
class Snapshot:
    """The whole state of a run after `step` updates.

    `parameters` maps "layer/parameter" to host arrays, in layer order, and `slots` the name of each
    state vector of the optimizer to the same; `average` is the running average of the parameters,
    empty where none is kept; `run_file` is the resolved run file (TOML);
    `normalization` holds `kind`, `divisor`, `mean`, `deviation`; `progress` is how far the run is,
    `state` other facts as JSON values: about the data, the loss, the arithmetic.
    """

    step: int
    epoch: float
    run_file: str
    parameters: dict[str, np.ndarray]
    slots: dict[str, dict[str, np.ndarray]]
    normalization: dict[str, Any]
    state: dict[str, Any] = field(default_factory=dict)
    progress: State = field(default_factory=State)
    average: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 over parameters, slots and step."""
        return digest(self.parameters, self.slots, self.step)

    def settings(self, source: object) -> Settings:
        """Return the run file's settings; raise CheckpointError where this program can't read it.

        `source` names the checkpoint in the error.
        """
        try:
            return parse(self.run_file, source="its run file")
        except RunFileError as error:
            raise CheckpointError(
                f"checkpoint {source} can't be used here ({error}): use the disttrain that wrote it"
            ) from None

    def refuse_other_count(self, count: int, source: object) -> None:
        """Raise CheckpointError where there are not `count` parameters; `source` names the file."""
        held = sum(tensor.size for tensor in self.parameters.values())
        if held != count:
            raise CheckpointError(
                f"{source} belongs to another network than its run file describes: it holds {held} "
                f"parameters, not {count}"
            )
