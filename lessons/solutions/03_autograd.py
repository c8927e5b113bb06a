"""Lesson 3, autograd: the solutions. Read them after yours pass the check."""
from collections.abc import Callable
from typing import Any

import numpy as np

from minitorch_alex import Tensor
from minitorch_alex.autograd import Function


def unbroadcast(g: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """3.1: sum the gradient `g` of a broadcast result back to `shape`, the shape its input had
    before.

    Commentary: broadcasting copies, and a value that was used in many copies collects a gradient
    from each of them: the undoing of a copy is a sum. Never a mean, and never one of the copies.
    The trap is the square case: a gradient (3,3) for a bias (3,) has a wrong sum, over the last
    axis, that has the right shape. NumPy lines shapes up at their ends, so the added axes are in
    front. The other trap is keepdims: without it (2,1) comes back as (2,), and the next broadcast
    quietly turns it into something else.
    """
    if g.shape == shape:
        return g
    front = g.ndim - len(shape)
    g = g.sum(axis=tuple(range(front)))
    stretched = tuple(i for i, n in enumerate(shape) if n == 1 and g.shape[i] > 1)
    return g.sum(axis=stretched, keepdims=True)


def count_consumers(root: Function) -> dict[Function, int]:
    """3.2: for root and each node behind it, how many edges lead to it.

    Commentary: a node may speak only when everyone who used its result has spoken, and the count
    says when that is. So each node runs once, however many paths lead to it; nothing recurses and
    nothing is sorted. It is edges that are counted, since each edge brings a gradient: y + y has
    two edges to y. In the walk two habits deserve a look: `flight[source] + g` makes a new array,
    because addition returns one and the same array for both of its inputs and += would change it
    for the other input too; and `flight.pop` forgets a gradient as soon as it is used, so that
    only the gradients under way need memory.
    """
    consumers = {root: 0}
    todo = [root]
    while todo:
        for source, _ in todo.pop().edges:
            if isinstance(source, Function):
                if source not in consumers:
                    consumers[source] = 0
                    todo.append(source)
                consumers[source] += 1
    return consumers


def backward_walk(
    root: Function, gradient: np.ndarray, add_to_leaf: Callable[[Tensor, np.ndarray], None]
) -> None:
    """3.2: send `gradient` back from root to all leaves, running each node once.

    Commentary: the walk and the count above are the whole engine. The package's own adds an error
    for a second backward, and calls node.free() behind the walk, so that the arrays that forward
    saved are released on the way.
    """
    waiting = count_consumers(root)
    flight = {root: gradient}
    ready = [root]
    while ready:
        node = ready.pop()
        grads = node.backward(flight.pop(node))
        grads = grads if isinstance(grads, tuple) else (grads,)
        for (source, shape), g in zip(node.edges, grads):
            if source is None:
                continue
            g = unbroadcast(g, shape)
            if not isinstance(source, Function):
                add_to_leaf(source, g)
                continue
            if source in flight:
                flight[source] = flight[source] + g
            else:
                flight[source] = g
            waiting[source] -= 1
            if waiting[source] == 0:
                ready.append(source)


def depth_first_walk(
    root: Function, gradient: np.ndarray, add_to_leaf: Callable[[Tensor, np.ndarray], None]
) -> None:
    """3.3: as backward_walk, in the order that a depth-first search finds.

    Commentary: a node may be put on the list only after everything behind it: that list has each
    node after its sources, and read from its end each node before them, which means after all its
    consumers. Noting a node on arrival looks like the same thing, and is right on chains and on y
    = y + y, which is what one tries first. It goes wrong as soon as two arms meet in a node: the
    first arm runs through to the end, and what the second brings comes too late. The order of the
    fixed walk is the one that micrograd uses. It is right, and it recurses: on a chain of 1,000
    operations Python stops it (RecursionError), which cannot happen when consumers are counted.
    """
    order: list[Function] = []
    seen = set()

    def visit(node: Function) -> None:
        seen.add(node)
        for source, _ in node.edges:
            if isinstance(source, Function) and source not in seen:
                visit(source)
        order.append(node)

    visit(root)
    flight: dict[Any, np.ndarray] = {root: gradient}
    for node in reversed(order):
        grads = node.backward(flight.pop(node))
        grads = grads if isinstance(grads, tuple) else (grads,)
        for (source, _), g in zip(node.edges, grads):
            if isinstance(source, Function):
                flight[source] = flight[source] + g if source in flight else g
            elif source is not None:
                add_to_leaf(source, g)


def visits(diamonds: int) -> int:
    """3.4: how many calls the recursive walk makes on that many diamonds.

    Commentary: the top node of a diamond is visited once, its two arms once each, and each arm
    walks through all the diamonds behind it again: v(n) = 3 + 2 v(n-1) with v(0) = 0, so v(n) = 3
    (2^n - 1). For 20 diamonds these are 3,145,725 calls, for work that 60 would do. One diamond
    more doubles it. A residual net of 50 blocks is 50 diamonds.
    """
    return 0 if diamonds == 0 else 3 + 2 * visits(diamonds - 1)


# 3.4: v(n) = 3 + 2 v(n-1): a diamond costs its own three nodes, and each of its two arms walks
# through all diamonds behind it again. So v(n) = 3 (2^n - 1): for 20 diamonds 3,145,725 calls, for
# work that 60 would do.
VISITS_OF_20_DIAMONDS = 3_145_725
