"""Lesson 3, autograd: the exercises.

    python -m minitorch_alex.check 03            are they right?
    python -m minitorch_alex.check 3.1 --hint    a nudge

3.1 and 3.2 become the engine of your own AlexNet in lesson 09. Use NumPy and what is imported
here; of course minitorch_alex/autograd.py contains an answer, but it is more rewarding to read it
after yours passes.

The graph, as the package builds it: a node is a Function, one operation that has run. It offers

    node.edges         a tuple with one pair (source, shape) per input of the operation, in order.
                       source is one of three: the Function that made this input; or a Tensor, a
                       leaf that needs its gradient; or None, when the gradient of this input is
                       not needed. shape is the input's shape.
    node.backward(g)   g is the gradient of the node's result. Returns the gradients of its inputs:
                       one array if there is one input, otherwise a tuple with one per input. One
                       of them may be None where source is None.

For example, with x = Tensor(np.array([3.0]), requires_grad=True), a = x * x and y = a + a:

    y.creator                            a node of the kind Add
    y.creator.edges                      ((m, (1,)), (m, (1,))), m = a.creator, of the kind Mul
    m.edges                              ((x, (1,)), (x, (1,)))
    y.creator.backward(np.array([1.0]))  (array([1.]), array([1.]))
"""
from collections.abc import Callable
from typing import Any

import numpy as np

from minitorch_alex import Tensor
from minitorch_alex.autograd import Function


def unbroadcast(g: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """3.1: sum the gradient `g` of a broadcast result back to `shape`, the shape its input had
    before.

    NumPy broadcasts an input in two ways. It puts new axes in front: (3,) becomes (1,3). And it
    stretches axes of length 1: (1,3) becomes (2,3), the one row copied. Sum g over the axes that
    were put in front (they go away), and over those that were stretched (they stay, with length
    1). The result has the shape `shape`; where nothing was broadcast it is g. `shape` may be ().

        g = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
        unbroadcast(g, (3,))      array([5., 7., 9.])
        unbroadcast(g, (2, 1))    array([[ 6.], [15.]])
        unbroadcast(g, ())        array(21.)
    """
    raise NotImplementedError("exercise 3.1: unbroadcast")


def count_consumers(root: Function) -> dict[Function, int]:
    """3.2, first half: for root and each node behind it, how many edges lead to it.

    The keys are root and every Function that can be reached from it through edges; leaves and None
    do not count. The value is the number of edges (not of nodes!) that lead to it, from root or
    from a node behind root: 0 for root itself. In the example above: {y.creator: 0, a.creator: 2}.
    Visit each node once, with a list of the nodes still to visit, so that neither 60 diamonds nor
    a chain of 5,000 nodes is a problem.
    """
    raise NotImplementedError("exercise 3.2: count_consumers")


def backward_walk(
    root: Function, gradient: np.ndarray, add_to_leaf: Callable[[Tensor, np.ndarray], None]
) -> None:
    """3.2, second half: send `gradient` back from root to all leaves.

    `gradient` is the gradient of root's result. A node's complete gradient is the sum of the
    gradients that all edges leading to it have brought. Call node.backward once for each node,
    with its complete gradient; bring each of the results to its source: undo the broadcast
    (unbroadcast to the edge's shape), then call add_to_leaf(leaf, g) if the source is a Tensor;
    keep it, added to what came before, if it is a node.

    A node is ready when everyone who used its result has spoken: when as many gradients have come
    as count_consumers says. No recursion. And no in-place change (+=) of any array that you were
    given: `gradient` is the caller's, and node.backward may give the same array for two inputs. In
    the example above, with gradient [1.]: the Add sends [1.] twice, the Mul runs once with [2.],
    and add_to_leaf(x, [6.]) is called twice. Nothing is returned.
    """
    raise NotImplementedError("exercise 3.2: backward_walk")


def depth_first_walk(
    root: Function, gradient: np.ndarray, add_to_leaf: Callable[[Tensor, np.ndarray], None]
) -> None:
    """3.3: find the bug and fix it. It should do what backward_walk does, and also run each node
    once with its complete gradient; but it finds the order first, by a depth-first search, and
    then walks through it.

    It is right on chains and on y = y + y, sixty times over, and it is wrong on others: draw a
    diamond on paper that begins at a node, not at a leaf; number its nodes in the order in which
    visit notes them, and see who speaks too early. The fix is two lines, one that is in the wrong
    place and one that follows from it; keep the search. Broadcasting does not occur here, and
    recursion is fine: the graphs are small enough.
    """
    order: list[Function] = []
    seen = set()

    def visit(node: Function) -> None:
        seen.add(node)
        order.append(node)
        for source, _ in node.edges:
            if isinstance(source, Function) and source not in seen:
                visit(source)

    visit(root)
    flight: dict[Any, np.ndarray] = {root: gradient}
    for node in order:
        grads = node.backward(flight.pop(node))
        grads = grads if isinstance(grads, tuple) else (grads,)
        for (source, _), g in zip(node.edges, grads):
            if isinstance(source, Function):
                flight[source] = flight[source] + g if source in flight else g
            elif source is not None:
                add_to_leaf(source, g)


# 3.4: how many calls does the recursive walk make on 20 diamonds? One diamond takes a tensor y to
#
#          a = y * 2.0       b = y * 3.0       y = a + b
#
# which are three nodes. Twenty of them in a row, the first on a leaf x, are 60 nodes. The
# recursive walk is
#
#          def visit(node):
#              for source, _ in node.edges:
#                  if isinstance(source, Function):
#                      visit(source)
#
# Count every call of visit, from visit(y.creator) on the last y: that first call counts too; the
# leaf is not a Function and gets no call. Section 2 of the lesson counts for up to 12 diamonds:
# find the rule, then the number.
VISITS_OF_20_DIAMONDS = None
