"""Meetings: before a collective call of a user's program begins, each rank says which one it makes.

A rank that makes another call than the others, or none, would leave them waiting for each other.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mpi4py import MPI

from disttrain.comm.board import LEFT, note_wait, said_of, text_of
from disttrain.comm.calls import MEETS, SEPARATOR, Call
from disttrain.comm.watch import Watch
from disttrain.environment import seconds_in
from disttrain.errors import DisttrainError, LauncherError, LostRanks, UsageError, note_speaker
from disttrain.stopped import is_gone, is_stopped

__all__ = ["Meeting"]

# Seconds after which a rank that waits says for whom; 0 is never.
VARIABLE, USUAL = "DISTTRAIN_NOTICE_SECONDS", 10.0
# Tags of the messages to rank 0 and from it, and the bytes of the longest.
CALLS, ANSWERS, MOST = 71, 72, 8192
# Seconds that a rank leaves to rank 0 to speak first; between two looks on the board; the longest
# between two looks for messages, and how long they come without one.
FIRST_WORD, AGAIN, PAUSE, SPIN = 1.0, 1.0, 0.01, 0.0005
SAME = "every rank must give the same arguments"
RULE = "every rank must make the same calls in the same order, outside of `if comm.is_root:`"


class Meeting:
    """Where the ranks of `comm` meet before each call: rank 0 hears of all and answers.

    A meeting has a number, the same on all ranks, so that what was sent for an earlier one, which
    ended by an error before all had come, is told apart. `names` are the ranks' numbers in the job.
    """

    def __init__(self, comm: MPI.Comm, watch: Watch, names: Sequence[int]) -> None:
        self.comm, self._watch, self._names, self.number = comm, watch, names, 0
        self._awaited: dict[int, tuple[MPI.Request, bytearray]] = {}
        self._gone: dict[int, Call] = {}
        self._sent: list[tuple[MPI.Request, bytes]] = []
        # Where the ranks took different lines for the first time.
        self._parted = ""
        self._over = ""

    def meet(self, call: Call) -> int:
        """Return the number of this meeting when all ranks have come for the same call.

        Raises UsageError where some came for another one, LostRanks where one has left its
        program; on all ranks that came.
        """
        self.number += 1
        if self._over:
            raise LostRanks(self._over)
        call = call._replace(number=self.number)
        error = self._lead(call) if self.comm.rank == 0 else self._follow(call)
        note_wait(0, self._watch)
        if error:
            self._over = str(error) if isinstance(error, LostRanks) else ""
            raise error
        return self.number

    def _lead(self, mine: Call) -> DisttrainError | None:
        """Wait for all ranks, as rank 0, and tell them how it ends."""
        came, notice, spoken = {0: mine} | self._gone, _seconds(), False
        patience = USUAL if notice == math.inf else notice
        for waited in _looks():
            self._receive(came)
            alike = all(call.is_as(mine) for call in came.values())
            if len(came) == self.comm.size or (not alike and waited > patience):
                break
            if mine.name != LEFT and waited > notice:
                if error := self._gone_for_good(came):
                    kind = "left" if isinstance(error, LostRanks) else "apart"
                    self._tell(range(self.comm.size), kind, str(error))
                    return error
                if not spoken:
                    self._tell(came, "waits")
                    self._speak(came, waited)
                notice, spoken = waited + AGAIN, True
        if alike:
            self._note_parting(came)
            self._tell(came, "begins")
            return None
        self._gone |= {rank: call for rank, call in came.items() if call.name == LEFT}
        first = min((r for r, call in came.items() if call.name != LEFT), default=0)
        kind, sentence = "left" if self._gone else "apart", self._sentence(came)
        self._tell(range(self.comm.size), kind, sentence, first)
        return _error(kind, sentence, first == 0)

    def _follow(self, mine: Call) -> DisttrainError | None:
        """Tell rank 0 which call this is, and wait for its answer."""
        self._send(0, CALLS, mine)
        notice, spoken = _seconds() + FIRST_WORD, mine.name == LEFT
        while True:
            buffer = bytearray(MOST)
            request, status = self.comm.Irecv([buffer, MPI.BYTE], 0, ANSWERS), MPI.Status()
            for waited in _looks():
                if request.Test(status):
                    break
                if mine.name != LEFT and waited > notice:
                    came = {self.comm.rank: mine}
                    if error := self._gone_for_good(came):
                        return error
                    if not spoken and not self._another_speaks():
                        self._speak(came, waited)
                    notice, spoken = waited + AGAIN, True
            number, kind, text, first = json.loads(buffer[: status.Get_count(MPI.BYTE)])
            if kind == "waits":
                spoken = True
            elif number == self.number:
                return _error(kind, text, first == self.comm.rank) if kind != "begins" else None

    def _receive(self, came: dict[int, Call]) -> None:
        """Add the ranks that have come meanwhile."""
        for rank in set(range(self.comm.size)) - set(came):
            if rank not in self._awaited:
                buffer = bytearray(MOST)
                request = self.comm.Irecv([buffer, MPI.BYTE], rank, CALLS)
                self._awaited[rank] = request, buffer
            (request, buffer), status = self._awaited[rank], MPI.Status()
            if request.Test(status):
                del self._awaited[rank]
                call = Call(*json.loads(buffer[: status.Get_count(MPI.BYTE)]))
                if call.number == self.number or call.name == LEFT:
                    came[rank] = call

    def _send(self, rank: int, tag: int, what: object) -> None:
        message = json.dumps(what).encode()
        self._sent = [sent for sent in self._sent if not sent[0].Test()]
        self._sent.append((self.comm.Isend([message, MPI.BYTE], rank, tag), message))

    def _tell(self, ranks: Iterable[int], kind: str, text: str = "", first: int = 0) -> None:
        """Send an answer to these ranks."""
        for rank in set(ranks) - {0}:
            self._send(rank, ANSWERS, (self.number, kind, text, first))

    def _rows(self) -> dict[int, Any]:
        return {int(row["rank"]): row for row in self._watch.board}

    def _gone_for_good(self, came: dict[int, Call]) -> DisttrainError | None:
        """Return the error for a rank of this node that ended, or left by another communicator."""
        rows = self._rows()
        for rank, row in rows.items():
            if rank not in came and (row["call"] == LEFT.encode() or is_gone(int(row["pid"]))):
                first = min(set(came) | set(rows) - {rank}) == self.comm.rank
                return _error("left", self._sentence(came), first)
        awaited = [0] if self.comm.rank else sorted(set(rows) - set(came))
        pids = [int(rows[rank]["pid"]) for rank in awaited if rank in rows]
        note_wait(pids[0] if pids else 0, self._watch)
        for pid in pids:
            if self._is_awaited_by(pid):
                sentence = self._sentence(came)
                # The others of the circle shall see this wait too.
                time.sleep(2 * AGAIN)
                return _error("apart", sentence, speaks=True)
        return None

    def _is_awaited_by(self, pid: int) -> bool:
        """Return True where that process waits for this one, or for one that does, elsewhere."""
        waits, seen = {int(row["pid"]): int(row["waits"]) for row in self._watch.board}, set[int]()
        while pid in waits and pid not in seen:
            seen.add(pid)
            pid = waits[pid]
            if pid == os.getpid():
                return True
        return False

    def _another_speaks(self) -> bool:
        """Return True where rank 0, or a lower rank of this node, waits as this one does."""
        return any(
            rank < self.comm.rank and row["phase"].decode().startswith(MEETS)
            for rank, row in self._rows().items()
        )

    def _speak(self, came: dict[int, Call], waited: float) -> None:
        """Say on standard error for whom this rank waits."""
        mine, limit = came[self.comm.rank], self._watch.seconds
        until = f"; the job ends after {limit:g} s" if limit else ""
        me = self._names[self.comm.rank]
        sentence = (
            f"rank {me} has waited {waited:.0f} s in {mine.name} for ranks that did "
            f"not call it: {self._texts(came)}; if they are at work, all is well{until}; {RULE}"
        )
        print(f"disttrain: {sentence}", file=sys.stderr, flush=True)

    def _sentence(self, came: dict[int, Call]) -> str:
        """Return who made which call."""
        names = {call.name for call in came.values()}
        rule = SAME if len(names) == 1 and len(came) == self.comm.size else RULE
        return f"the ranks did not make the same call: {self._texts(came)}{self._parted}; {rule}"

    def _texts(self, came: dict[int, Call]) -> str:
        """Return what each rank does, as far as it is known here."""
        texts, rows = [], self._rows()
        for rank in range(self.comm.size):
            if rank in came:
                text = _how(came[rank], list(came.values()))
            elif rank not in rows:
                text = "not heard of, on another host"
            elif is_stopped(int(rows[rank]["pid"])):
                text = f"stopped by a signal (process {int(rows[rank]['pid'])})"
            else:
                text = text_of(rows[rank])
                text += ", on another communicator" if rows[rank]["waits"] else ""
            texts.append((self._names[rank], text))
        return said_of(texts)

    def _note_parting(self, came: dict[int, Call]) -> None:
        """Remember where the same call stood at different lines for the first time."""
        if not self._parted and len({call.place for call in came.values()}) > 1:
            found = said_of([(self._names[rank], str(call)) for rank, call in sorted(came.items())])
            self._parted = f" (first at different lines: {found})"


def _seconds() -> float:
    """Return after how many seconds a rank that waits speaks; infinity: never."""
    try:
        return seconds_in(VARIABLE, USUAL)
    except LauncherError:
        return USUAL


def _looks() -> Iterator[float]:
    """Yield the seconds that have gone, with pauses that grow with them in between."""
    begin = time.monotonic()
    while True:
        waited = time.monotonic() - begin
        yield waited
        # On a busy machine a process that yields its core gets it back after milliseconds.
        if waited > SPIN:
            time.sleep(min(PAUSE, waited / 20))


def _how(call: Call, calls: list[Call]) -> str:
    """Return a call as text, with what tells it from other ones of its name."""
    same = [other for other in calls if other.name == call.name]
    parts = [other.how.split(SEPARATOR) for other in same]
    own = [p for p in call.how.split(SEPARATOR) if p and not all(p in other for other in parts)]
    if not own and not call.is_as(same[0]):
        own = ["with other values"]
    return f"{call} ({', '.join(own)})" if own else str(call)


def _error(kind: str, sentence: str, speaks: bool) -> DisttrainError:
    """Return the error that all ranks raise which came; one of them says it where none catches."""
    error = LostRanks(sentence) if kind == "left" else UsageError(sentence)
    note_speaker(error, speaks)
    return error
