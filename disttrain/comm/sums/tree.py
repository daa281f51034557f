"""The fixed binary tree over the leaves of a global batch, and who adds what in it.

The tree over leaves `low..high-1` has the trees over its first and second half below it; the first
half has the odd leaf. It knows no rank: a rank adds up the largest subtrees whose leaves it has all
of (its *nodes*), and the rest of the tree is completed over the nodes of all ranks.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["TOTAL", "Node", "additions", "folding", "nodes"]

# A subtree, by its range of leaves: the first one, and the one behind the last.
Node = tuple[int, int]
# The row that an addition writes to when it is the last one of the tree.
TOTAL = -1


def nodes(low: int, high: int, leaves: int) -> list[Node]:
    """Return the largest subtrees of the tree over `leaves` within `low..high-1`, in order."""
    found: list[Node] = []

    def visit(node: Node) -> None:
        if low <= node[0] and node[1] <= high:
            found.append(node)
        elif node[0] < high and low < node[1]:
            for half in halves(node):
                visit(half)

    if low < high:
        visit((0, leaves))
    return found


def halves(node: Node) -> tuple[Node, Node]:
    """Return the two subtrees below one of several leaves."""
    low, high = node
    middle = low + (high - low + 1) // 2
    return (low, middle), (middle, high)


def folding(low: int, high: int, leaves: int) -> list[tuple[int, list[tuple[int, int]]]]:
    """Return, for each leaf of a rank's range, its slot and the additions that follow it.

    An addition `(a, b)` is `slot[a] += slot[b]`. In the end the first slots hold the rank's
    `nodes(...)` in their order; those behind them are scratch.
    """
    roots = nodes(low, high, leaves)
    steps: list[tuple[int, list[tuple[int, int]]]] = []

    def visit(node: Node, slot: int, depth: int) -> None:
        if node[1] - node[0] == 1:
            steps.append((slot, []))
            return
        first, second = halves(node)
        visit(first, slot, depth)
        visit(second, len(roots) + depth, depth + 1)
        steps[-1][1].append((slot, len(roots) + depth))

    for number, root in enumerate(roots):
        visit(root, number, 0)
    return steps


def additions(held: Sequence[Sequence[Node]], width: int) -> list[tuple[int, int, int]]:
    """Return the additions `(to, a, b)` that complete the tree over the nodes of all ranks.

    Node number `n` of rank `r` lies in row `r * width + n`. The last addition writes to TOTAL, all
    others to their first operand. Where one rank has the whole tree it is a copy: `(TOTAL, a, a)`.
    """
    rows = {node: r * width + n for r, mine in enumerate(held) for n, node in enumerate(mine)}
    program: list[tuple[int, int, int]] = []

    def visit(node: Node) -> int:
        if node in rows:
            return rows[node]
        a, b = (visit(half) for half in halves(node))
        program.append((a, a, b))
        return a

    root = visit((0, max(node[1] for node in rows)))
    if not program:
        return [(TOTAL, root, root)]
    _, a, b = program.pop()
    return [*program, (TOTAL, a, b)]
