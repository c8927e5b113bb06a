# %% [markdown]
# # 3. Autograd
#
# **Goal.** A program that runs forward and then knows the gradient of its result with respect to
# everything that went in. You see why the order of the backward pass decides between right and
# wrong, and between 60 steps and $2^{60}$; you build an engine of 40 lines, and find it again in
# the package.
#
# **You need** the chain rule of school calculus and lesson 2's habit of asking for shapes.
#
# **Time.** A few seconds; `--quick` leaves out the longest recursion. **Files:**
# `runs/lessons/03_autograd/*.png`.

# %%
import math
import random
import time
import tracemalloc

import kit  # finds the package next to this folder, installed or not
import matplotlib.pyplot as plt
import numpy as np

import minitorch_alex as mt
from minitorch_alex import Tensor, autograd
from minitorch_alex import functional as F
from minitorch_alex.autograd import Function
from minitorch_alex.errors import UsageError
from minitorch_alex.functional.activation import Tanh
from minitorch_alex.plots.style import FAINT, INK

lesson = kit.Lesson("03_autograd")
BLUE = "#3b6ea5"
RED = "#c8451b"
NOTE = "#66707a"

# %% [markdown]
# ## 1. A calculation is a graph
#
# Training needs the slope of one number, the loss, with respect to millions of others, the
# weights. Nobody writes that derivative down. Each operation knows its own derivative, which is
# easy, and the chain rule puts them together.
#
# Take $a = x \cdot x$, $b = 5x$ and $y = a \cdot b$ at $x = 2$. The value $x$ is used three times,
# twice by $a$ and once by $b$, and both ways meet again in $y$: a **diamond**. The chain rule
# says: the gradient of $y$ with respect to $x$ is the sum over all **paths** from $x$ to $y$ of
# the product of the slopes along the path.

# %%
lesson.section("1. A calculation is a graph")
lesson.predict("a = x * x, b = 5 x, y = a * b at x = 2. What is dy/dx?", "20", "40", "60")

x = Tensor(np.array(2.0), requires_grad=True)
a = x * x
b = x * 5.0
y = a * b
print(
    "nodes:",
    type(y.creator).__name__,
    "with edges to",
    [type(s).__name__ for s, _ in y.creator.edges],
)
print(
    "      ",
    type(a.creator).__name__,
    "with edges to",
    [type(s).__name__ for s, _ in a.creator.edges],
    "(x, twice)",
)
print(
    "      ",
    type(b.creator).__name__,
    "with an edge to",
    [type(s).__name__ for s, _ in b.creator.edges],
    "(x)\n",
)

# %% [markdown]
# The package has recorded this graph while it calculated. A node is a `Function`, an operation
# that has run; its `edges` lead to the nodes that made its inputs. That is all there is to the
# graph: there is no list of operations anywhere.
#
# To draw it with the gradients in it, we listen at each node: `node.backward(g)` receives the
# gradient of the node's result and returns one gradient for each input.


# %%
def listen(result):
    """Run result.backward(); what each node hears (an array) and sends (an array per edge)."""
    heard = {}
    sent = {}

    def tap(node):
        plain = node.backward

        def backward(g):
            grads = plain(g)
            heard[node] = g
            sent[node] = grads if isinstance(grads, tuple) else (grads,)
            return grads
        node.backward = backward

    edges = {node: node.edges for node in autograd.count_consumers(result.creator)}
    for node in edges:
        tap(node)
    result.backward()
    return edges, heard, sent


def draw(ax, named, edges, heard, sent, place):
    """The graph: data and gradient in each box, on each edge the gradient that went back along it.
    """
    name_of = {t.creator or t: name for name, t in named.items()}
    for node, inputs in edges.items():
        for i, ((source, _), g) in enumerate(zip(inputs, sent[node])):
            bend = 0.0
            if sum(s is source for s, _ in inputs) > 1:  # two edges to one box: one up, one down
                bend = 0.22 if i == 0 else -0.22
            draw_edge(ax, place[name_of[source]], place[name_of[node]], float(g), bend)
    for source, name in name_of.items():
        leaf = named[name].creator is None
        gradient = named[name].grad if leaf else heard[source]
        kind = "leaf" if leaf else type(source).__name__
        draw_box(ax, place[name], f"{name}   ({kind})", float(named[name].data), float(gradient))


def draw_edge(ax, start, end, gradient, bend):
    """An arrow from box to box with the gradient in its middle."""
    x0, y0 = start
    x1, y1 = end
    look = {"arrowstyle": "->", "color": "#9aa3ad", "lw": 1.4,
            "connectionstyle": f"arc3,rad={-bend}"}
    ax.annotate("", (x1 - 0.62, y1), (x0 + 0.62, y0), zorder=1, arrowprops=look)
    middle = ((x0 + x1) / 2, (y0 + y1) / 2 + 1.15 * bend)
    ax.text(*middle, f"{gradient:g}", color=RED, fontsize=11, ha="center", va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5})


def draw_box(ax, place, title, value, gradient):
    """A box with three lines: what it is, its value, its gradient."""
    x0, y0 = place
    box = plt.Rectangle((x0 - 0.6, y0 - 0.36), 1.2, 0.72, facecolor="white", edgecolor=INK)
    box.set_zorder(2)
    ax.add_patch(box)
    lines = ((0.23, title, 9.5, NOTE), (0.0, f"data  {value:g}", 11, BLUE),
             (-0.23, f"grad  {gradient:g}", 11, RED))
    for up, line, size, colour in lines:
        ax.text(x0, y0 + up, line, ha="center", va="center", fontsize=size, color=colour, zorder=3)


edges, heard, sent = listen(y)
fig, ax = plt.subplots(figsize=(7.6, 3.4))
draw(ax, {"x": x, "a": a, "b": b, "y": y}, edges, heard, sent,
     {"x": (0.7, 1.0), "a": (3.1, 1.75), "b": (3.1, 0.25), "y": (5.5, 1.0)})
ax.set(xlim=(0, 6.2), ylim=(-0.25, 2.25), aspect="equal")
ax.axis("off")
ax.set_title("A diamond: values go right (blue), gradients come back (red), and add up in x")
lesson.show(fig, "diamond")
lesson.number("diamond_gradient", float(x.grad))
lesson.answer(
    f"{float(x.grad):g}: through a 10 * 2, and again 10 * 2, through b 4 * 5. (y is 5 x^3, its "
    "slope 15 x^2)"
)

# %% [markdown]
# Read it from the right. $y$ starts with the gradient 1. It tells $a$ "your slope is $b$ = 10" and
# $b$ "yours is $a$ = 4". Then $a$ multiplies what it heard, 10, by its own slopes, and so on.
# Where arrows leave a box to the right more than once, the gradients that come back along them are
# **added**: that is the whole chain rule.
#
# ## 2. The obvious walk: recursion
#
# Let us write such an engine for plain numbers. A `Value` knows its number, what it was made of,
# and the slope with respect to each. That is all that the forward pass needs.


# %%
class Value:
    """A number that remembers how it was made: pairs (source, slope with respect to that source).
    """

    def __init__(self, data, sources=()):
        self.data = data
        self.sources = sources
        self.grad = 0.0

    def __add__(self, other):
        return Value(self.data + other.data, ((self, 1.0), (other, 1.0)))

    def __mul__(self, other):
        return Value(self.data * other.data, ((self, other.data), (other, self.data)))

    def tanh(self):
        y = math.tanh(self.data)
        return Value(y, ((self, 1.0 - y * y),))


def walk_paths(value, g=1.0):
    """Follow every path: add what comes in, pass it on, times the slope."""
    value.grad += g
    # how many visits
    return 1 + sum(walk_paths(source, g * slope) for source, slope in value.sources)


# %% [markdown]
# A few lines, and right: it is the sum over all paths, word for word. Now put diamonds in a row:
# $a = 2y$, $b = 3y$, and the new $y$ is $a + b$. So $y$ is five times what it was, and $n$
# diamonds are $5^n x$. A residual net is built like this, and so is anything that uses a value
# twice, again and again.

# %%
lesson.section("2. The obvious walk: recursion")
lesson.predict(
    "8 diamonds are 24 nodes, and the recursive walk makes 765 visits. How many for 12 diamonds?",
    "1,148: half as many again",
    "3,060: four times",
    "12,285: sixteen times",
)


def diamonds_of(start, n):
    """n diamonds of three nodes each on the package's Tensors: 5^n times start."""
    y = start
    for _ in range(n):
        a = y * 2.0
        b = y * 3.0
        y = a + b
    return y


def visits_by_recursion(node):
    """How many calls a recursive walk makes on the package's nodes.

    Leaves are not Functions and get none.
    """
    return 1 + sum(visits_by_recursion(s) for s, _ in node.edges if isinstance(s, Function))


rows = []
for n in (1, 2, 3, 4, 8, 10, 12) + lesson.pick((), (14, 16)):
    y = diamonds_of(Tensor(np.array(1.0), requires_grad=True), n)
    begin = time.perf_counter()
    visits = visits_by_recursion(y.creator)
    took = time.perf_counter() - begin
    rows.append((n, 3 * n, visits, 1e3 * took))
lesson.table(["diamonds", "nodes", "visits", "ms"], rows)
lesson.number("visits_12", next(row[2] for row in rows if row[0] == 12))
lesson.answer(
    "12,285: each further diamond doubles the walk. At ten million visits a second, 60 diamonds "
    "would take eleven thousand years."
)

# %% [markdown]
# The number of paths doubles with each diamond, and the walk goes along every one of them. The
# nodes are few; it comes back to the same ones, each time with another small share of their
# gradient.
# ## 3. Two fixes that are wrong
#
# Why visit a node again? A tempting fix: mark a node as seen, and do not go there twice. Another:
# let a node pass on everything it has collected so far, `value.grad`, in place of the share `g`
# that just came. Try both on rows of diamonds.


# %%
def walk_seen(value, seen=None):
    """Wrong: each node is visited once, and speaks at that visit, whatever comes later."""
    if seen is None:
        seen = set()
        value.grad = 1.0
    seen.add(value)
    for source, slope in value.sources:
        source.grad += value.grad * slope
        if source not in seen:
            walk_seen(source, seen)


def walk_total(value, first=True):
    """Wrong: at each visit a node passes on all it has, even what it passed on before."""
    if first:
        value.grad = 1.0
    for source, slope in value.sources:
        source.grad += value.grad * slope
        walk_total(source, False)


def meeting(n):
    """n times y = y * 2 + y * 3 on Values, from a leaf x = 1; the result and the leaf."""
    y = leaf = Value(1.0)
    for _ in range(n):
        y = y * Value(2.0) + y * Value(3.0)
    return y, leaf


lesson.section("3. Two fixes that are wrong")
lesson.predict("y = 5^n x. Which of the walks is right for n = 1, and for n = 2?")
rows = []
for n in (1, 2, 3, 6):
    row = [n, 5 ** n]
    for walk in (walk_paths, walk_seen, walk_total):
        result, leaf = meeting(n)
        walk(result)
        row.append(int(leaf.grad))
    rows.append(row)
lesson.table(["diamonds", "right", "every path", "once seen", "all so far"], rows)
for column, key in ((2, "paths_6"), (3, "seen_6"), (4, "total_6")):
    lesson.number(key, rows[-1][column])
lesson.answer(
    "for n = 1 all three; from n = 2 on, only the slow one. A test with one diamond on a leaf "
    "sees nothing."
)

# %% [markdown]
# Both make the same mistake: **a node speaks before its gradient is complete.** The first never
# sends the rest, so the result is too small. The second sends the beginning again with the end, so
# it is too large. With one diamond nothing shows, because a leaf has nobody to pass anything on
# to.
#
# ## 4. A node speaks when everyone who used it has spoken
#
# How do we know that a gradient is complete? Count, before the walk, how many edges lead to each
# node: that is how many gradients it has to wait for. When the last one has arrived, and not
# before, it speaks. It speaks once.


# %%
def count(root):
    """For each value behind root, how many edges lead to it."""
    consumers = {root: 0}
    todo = [root]
    while todo:
        for source, _ in todo.pop().sources:
            if source not in consumers:
                consumers[source] = 0
                todo.append(source)
            consumers[source] += 1
    return consumers


def backward(root):
    """The gradient of root with respect to every value behind it, each visited once."""
    waiting = count(root)
    ready = [root]
    visits = 0
    root.grad = 1.0
    while ready:
        value = ready.pop()
        visits += 1
        for source, slope in value.sources:
            source.grad += value.grad * slope
            waiting[source] -= 1
            if waiting[source] == 0:
                ready.append(source)
    return visits


# %% [markdown]
# With the class `Value` this is an engine: 40 lines, and no case is missing. There is no recursion
# in it, so that no chain is too long for Python, and no sorting.

# %%
lesson.section("4. A node speaks when everyone who used it has spoken")
lesson.predict(
    "How many values does it visit for 60 times y = y + y? And can the recursive walk do a chain "
    "of 5,000?"
)
leaf = y = Value(1.0)
for _ in range(60):
    y = y + y
visits = backward(y)
print(f"60 doublings: gradient {int(leaf.grad):,}, 2^60 is {2 ** 60:,}; {visits} visits")
lesson.number("visits_60_doublings", visits)
lesson.number("doublings_right", leaf.grad == 2.0 ** 60)

leaf = y = Value(1.0)
for _ in range(5000):
    y = y + Value(0.0)
print(f"a chain of 5,000: {backward(y):,} visits, gradient {leaf.grad:g}")
try:
    walk_paths(y)
except RecursionError as error:
    print(f"the recursive walk on it: RecursionError, {str(error)[:32]} ...")
print()
lesson.answer(
    "61, one for each value. The chain needs 10,001 (each 0 that is added is a value too), and "
    "Python stops the recursive walk after about 1,000 calls."
)

sizes = list(range(1, 15))
rows = [diamonds_of(Tensor(np.array(1.0), requires_grad=True), n).creator for n in sizes]
fig, ax = plt.subplots(figsize=(7, 4))
ax.semilogy(sizes, [visits_by_recursion(node) for node in rows], "o-", color=RED, ms=5)
ax.semilogy(sizes, [len(autograd.count_consumers(node)) for node in rows], "o-", color=BLUE, ms=5)
ax.text(10, 9000, "every path", color=RED, ha="right", fontsize=12)
ax.text(12, 58, "each node once", color=BLUE, ha="center", fontsize=12)
ax.set(
    xlabel="diamonds in a row",
    ylabel="nodes visited (log scale)",
    ylim=(2, 1e5),
    xticks=range(0, 15, 2),
)
ax.yaxis.grid(True)
ax.set_title("Walking every path doubles with each diamond")
lesson.show(fig, "visits")

# %% [markdown]
# ## 5. The same in the package
#
# `minitorch_alex/autograd.py` is this engine for arrays. What changes:
#
# | here | package | why |
# |---|---|---|
# | a slope, one number | a method `backward(gy)` | a convolution turns one gradient into another |
# | `value.sources` | `node.edges`, pairs (source, shape) | the shape is needed in section 6 |
# | every value keeps `.grad` | only leaves do | a gradient is dropped once it has been passed on |
# | `source.grad += ...` | `flight[source] + g` | $a + b$ sends one array to both inputs |
#
# A calculation drawn at random must give the same gradients in both, up to the rounding of the
# last digit (sums may be taken in another order).

# %%
lesson.section("5. The same in the package")


def random_calculation(leaves, tanh, seed, steps=30):
    """A random calculation on values with +, * and tanh: each step takes two earlier results."""
    draw_two = random.Random(seed)
    values = list(leaves)
    for _ in range(steps):
        one = draw_two.choice(values)
        other = draw_two.choice(values)
        result = one + other if draw_two.random() < 0.5 else one * other
        values.append(tanh(result))
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


numbers = (0.3, -0.8, 1.1)
ours = [Value(v) for v in numbers]
backward(random_calculation(ours, Value.tanh, seed=lesson.seed))
theirs = [Tensor(np.array(v), requires_grad=True) for v in numbers]
random_calculation(theirs, F.tanh, seed=lesson.seed).backward()
lesson.number("engine_difference", max(abs(o.grad - float(t.grad)) for o, t in zip(ours, theirs)))
lesson.table(
    ["leaf", "40 lines", "package", "difference"],
    [
        (v, o.grad, float(t.grad), abs(o.grad - float(t.grad)))
        for v, o, t in zip(numbers, ours, theirs)
    ],
)

# %% [markdown]
# ## 6. Broadcasting, and how it is undone
#
# A bias of 3 numbers is added to a batch of 4 rows. NumPy **broadcasts** it: the same 3 numbers
# are used in every row. That is a value that is used four times, so four gradients come back to
# each number, and they add up. The gradient of the sum $x + b$ has the shape of the result, (4,3);
# the bias wants (3,): sum over the rows.

# %%
lesson.section("6. Broadcasting, and how it is undone")
lesson.predict(
    "b has shape (3,), x has (4,3). The gradient of x + b is G of shape (4,3). What is the "
    "gradient of b?",
    "the first row of G",
    "the mean of G's rows",
    "the sum of G's rows",
)
g = np.arange(1.0, 13.0).reshape(4, 3)  # the numbers 1 ... 12 in 4 rows
bias = Tensor(np.zeros(3), requires_grad=True)
(Tensor(np.zeros((4, 3))) + bias).backward(g)

fig, axes = plt.subplots(1, 2, figsize=(7.4, 3.4), width_ratios=(1, 1))
for ax, title, cells, colour in (
    (axes[0], "forward: three numbers in 4 rows", np.tile([0.1, 0.2, 0.3], (4, 1)), BLUE),
    (axes[1], "backward: 4 rows into three sums", g, RED),
):
    for (r, c), value in np.ndenumerate(cells):
        ax.add_patch(plt.Rectangle((c, 3 - r), 1, 1, facecolor="white", edgecolor=FAINT))
        ax.text(c + 0.5, 3.5 - r, f"{value:g}", ha="center", va="center", fontsize=12,
                color=NOTE if colour is BLUE else INK)
    for c in range(3):
        ends = (
            ((c + 0.5, 4.15), (c + 0.5, 4.75))
            if colour is BLUE
            else ((c + 0.5, -0.75), (c + 0.5, -0.1))
        )
        ax.annotate(
            "", ends[0], ends[1], arrowprops={"arrowstyle": "->", "color": colour, "lw": 1.6}
        )
        at, value = (5.1, (0.1, 0.2, 0.3)[c]) if colour is BLUE else (-1.1, bias.grad[c])
        ax.text(
            c + 0.5,
            at,
            f"{value:g}",
            ha="center",
            va="center",
            fontsize=13,
            fontweight="bold",
            color=colour,
        )
    ax.set(xlim=(-0.2, 3.2), ylim=(-1.5, 5.5))
    ax.axis("off")
    ax.set_title(title)
lesson.show(fig, "broadcast")
lesson.number("bias_gradient_0", bias.grad[0])
lesson.answer("the sum: copies are uses, and the gradients of all uses add up.")

rows = []
for shape, other in (((3,), (4, 3)), ((4, 1), (4, 3)), ((), (4, 3)), ((8, 1, 1), (2, 8, 5, 5)),
                     ((1, 8, 1, 5), (2, 8, 5, 5))):
    ones = autograd.unbroadcast(np.ones(np.broadcast_shapes(shape, other)), shape)
    rows.append((str(shape), str(other), str(ones.shape), int(ones.flat[0])))
lesson.table(["input", "combined with", "its gradient", "copies summed"], rows)

# %% [markdown]
# NumPy lines shapes up at their **ends**, puts new axes in **front**, and stretches axes that have
# length 1. Undoing it therefore sums over the axes in front, which vanish, and over the stretched
# ones, which stay as 1. The package does it in one place, in the walk (`unbroadcast`), which is
# why an edge knows its input's shape, and why the backward of `Add` is the line `return gy, gy`.
#
# ## 7. What is kept, and when it is freed
#
# The backward of $a \cdot b$ needs $a$ and $b$. So forward has to **save** them, and that is what
# makes training large: not the weights, but what every layer keeps for the backward pass.

# %%
lesson.section("7. What is kept, and when it is freed")
image = Tensor(
    np.random.default_rng(0).standard_normal((1, 16, 32, 32)).astype(np.float32),
    requires_grad=True,
)
kernels = Tensor(np.zeros((16, 16, 3, 3), np.float32), requires_grad=True)
plain = image.data.nbytes
kept = {
    "add a constant": image + 1.0,
    "add": image + image,
    "multiply": image * (image + 1.0),
    "exp": image.exp(),
    "relu": F.relu(image),
    "sum": image.sum(),
    "conv2d 3x3": F.conv2d(image, kernels, padding=1),
    "max_pool2d 3/2": F.max_pool2d(image, 3, 2),
    "local_response_norm": F.local_response_norm(image, 5),
}
lesson.table(
    ["operation", "arrays saved", "bytes saved", "input's bytes"],
    [
        (
            name,
            len([s for s in t.creator.saved if s is not None]),
            sum(
                np.asarray(part).nbytes
                for s in t.creator.saved
                if s is not None
                for part in (s if isinstance(s, tuple) else (s,))
            ),
            plain,
        )
        for name, t in kept.items()
    ],
)

# %% [markdown]
# An operation saves what its own derivative needs, and no more: addition nothing, exp its result
# (its derivative *is* its result), convolution its input and its kernels, but not lesson 2's large
# column matrix: that is made again.
#
# Now a chain of 12 steps $y \leftarrow \tanh(1.5\,y)$ on an array of 1 MiB, measured while it
# runs. Each tanh saves its result, 1 MiB. The backward pass **frees** each node as it passes.


# %%
def memory_of(graph, retain):
    """MiB held beyond the input at each step, forward and backward, of 12 times tanh(1.5 y)."""
    start = Tensor(np.full((256, 1024), 0.1, np.float32), requires_grad=graph)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    held = []

    def note():
        held.append((tracemalloc.get_traced_memory()[0] - before) / 2 ** 20)

    def noting(node):
        def backward(g):
            note()
            return Tanh.backward(node, g)
        return backward

    y = start
    for _ in range(12):
        y = F.tanh(y * 1.5)
        note()
    if graph:
        for node in autograd.count_consumers(y.creator):
            if isinstance(node, Tanh):
                node.backward = noting(node)
        y.backward(np.ones(y.shape, np.float32), retain_graph=retain)
        note()
    tracemalloc.stop()
    return held


lesson.predict("After the 12 steps forward, how much is held? And inside no_grad()?")
normal = memory_of(True, False)
retained = memory_of(True, True)
with mt.no_grad():
    nothing = memory_of(False, False)
fig, ax = plt.subplots(figsize=(7.4, 4))
ax.axvspan(12.5, 25.4, color="#f4f5f7", zorder=0)
ax.plot(range(1, 26), retained, "o-", color="#9aa3ad", ms=4)
ax.plot(range(1, 26), normal, "o-", color=BLUE, ms=4)
ax.plot(range(1, 13), nothing, "o-", color=RED, ms=4)
ax.text(20, retained[19] + 0.5, "retain_graph=True", color=NOTE, ha="center")
ax.text(19.7, normal[19] + 1.1, "backward frees\nas it passes", color=BLUE)
ax.text(9, nothing[8] + 0.5, "no_grad()", color=RED, ha="center")
ax.text(12.2, 16.2, "forward", ha="right", color=NOTE)
ax.text(12.8, 16.2, "backward", color=NOTE)
ax.set(xlabel="step", ylabel="MiB held", ylim=(0, 17), xlim=(0.5, 25.4))
ax.yaxis.grid(True)
ax.set_title("What a graph keeps: 12 results of 1 MiB, freed one by one")
lesson.show(fig, "memory")
lesson.table(
    ["", "after forward, MiB", "after backward, MiB"],
    [
        ("a graph", normal[11], normal[-1]),
        ("retain_graph=True", retained[11], retained[-1]),
        ("no_grad()", nothing[11], nothing[-1]),
    ],
)
for key, value in (
    ("forward_mib", normal[11]),
    ("freed_mib", normal[-1]),
    ("retained_mib", retained[-1]),
    ("no_grad_mib", nothing[11]),
):
    lesson.number(key, value)
lesson.answer(
    "12 MiB, one for each tanh; and 1 MiB inside no_grad(), the last result: all others are "
    "dropped at once."
)

# %% [markdown]
# After the walk 2 MiB are left: the last result, which we still hold, and the gradient of the
# leaf. Use `no_grad()` whenever nobody will ask for gradients, as in evaluation: then the batch
# may be many times as large.
#
# ## 8. No second backward
#
# What is freed is gone. A second walk through the same graph could only be wrong, so the package
# refuses it.

# %%
lesson.section("8. No second backward")
x = Tensor(np.array(3.0), requires_grad=True)
y = x * x
y.backward()
print(f"first backward: x.grad is {float(x.grad):g}")
try:
    y.backward()
except UsageError as error:
    print(f"second backward: {error}")
y = x * x
y.backward(retain_graph=True)
y.backward()
lesson.number("three_backwards", float(x.grad))
print(
    f"with retain_graph=True two more: x.grad is {float(x.grad):g}; gradients add up until "
    "x.zero_grad()"
)

# %% [markdown]
# That a leaf *adds* what comes is the same rule as everywhere in this lesson: one weight that is
# used in two places, or in two batches, gets the sum. It is also the reason why a training step
# begins with `zero_grad()`.
#
# ## Now you
#
# * **3.1** `unbroadcast`: sum a gradient back to the shape before broadcasting.
# * **3.2** `count_consumers`, `backward_walk`: the engine on the package's own nodes.
# * **3.3** `depth_first_walk`: a recursive walk with a bug; find it and fix it.
# * **3.4** `VISITS_OF_20_DIAMONDS`: find the rule in the table of section 2, then the number.
#
# Edit `lessons/exercises/03_autograd.py`, then `python -m minitorch_alex.check 03`.
#
# ## Where this is in the package
#
# * `minitorch_alex/autograd.py`: `Function`, `count_consumers`, `backward`, `unbroadcast`,
#   `no_grad`; two pages in all.
# * `minitorch_alex/tensor.py`: `Tensor`, with `creator`, `grad` and `backward()`.
# * `minitorch_alex/functional/basic.py`: the operations of this lesson, each with its derivative.

# %%
lesson.done()
