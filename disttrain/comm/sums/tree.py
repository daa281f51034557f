"""The fixed binary tree over the leaves of a global batch, and which rank adds what in it.

The tree over leaves `low..high-1` has two subtrees: over its first half, which has one leaf more
where their number is odd, and over its second half. It does not depend on the ranks: a rank adds up
the largest subtrees of which it has all leaves; then the rest of the tree is added up.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["TOTAL", "Subtree", "additions", "folding", "subtrees"]

# A subtree, by its range of leaves: the first one, and the one behind the last.
Subtree = tuple[int, int]
# The row that an addition writes to when it is the last one of the tree.
TOTAL = -1
# Elements that a rank adds at once, of all messages: they stay in the cache.
CHUNK = 1 << 15


def subtrees(low: int, high: int, leaves: int) -> list[Subtree]:
    """Return the largest subtrees of the tree over `leaves` within `low..high-1`, in order."""
    found: list[Subtree] = []

    def visit(subtree: Subtree) -> None:
        if low <= subtree[0] and subtree[1] <= high:
            found.append(subtree)
        elif subtree[0] < high and low < subtree[1]:
            for half in halves(subtree):
                visit(half)

    if low < high:
        visit((0, leaves))
    return found


def halves(subtree: Subtree) -> tuple[Subtree, Subtree]:
    """Return the two subtrees below one of several leaves."""
    low, high = subtree
    middle = low + (high - low + 1) // 2
    return (low, middle), (middle, high)


def folding(
    low: int, high: int, leaves: int, apart: bool = False
) -> list[tuple[int, list[tuple[int, int]]]]:
    """Return, for each leaf of a rank's range, its slot and the additions that follow it.

    An addition `(a, b)` is `slot[a] += slot[b]`. In the end the first slots hold the rank's
    `subtrees(...)` in their order; those behind them are scratch, used again and again, or with
    `apart` each by one leaf.
    """
    roots = subtrees(low, high, leaves)
    steps: list[tuple[int, list[tuple[int, int]]]] = []

    def visit(subtree: Subtree, slot: int, depth: int) -> None:
        if subtree[1] - subtree[0] == 1:
            steps.append((slot, []))
            return
        first, second = halves(subtree)
        visit(first, slot, depth)
        other = len(roots) + (len(steps) if apart else depth)
        visit(second, other, depth + 1)
        steps[-1][1].append((slot, other))

    for number, root in enumerate(roots):
        visit(root, number, 0)
    return steps


def additions(held: Sequence[Sequence[Subtree]], width: int) -> list[tuple[int, int, int]]:
    """Return the additions `(to, a, b)` that complete the tree over the subtrees of all ranks.

    Subtree number `n` of rank `r` lies in row `r * width + n`. The last addition writes to TOTAL,
    all others to their first operand. Where one rank has the whole tree it is a copy,
    `(TOTAL, a, a)`.
    """
    rows = {subtree: r * width + n for r, mine in enumerate(held) for n, subtree in enumerate(mine)}
    program: list[tuple[int, int, int]] = []

    def visit(subtree: Subtree) -> int:
        if subtree in rows:
            return rows[subtree]
        a, b = (visit(half) for half in halves(subtree))
        program.append((a, a, b))
        return a

    root = visit((0, max(subtree[1] for subtree in rows)))
    if not program:
        return [(TOTAL, root, root)]
    _, a, b = program.pop()
    return [*program, (TOTAL, a, b)]
