"""The checks of lesson 3: unbroadcast, the backward walk, a walk in a wrong order, recursion."""

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np

from minitorch_alex import functional as F
from minitorch_alex.autograd import Function
from minitorch_alex.check import Answer, Bug, Case, Exercise, Holds, Same
from minitorch_alex.tensor import Tensor


class Note(Function):
    """y = times x, which tells `ran` that it ran and with which gradient; after 1,000 runs it
    stops a walk that would take 2^60.
    """

    def __init__(self, name: str, ran: list[tuple[str, float]], times: float = 1.0) -> None:
        self.name = name
        self.ran = ran
        self.times = times

    def forward(self, x):
        return x * self.times

    def backward(self, gy):
        if len(self.ran) >= 1000:
            raise RuntimeError(
                "the nodes of this small graph ran 1,000 times: each should run once"
            )
        self.ran.append((self.name, float(gy[0])))
        return gy * self.times


class Twins(Function):
    """y = a + b, whose two gradients are one array, as those of the package's Add; keeps it, to
    see whether it stays as it was.
    """

    def __init__(self, given: list[tuple[np.ndarray, np.ndarray]]) -> None:
        self.given = given

    def forward(self, a, b):
        return a + b

    def backward(self, gy):
        self.given.append((gy, gy.copy()))
        return gy, gy


def leaf(*values: float) -> Tensor:
    return Tensor(np.array(values, np.float64), requires_grad=True)


def leaves_after(
    walk: Callable[..., Any], result: Tensor, *leaves: Tensor, gradient: Any = None
) -> tuple:
    """The gradients that the walk brings to the leaves, one array per leaf.

    Raises RuntimeError when a leaf got none.
    """
    got: dict[Tensor, np.ndarray] = {}

    def add_to_leaf(x: Tensor, g: np.ndarray) -> None:
        got[x] = got[x] + g if x in got else np.array(g)

    walk(result.creator, np.ones(result.shape) if gradient is None else gradient, add_to_leaf)
    missing = [i for i, x in enumerate(leaves, 1) if x not in got]
    if missing:
        raise RuntimeError(
            f"leaf {missing[0]} of {len(leaves)} got no gradient: add_to_leaf was never called "
            "with it"
        )
    return tuple(got[x] for x in leaves)


def residual(ran: list[tuple[str, float]]) -> tuple[Tensor, Tensor]:
    """x, and a result whose node "a" has three consumers: two arms and the end itself."""
    x = leaf(1.0, -2.0)
    a = Note("a", ran, 2.0)(x)
    b = Note("b", ran, 3.0)(a)
    c = Note("c", ran, 5.0)(b)
    d = Note("d", ran, 7.0)(a)
    return x, (c + d) + a


def ran_once(walk: Callable[..., Any]) -> tuple[bool, str]:
    """Whether the nodes of `residual` run once each, with their complete gradients."""
    ran: list[tuple[str, float]] = []
    leaves_after(walk, residual(ran)[1])
    times = {name: sum(n == name for n, _ in ran) for name in "abcd"}
    if any(n != 1 for n in times.values()):
        return False, "runs: " + ", ".join(
            f"{name} {n} times" for name, n in times.items()
        ) + "; expected once each"
    return dict(ran)[
        "a"
    ] == 23.0, f"the shared node ran with a gradient of {dict(ran)['a']:g}, expected 23"


def keeps_arrays(walk: Callable[..., Any]) -> tuple[bool, str]:
    """Whether all arrays that were given to the walk are unchanged afterwards."""
    given: list[tuple[np.ndarray, np.ndarray]] = []
    ran: list[tuple[str, float]] = []
    x = leaf(1.0, 2.0)
    a = Note("a", ran)(x)
    b = Note("b", ran)(x)
    start = np.array([1.0, 10.0])
    leaves_after(walk, Twins(given)(Twins(given)(a, b), a), x, gradient=start)
    if start.tolist() != [1.0, 10.0]:
        return False, f"the gradient that you were given was [1, 10], and is {start.tolist()} now"
    if not all(np.array_equal(now, before) for now, before in given):
        return (
            False,
            "an array that a node gave you has been changed in place: it was another input's "
            "gradient too",
        )
    return True, "all arrays as they were"


def diamonds(x: Tensor, n: int) -> Tensor:
    """n diamonds of three nodes each; their result is 5^n x."""
    for _ in range(n):
        x = x * 2.0 + x * 3.0
    return x


def check_unbroadcast(m: ModuleType) -> Iterator[Case]:
    g = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 60.0], [7.0, 8.0, 9.0]])
    yield Same(
        "a bias (3,) that was added to (3,3)", lambda: m.unbroadcast(g, (3,)), g.sum(axis=0)
    )
    yield Same(
        "a column (3,1) that was stretched to (3,3)",
        lambda: m.unbroadcast(g, (3, 1)),
        np.array([[6.0], [69.0], [24.0]]),
    )
    yield Same("nothing broadcast", lambda: m.unbroadcast(g, (3, 3)), g)
    yield Same("a scalar ()", lambda: m.unbroadcast(g, ()), np.array(99.0))
    g4 = np.random.default_rng(3).standard_normal((2, 3, 4, 5))
    yield Same(
        "a bias of channels (3,1,1) on images (2,3,4,5)",
        lambda: m.unbroadcast(g4, (3, 1, 1)),
        g4.sum(axis=(0, 2, 3)).reshape(3, 1, 1),
    )
    yield Same(
        "(1,3,1,5) on (2,3,4,5)",
        lambda: m.unbroadcast(g4, (1, 3, 1, 5)),
        g4.sum(axis=(0, 2), keepdims=True),
    )
    one = np.array([[[2.0]], [[3.0]]])
    yield Same(
        "(1,1) on (2,1,1): a 1 that was not stretched",
        lambda: m.unbroadcast(one, (1, 1)),
        np.array([[5.0]]),
    )
    yield Same(
        "zeros and large negative numbers: (2,1) on (3,2,4)",
        lambda: m.unbroadcast(np.where(g4[0] > 0, 0.0, -1e30)[:, :2], (2, 1)),
        np.where(g4[0] > 0, 0.0, -1e30)[:, :2].sum(axis=(0, 2)).reshape(2, 1),
    )


def check_counts(m: ModuleType) -> Iterator[Case]:
    def counts(result: Tensor) -> list[int]:
        """The counts of all nodes, sorted."""
        return sorted(m.count_consumers(result.creator).values())

    x = leaf(3.0)
    yield Same(
        "count_consumers of a + a with a = x * x: its counts, smallest first",
        lambda: counts((lambda a: a + a)(x * x)),
        [0, 2],
    )
    yield Same(
        "count_consumers of six nodes, one of them used by three",
        lambda: counts(residual([])[1]),
        [0, 1, 1, 1, 1, 3],
    )
    yield Same(
        "count_consumers of three diamonds in a row",
        lambda: counts(diamonds(x, 3)),
        [0, 1, 1, 1, 1, 1, 1, 2, 2],
    )
    yield Same(
        "count_consumers: how many nodes and edges 60 diamonds have",
        lambda: (len(c := m.count_consumers(diamonds(x, 60).creator)), sum(c.values())),
        (180, 238),
    )


def check_walk(m: ModuleType) -> Iterator[Case]:
    yield from check_counts(m)

    def walk(result: Tensor, *leaves: Tensor) -> tuple:
        return leaves_after(m.backward_walk, result, *leaves)

    x = leaf(3.0)
    w = leaf(2.0)
    yield Same(
        "a chain: (x * w) * 5 at x = 3, w = 2",
        lambda: walk(x * w * 5.0, x, w),
        (np.array([10.0]), np.array([15.0])),
    )
    yield Same(
        "a + a with a = x * x", lambda: walk((lambda a: a + a)(x * x), x), (np.array([12.0]),)
    )
    x2, y = residual([])
    yield Same("a node that three others use", lambda: walk(y, x2), (np.array([46.0, 46.0]),))
    yield Holds(
        "each node runs once, when its gradient is complete", lambda: ran_once(m.backward_walk)
    )
    yield Holds("nothing is changed in place", lambda: keeps_arrays(m.backward_walk))
    image = Tensor(np.arange(6.0).reshape(2, 3))
    weight = Tensor(np.array([[1.0, -1.0], [0.5, 2.0], [3.0, 0.0]]), requires_grad=True)
    bias = leaf(0.1, -0.2)
    gain = Tensor(np.array([[2.0], [-3.0]]), requires_grad=True)
    yield Same(
        "an input that wants no gradient, a bias and a gain that are broadcast",
        lambda: walk((image @ weight + bias) * gain, weight, bias, gain),
        (
            np.array([[-9.0, -9.0], [-10.0, -10.0], [-11.0, -11.0]]),
            np.array([-1.0, -1.0]),
            np.array([[8.4], [24.9]]),
        ),
    )
    ones = leaf(1.0)
    yield Same(
        "60 times y = y + y: 2^60", lambda: walk(doubled(ones, 60), ones), (np.array([2.0**60]),)
    )
    yield Same(
        "20 diamonds of three nodes: 5^20",
        lambda: walk(diamonds(ones, 20), ones),
        (np.array([5.0**20]),),
    )
    yield Same(
        "a chain of 5,000 operations", lambda: walk(chain(ones, 5000), ones), (np.array([1.0]),)
    )

    yield Same(
        "the first chain once more: nothing is left of the walks before",
        lambda: walk(x * w * 5.0, x, w),
        (np.array([10.0]), np.array([15.0])),
    )
    yield from check_small_net(m)


def check_small_net(m: ModuleType) -> Iterator[Case]:
    rng = np.random.default_rng(0)
    images = Tensor(rng.standard_normal((2, 3, 6, 6)), requires_grad=True)
    kernels = Tensor(rng.standard_normal((4, 3, 3, 3)), requires_grad=True)
    biases = Tensor(rng.standard_normal(4), requires_grad=True)
    y = F.relu(F.conv2d(images, kernels, biases, padding=1))
    y = F.cross_entropy(F.flatten(F.max_pool2d(y, 3, 2) + F.avg_pool2d(y, 3, 2), 1), np.array([1, 5]))
    y.backward(retain_graph=True)
    yield Same(
        "a small net: convolution, ReLU, two pools added, loss",
        lambda: leaves_after(m.backward_walk, y, images, kernels, biases),
        (images.grad, kernels.grad, biases.grad),
    )


def doubled(y: Tensor, n: int) -> Tensor:
    for _ in range(n):
        y = y + y
    return y


def chain(y: Tensor, n: int) -> Tensor:
    for _ in range(n):
        y = y + 1.0
    return y


def check_depth_first(m: ModuleType) -> Iterator[Case]:
    x = leaf(3.0)
    w = leaf(2.0)

    def walk(result: Tensor, *leaves: Tensor) -> tuple:
        try:
            return leaves_after(m.depth_first_walk, result, *leaves)
        except KeyError as error:
            if not isinstance(error.args[0], Function):
                raise
            raise RuntimeError(
                "a node's turn came before any gradient had reached it (flight has none)"
            ) from None

    yield Same(
        "a chain: (x * w) * 5 at x = 3, w = 2",
        lambda: walk(x * w * 5.0, x, w),
        (np.array([10.0]), np.array([15.0])),
    )
    yield Same("8 times y = y + y: 2^8", lambda: walk(doubled(x, 8), x), (np.array([256.0]),))
    yield Same(
        "two arms that meet in a node: m * 2 + m * 3 with m = x * 7: 35",
        lambda: walk(diamonds(x * 7.0, 1), x),
        (np.array([35.0]),),
    )
    yield Holds(
        "each node runs once, when its gradient is complete", lambda: ran_once(m.depth_first_walk)
    )
    yield Same(
        "20 diamonds of three nodes: 5^20",
        lambda: walk(diamonds(x, 20), x),
        (np.array([5.0**20]),),
    )
    yield Same("60 times y = y + y: 2^60", lambda: walk(doubled(x, 60), x), (np.array([2.0**60]),))
    yield Same(
        "the first chain once more: nothing is left of the walks before",
        lambda: walk(x * w * 5.0, x, w),
        (np.array([10.0]), np.array([15.0])),
    )


def check_visits(m: ModuleType) -> Iterator[Case]:
    yield Answer("calls of visit on 20 diamonds", lambda: m.VISITS_OF_20_DIAMONDS, 3_145_725)


_SEARCH = """        seen.add(node)
        for source, _ in node.edges:
            if isinstance(source, Function) and source not in seen:
                visit(source)
"""
_THEN = """
    visit(root)
    flight: dict[Any, np.ndarray] = {root: gradient}
    for node in """

EXERCISES = (
    Exercise(
        "3.1",
        "unbroadcast",
        "sum a gradient back to the shape before broadcasting",
        check_unbroadcast,
        hints=(
            "A value that was copied n times influences the result n times: add up what comes "
            "back.",
            "Shapes are lined up at their ends: the first g.ndim - len(shape) axes of g are "
            "those in front. Sum over them first; then g and shape have the same number of "
            "axes.",
            "An axis i was stretched if shape[i] is 1 and g.shape[i] is not. Sum over all of "
            "those at once, with keepdims=True so that they stay as axes of length 1.",
        ),
        bugs=(
            Bug(
                "aligned left",
                "you sum over the last axes, but the added axes are in front: NumPy lines shapes "
                "up at their ends, so (3,) on (3,3) was copied down the rows",
                old="tuple(range(front))",
                new="tuple(range(g.ndim - front, g.ndim))",
            ),
            Bug(
                "front axes cut off",
                "you keep the first copy (g[0]) instead of the sum over all copies",
                old="g = g.sum(axis=tuple(range(front)))",
                new="g = g[(0,) * front]",
            ),
            Bug(
                "mean for sum",
                "your gradient is divided by the number of copies: a mean instead of a sum",
                old="g = g.sum(axis=tuple(range(front)))",
                new="g = g.mean(axis=tuple(range(front))) if front else g",
            ),
            Bug(
                "without keepdims",
                "the stretched axes are gone: sum over them with keepdims=True",
                old="keepdims=True",
                new="keepdims=False",
            ),
            Bug(
                "nothing summed",
                "g comes back as it is: sum over the axes that broadcasting added or stretched",
                old="    front = g.ndim - len(shape)\n",
                new="    return g\n    front = g.ndim - len(shape)\n",
            ),
            Bug(
                "front axes kept",
                "the axes in front are summed but still there, with length 1: sum over them "
                "without keepdims",
                old="g = g.sum(axis=tuple(range(front)))",
                new="g = g.sum(axis=tuple(range(front)), keepdims=True)\n"
                "    shape = (1,) * front + shape",
            ),
            Bug(
                "axes counted before the sum",
                "the stretched axes are counted in g as it came, with the axes in front; after "
                "those are summed away, axis i of shape is axis i of g",
                old="g = g.sum(axis=tuple(range(front)))\n    stretched = tuple(i for i, n in "
                "enumerate(shape) if n == 1 and g.shape[i] > 1)",
                new="stretched = tuple(i + front for i, n in enumerate(shape)\n"
                "                      if n == 1 and g.shape[i + front] > 1)\n"
                "    g = g.sum(axis=tuple(range(front)))\n"
                "    stretched = tuple(i for i in stretched if i < g.ndim)",
            ),
            Bug(
                "stretched axes forgotten",
                "the axes in front are summed; those that were stretched from 1 are not",
                old="return g.sum(axis=stretched, keepdims=True)",
                new="return g",
            ),
        ),
    ),
    Exercise(
        "3.2",
        "count_consumers, backward_walk",
        "each node once, when its gradient is complete",
        check_walk,
        restart=False,
        hints=(
            "count_consumers: a dict that starts as {root: 0} and a list that starts as [root]. "
            "Take a node off the list, look at its edges; a source that is not in the dict yet "
            "goes into both.",
            "backward_walk needs three things: the counts, a dict of the gradients under way, "
            "and a list of the nodes that are ready. At the start root alone is ready, and its "
            "gradient is known.",
            "For each ready node: call backward with its gradient, and go through "
            "zip(node.edges, grads). For a source that is a Function: add g to what is under way "
            "for it, take 1 from its count, and at 0 it is ready. `old + g` makes a new array, "
            "`old += g` changes one that may be someone else's too.",
        ),
        bugs=(
            Bug(
                "nodes counted, not edges",
                "y + y has two edges to y and you count one: count edges, not consumers, "
                "since each edge brings a gradient",
                old="consumers[source] += 1",
                new="consumers[source] = 1",
            ),
            Bug(
                "one too many",
                "your counts start at 1: such a node waits for a gradient that never comes",
                old="consumers[source] = 0",
                new="consumers[source] = 1",
            ),
            Bug(
                "each path",
                "a node that is reached again is walked through again: its edges count once for "
                "each path to it",
                old="                    todo.append(source)\n                consumers[source] "
                "+= 1",
                new="                consumers[source] += 1\n                todo.append(source)",
            ),
            Bug(
                "last one wins",
                "of several gradients that come to one node you keep the last: add them up",
                old="    flight[source] = flight[source] + g\n",
                new="    flight[source] = g\n",
            ),
            Bug(
                "seen once",
                "a node runs when the first gradient reaches it, once, and what comes later is "
                "never sent on",
                old="            waiting[source] -= 1\n            if waiting[source] == 0:",
                new="            if waiting.pop(source, None) is not None:",
            ),
            Bug(
                "sent on too early",
                "a node runs whenever a gradient comes, and not only when the last one has come",
                old="if waiting[source] == 0:",
                new="if source not in ready:",
            ),
            Bug(
                "changed in place",
                "+= changes an array that another input's gradient shares: write a + b",
                old="    flight[source] = flight[source] + g\n",
                new="    flight[source] += g\n",
            ),
            Bug(
                "broadcast not undone",
                "a broadcast input got a gradient of the result's shape: call unbroadcast",
                old="g = unbroadcast(g, shape)",
                new="g = g + 0",
            ),
        ),
    ),
    Exercise(
        "3.3",
        "depth_first_walk",
        "find the bug in a recursive walk and fix it",
        check_depth_first,
        restart=False,
        hints=(
            "Take m = x * 7, a = m * 2, b = m * 3, y = a + b. In which order does visit note y, "
            "a, b and m?",
            "m is noted before b. So m runs when only a has spoken, and what b brings is never "
            "sent on. A node should be noted when everything behind it has been noted.",
            "Move order.append(node) behind the loop over the edges. Then the sources come "
            "before their consumers: walk through the list from its end.",
        ),
        bugs=(
            Bug(
                "noted on arrival",
                "the order is still the one in which the search arrives: a shared node comes "
                "right after the first arm that reaches it, and speaks before the second has",
                old=f"{_SEARCH}        order.append(node)\n{_THEN}reversed(order):",
                new=f"        order.append(node)\n{_SEARCH}{_THEN}order:",
            ),
            Bug(
                "from the wrong end",
                "sources have their turn before their consumers: where is root in the list, and "
                "at which end does the walk begin?",
                old=f"{_THEN}reversed(order):",
                new=f"{_THEN}order:",
            ),
            Bug(
                "last one wins",
                "of several gradients that come to one node you keep the last: add them up",
                old="flight[source] = flight[source] + g if source in flight else g",
                new="flight[source] = g",
            ),
        ),
    ),
    Exercise(
        "3.4",
        "VISITS_OF_20_DIAMONDS",
        "the price of recursion: count its calls",
        check_visits,
        hints=(
            "Count for one diamond by hand (3), for two (9), for three (21). What does one more "
            "add?",
            "The top node is called once, each arm once, and each arm calls everything behind it: "
            "v(n) = 3 + 2 v(n-1).",
        ),
        bugs=(
            Bug(
                "paths",
                "this is the number of paths, 2^20; each of them calls visit several times",
                old="3_145_725",
                new="1_048_576",
            ),
            Bug(
                "each node once",
                "this is the number of nodes: the cost of a walk that visits each of them once",
                old="3_145_725",
                new="60",
            ),
            Bug(
                "off by three",
                "3 * 2^20 is three too many: without any diamond there is no call at all",
                old="3_145_725",
                new="3_145_728",
            ),
            Bug(
                "leaf counted",
                "you count the calls on the leaf too: it is not a Function, so visit is not "
                "called for it",
                old="3_145_725",
                new="4_194_301",
            ),
        ),
    ),
)
