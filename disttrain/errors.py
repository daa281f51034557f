"""Every exception that disttrain raises on purpose, and the exit code each one ends a command with.

DisttrainError            1   anything below; on its own: an unexpected error
├── UsageError            2   a command, a run file or a launcher that can't work as given
│   ├── RunFileError      2   the run file: a key, a type, a value, a network that does not fit
│   ├── DeviceError       2   a GPU was asked for and none can be used
│   └── LauncherError     2   N processes that each believe to be alone
├── DataError             3   a data file that is missing or bad
├── CheckpointError       3   a checkpoint or run folder is missing, unreadable or another one
│   └── DamagedCheckpoint 3   proven: its bytes are not those that were written
├── Divergence            4   the loss is no longer finite
├── LostRanks             5   a rank died, or was stuck past its deadline
├── Corruption            5   a replica is wrong, or an epoch did not use each sample once
├── Preempted            75   asked to stop: the state is saved, queue the run again
└── RankFailure           *   one rank failed, so all do; the code is that of the cause
"""

from __future__ import annotations

from collections.abc import Sequence

from disttrain.shown import shown

__all__ = [
    "CheckpointError",
    "Corruption",
    "DamagedCheckpoint",
    "DataError",
    "DeviceError",
    "DisttrainError",
    "Divergence",
    "LauncherError",
    "LostRanks",
    "Preempted",
    "RankFailure",
    "RunFileError",
    "UsageError",
    "exit_code_of",
    "failure_noted",
    "raised_everywhere",
    "remember_failure",
    "sentence_of",
]


class DisttrainError(Exception):
    """Base of all errors raised on purpose: one sentence that says what, where and what to do.

    What it quotes of files and names is escaped, and cut where it is long.
    """

    exit_code = 1

    def __init__(self, sentence: str = "") -> None:
        super().__init__(shown(sentence))


class UsageError(DisttrainError):
    """The command, the run file or the way it was started can't work as given."""

    exit_code = 2


class RunFileError(UsageError):
    """A key of the run file is unknown, of the wrong type, or does not fit the data."""


class DeviceError(UsageError):
    """A GPU was asked for and none can be used."""


class LauncherError(UsageError):
    """The launcher started several processes, but MPI shows each a world of another size."""


class DataError(DisttrainError):
    """A data file is missing, damaged, or not what its format says."""

    exit_code = 3


class CheckpointError(DisttrainError):
    """A checkpoint, or the run folder around it, is missing, can't be read, or does not fit."""

    exit_code = 3


class DamagedCheckpoint(CheckpointError):
    """A checkpoint was read, and its bytes are proven not to be those that were written.

    What can't be read (permission, memory, a failing disk, another version) is no damage: it may be
    whole. Only a checkpoint with this error may be put aside.
    """


class Divergence(DisttrainError):
    """The summed loss of a global batch is not a finite number."""

    exit_code = 4


class LostRanks(DisttrainError):
    """A rank died, or did not arrive before its deadline."""

    exit_code = 5


class Corruption(DisttrainError):
    """A replica differs from the others, or an epoch did not use each sample once.

    Raised on all ranks alike. Where replicas differ, nothing of it was saved: the newest checkpoint
    is good. Of an epoch that is wrong, parts may have been saved: go on from before it.
    """

    exit_code = 5


class Preempted(DisttrainError):
    """The run was asked to stop; its state is saved and `--resume` goes on from it."""

    exit_code = 75


class Dismissed(BaseException):
    """This rank was a spare, the training is over, and it was not needed."""


class RankFailure(DisttrainError):
    """A failure on one rank, raised on every rank with the same text.

    `rank` and `phase` say where it happened, `cause` is the text of the original error, and
    `exit_code` is the original's: 1 for an unexpected exception. `details` is the traceback of an
    unexpected one, else empty. `others` are the further ranks that failed; where all ranks found
    the same mistake of the user's, or rank 0 in what it does for all (`common`), the text is the
    cause alone. `group` names the group
    of ranks in which `rank` counts, where it is not the whole job.
    """

    def __init__(
        self,
        rank: int,
        phase: str,
        cause: str,
        code: int,
        details: str = "",
        others: Sequence[int] = (),
        common: bool = False,
        group: str = "",
    ) -> None:
        also = f" (also on ranks {', '.join(map(str, others))})" if others else ""
        who = f"rank {rank} of {group}" if group else f"rank {rank}"
        super().__init__(cause if common else f"{who} failed in {phase}: {cause}{also}")
        self.rank = rank
        self.phase = phase
        self.cause = shown(cause)
        self.exit_code = code
        self.details = details


def exit_code_of(error: BaseException) -> int:
    """Return the documented exit code for `error`.

    An error of this tree has its own, a rank that left by `sys.exit` is a lost rank (5), and
    everything else, KeyboardInterrupt too, is an unexpected exception (1).
    """
    if isinstance(error, DisttrainError):
        return error.exit_code
    if failure := failure_noted(error):
        return failure.exit_code
    return LostRanks.exit_code if isinstance(error, SystemExit) else DisttrainError.exit_code


def sentence_of(error: BaseException) -> str:
    """Return `error` in one line, as messages and summaries show it."""
    if isinstance(error, DisttrainError):
        return str(error)
    if isinstance(error, SystemExit):
        return f"ended by sys.exit({error.code!r}); --resume goes on"
    return shown(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


# The attribute of an exception that ended one rank, while the others raise the RankFailure in it.
_NOTED = "_disttrain_failure"


def remember_failure(error: BaseException, failure: RankFailure) -> None:
    """Note in `error`, which one rank raises, the failure that the other ranks raise instead."""
    setattr(error, _NOTED, failure)


def failure_noted(error: BaseException) -> RankFailure | None:
    """Return the failure that `remember_failure` noted; None: the other ranks raise nothing."""
    failure = getattr(error, _NOTED, None)
    return failure if isinstance(failure, RankFailure) else None


def raised_everywhere(error: BaseException) -> bool:
    """Return True where every rank of the communicator raises too, so that all end by themselves.

    Any other exception is of one rank alone, and the others wait for that rank.
    """
    collective = isinstance(error, RankFailure | Corruption | Divergence | Preempted)
    return collective or failure_noted(error) is not None
