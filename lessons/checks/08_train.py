"""The checks of lesson 8: steps by hand, the loss and where it starts, an exact resume."""

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np

from minitorch_alex.check import Answer, Bug, Case, Exercise, Holds, Same
from minitorch_alex.data import make_shapes
from minitorch_alex.kernels import naive


def _steps(
    m: ModuleType,
    w: list[float],
    gradients: list[list[float]],
    settings: list[tuple[float, float, float]],
    v: list[float] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """(w, v) after one step per gradient, each with its (lr, momentum, weight decay)."""
    weights = np.array(w)
    velocity = np.zeros(len(w)) if v is None else np.array(v)
    for gradient, (lr, momentum, decay) in zip(gradients, settings, strict=True):
        m.sgd_step(weights, np.array(gradient), velocity, lr, momentum, decay)
    return weights, velocity


def check_sgd_step(m: ModuleType) -> Iterator[Case]:
    yield Same(
        "the example: w and v afterwards",
        lambda: _steps(m, [1.0, -2.0], [[10.0, 4.0]], [(0.1, 0.5, 0.2)], [0.5, 0.0]),
        (np.array([0.23, -2.36]), np.array([-0.77, -0.36])),
    )
    # by hand, momentum 0.5, no decay, rate 1, 1, 0.1: v = -1, -1.5, -0.85; w = 9, 7.5, 6.65
    yield Same(
        "three steps by hand; the rate drops before the third",
        lambda: _steps(
            m, [10.0], [[1.0]] * 3, [(1.0, 0.5, 0.0), (1.0, 0.5, 0.0), (0.1, 0.5, 0.0)]
        ),
        (np.array([6.65]), np.array([-0.85])),
    )
    # by hand, momentum 0, rate 0.5, decay 0.2, gradient 0: w loses a tenth of itself at each step
    yield Same(
        "decay alone, three steps by hand",
        lambda: _steps(m, [100.0, -10.0], [[0.0, 0.0]] * 3, [(0.5, 0.0, 0.2)] * 3),
        (np.array([72.9, -7.29]), np.array([-8.1, 0.81])),
    )
    # by hand, zero weights, gradients of 0 and -1e6: v = 0.5 v + 1e5, w = v
    yield Same(
        "zero weights, gradients of 0 and -1e6",
        lambda: _steps(m, [0.0, 0.0], [[0.0, -1e6]], [(0.1, 0.5, 0.2)], [-2.0, 0.0]),
        (np.array([-1.0, 1e5]), np.array([-1.0, 1e5])),
    )
    single = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)

    def small() -> tuple[bool, str]:
        w = single.copy()
        g = single.copy()
        v = single.copy()
        m.sgd_step(w, g, v, 0.1, 0.9, 0.0005)
        return np.array_equal(g, single), "the gradient has changed"

    yield Holds("a matrix of float32, and the gradient stays as it is", small)
    yield Holds("32 images are learnt by heart", lambda: _by_heart(m.sgd_step, naive_loss))


def naive_loss(logits: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """(mean loss, gradient) by the package's oracle."""
    losses, probs = naive.softmax_cross_entropy(logits, labels)
    share = np.full(len(labels), 1 / len(labels))
    return float(losses.mean()), naive.softmax_cross_entropy_backward(share, probs, labels)


def _momentum(
    w: np.ndarray, g: np.ndarray, v: np.ndarray, lr: float, momentum: float, weight_decay: float
) -> None:
    v[...] = momentum * v - weight_decay * lr * w - lr * g
    w += v


def _by_heart(step: Callable[..., Any], loss_of: Callable[..., Any]) -> tuple[bool, str]:
    """Whether one linear layer learns 32 images of 16 x 16 by heart.

    It has 768 weights per class: enough to give each image its label.
    """
    part = make_shapes(32, 16)
    x = (part.images.reshape(32, -1) - part.images.reshape(32, -1).mean(axis=0)) / 64
    w = np.zeros((768, 10))
    v = np.zeros((768, 10))
    losses = []
    with np.errstate(all="ignore"):
        for _ in range(150):
            loss, gradient = loss_of(x @ w, part.labels)
            step(w, x.T @ gradient, v, 0.01, 0.9, 0.0005)
            losses.append(float(loss))
    return bool(losses[-1] < 0.05), (
        f"the loss of 32 images is {losses[0]:.3g} at first and {losses[-1]:.3g} after "
        "150 steps; expected 2.303, then less than 0.05"
    )


def check_softmax_cross_entropy(m: ModuleType) -> Iterator[Case]:
    logits = np.array([[0.0, 0.0], [1000.0, 998.0]])
    labels = np.array([1, 1])
    rng = np.random.default_rng(8)
    z = rng.standard_normal((5, 4)) * 3
    t = np.array([2, 0, 3, 3, 1])

    def loss(z: np.ndarray, t: np.ndarray) -> float:
        return float(m.softmax_cross_entropy(z.copy(), t)[0])

    def gradient(z: np.ndarray, t: np.ndarray) -> np.ndarray:
        return m.softmax_cross_entropy(z.copy(), t)[1]

    def pair() -> tuple[bool, str]:
        result = m.softmax_cross_entropy(z.copy(), t)
        if not isinstance(result, tuple) or len(result) != 2:
            return False, ("expected two results, (loss, gradient), got "
                           f"{'None' if result is None else type(result).__name__}")
        if np.ndim(result[0]) == 2 and np.ndim(result[1]) == 0:
            return False, "the two results are exchanged: the loss comes first, then the gradient"
        shape = np.shape(result[0])
        return shape == (), (f"the loss should be one number, and has shape {shape}: a mean over "
                             "the batch, without keepdims")

    yield Holds("what comes back", pair)
    yield Same("five rows of four classes: the loss", lambda: loss(z, t), naive_loss(z, t)[0])
    yield Same(
        "five rows of four classes: the gradient", lambda: gradient(z, t), naive_loss(z, t)[1]
    )
    yield Same(
        "the example: the loss",
        lambda: loss(logits, labels),
        (np.log(2) + 2 + np.log1p(np.exp(-2))) / 2,
    )
    p = 1 / (1 + np.exp(-2))
    yield Same(
        "the example: the gradient",
        lambda: gradient(logits, labels),
        np.array([[0.25, -0.25], [p / 2, -p / 2]]),
    )
    far = np.array([[10_000.0, -10_000.0, 0.0], [-10_000.0, -10_000.0, -10_001.0]])
    yield Same(
        "logits of 10,000 and -10,000: the loss",
        lambda: loss(far, np.array([1, 2])),
        (20_000 + 1 + np.log(2 + np.exp(-1))) / 2,
    )
    yield Same("one row and one class: the loss", lambda: loss(z[:1, :1], t[:1] * 0), 0.0)
    zeros = np.where(z > 0, 0.0, -1e6)
    yield Same(
        "logits of 0 and -1,000,000: the gradient",
        lambda: gradient(zeros, t),
        naive_loss(zeros, t)[1],
    )
    yield Holds("float32 in, a gradient of float32 out", lambda: _single(m, z, t))
    yield Holds("the logits are left alone", lambda: _alone(m, z, t))
    yield Holds(
        "32 images are learnt by heart", lambda: _by_heart(_momentum, m.softmax_cross_entropy)
    )


def _single(m: ModuleType, z: np.ndarray, t: np.ndarray) -> tuple[bool, str]:
    got = np.asarray(m.softmax_cross_entropy(z.astype(np.float32), t)[1]).dtype
    return got == np.float32, f"the gradient came as {got}"


def _alone(m: ModuleType, z: np.ndarray, t: np.ndarray) -> tuple[bool, str]:
    given = z.copy()
    m.softmax_cross_entropy(given, t)
    return np.array_equal(
        given, z
    ), "the logits have changed: logits -= ... works in place, z = logits - ... does not"


def check_loss_at_start(m: ModuleType) -> Iterator[Case]:
    for classes in (10, 100, 1000):
        yield Answer(
            f"the first loss with {classes} classes",
            lambda k=classes: m.LOSS_AT_START[k],
            np.log(classes),
            within=0.001,
        )


def check_resume(m: ModuleType) -> Iterator[Case]:
    w = np.array([4.0, -3.0, 0.5])

    def whole(steps: int) -> np.ndarray:
        """The uninterrupted run, written out once more."""
        weights = w.copy()
        velocity = np.zeros(3)
        for step in range(steps):
            noise = np.random.default_rng(step).standard_normal(3)
            velocity *= 0.9
            velocity -= (0.1 if step < 20 else 0.01) * (weights + noise)
            weights += velocity
        return weights

    def parted(before: int, after: int) -> np.ndarray:
        run = m.start(w)
        m.go_on(run, before)
        state = m.save(run)
        run = m.resume(state)
        m.go_on(run, after)
        return run["w"]

    def late() -> np.ndarray:
        run = m.start(w)
        m.go_on(run, 7)
        state = m.save(run)
        m.go_on(run, 9)  # the run continues after the checkpoint, and is interrupted only now
        again = m.resume(state)
        m.go_on(again, 5)
        return again["w"]

    def twice() -> np.ndarray:
        run = m.start(w)
        m.go_on(run, 7)
        state = m.save(run)
        first = m.resume(state)
        m.go_on(first, 5)
        second = m.resume(state)
        m.go_on(second, 5)
        return second["w"]

    exact = {"rtol": 0.0, "atol": 0.0}
    yield Same("30 steps without a stop", lambda: _straight(m, w), whole(30), **exact)
    yield Same(
        "7 steps, save, resume, 5 steps: the weights to the bit",
        lambda: parted(7, 5),
        whole(12),
        **exact,
    )
    yield Same(
        "15 steps, save, resume, 15 steps: past the drop",
        lambda: parted(15, 15),
        whole(30),
        **exact,
    )
    yield Same("the run continues after save; the state must not change", late, whole(12), **exact)
    yield Same("two runs from one state", twice, whole(12), **exact)


def _straight(m: ModuleType, w: np.ndarray) -> np.ndarray:
    run = m.start(w)
    m.go_on(run, 30)
    return run["w"]


# softmax_cross_entropy's way to the loss, and the one that goes over the probabilities
STABLE = """    z = logits - logits.max(axis=1, keepdims=True)
    e = np.exp(z)
    total = e.sum(axis=1)
    loss = float((np.log(total) - z[rows, labels]).mean())
"""
NAIVE = """    e = np.exp(logits - {})
    total = e.sum(axis=1)
    loss = float(-np.log((e / total[:, None])[rows, labels]).mean())
"""

EXERCISES = (
    Exercise(
        "8.1",
        "sgd_step",
        "the paper's update, in place",
        check_sgd_step,
        in_place=("w", "v"),
        hints=(
            "four lines: v shrinks, the decay goes in, the gradient goes in, w moves",
            "v *= momentum changes the array itself; v = momentum * v makes a new one",
            "lr multiplies the decay and the gradient, both inside v; w += v has no lr any more",
        ),
        bugs=(
            Bug(
                "momentum sign",
                "the velocity is reversed at every step: multiply v by +momentum",
                old="v *= momentum",
                new="v *= -momentum",
            ),
            Bug(
                "torch's form",
                "this is torch's update, with lr outside the velocity: it takes the same steps "
                "until lr changes. In the paper lr is inside v",
                old="    v -= weight_decay * lr * w\n    v -= lr * g\n    w += v",
                new="    v += weight_decay * w + g\n    w -= lr * v",
            ),
            Bug(
                "velocity not kept",
                "the step is right, but the caller's v is unchanged: v = momentum * v - ... gives "
                "the name v to a new array, so the next step has no momentum. Use v *= or v[...] =",
                old="    v *= momentum\n",
                new="    v = v * momentum\n",
            ),
            Bug(
                "an average of gradients",
                "the gradient is multiplied by 1 - momentum: that is a running mean (as in Adam); "
                "the paper adds lr g in full",
                old="v -= lr * g",
                new="v -= (1 - momentum) * lr * g",
            ),
            Bug(
                "velocity subtracted",
                "v points downhill already, since the gradient is subtracted in it: w += v",
                old="w += v",
                new="w -= v",
            ),
            Bug(
                "Nesterov",
                "this is Nesterov's step, which looks ahead: w moves by momentum v - lr g with "
                "the new v. The paper's w moves by v",
                old="w += v",
                new="w += momentum * v - lr * (g + weight_decay * w)",
            ),
            Bug(
                "lr twice",
                "lr is in the velocity already; it does not multiply it once more",
                old="w += v",
                new="w += lr * v",
            ),
            Bug(
                "decay without lr",
                "the decay is multiplied by lr too: weight_decay lr w",
                old="weight_decay * lr * w",
                new="weight_decay * w",
            ),
            Bug(
                "decay sign",
                "the decay makes weights grow: it should be subtracted from the velocity, not "
                "added",
                old="v -= weight_decay",
                new="v += weight_decay",
            ),
            Bug(
                "uphill",
                "this moves up the gradient: subtract lr g",
                old="v -= lr * g",
                new="v += lr * g",
            ),
            Bug(
                "decay after the step",
                "the decay is taken off the weights, after the step: it belongs into the velocity",
                old="    v -= weight_decay * lr * w\n    v -= lr * g\n    w += v",
                new="    v -= lr * g\n    w += v\n    w -= weight_decay * lr * w",
            ),
            Bug(
                "no decay",
                "where is the decay? Subtract weight_decay lr w from the velocity",
                old="    v -= weight_decay * lr * w\n",
                new="",
            ),
            Bug(
                "no momentum",
                "the old velocity is lost: v keeps momentum times what it was",
                old="v *= momentum",
                new="v *= 0",
            ),
            Bug(
                "not in place",
                "w and v are unchanged: w = w + v gives the name w to a new array, and the "
                "caller's array stays as it was. Use +=, *= or v[...] =",
                old="    v *= momentum\n",
                new="    w, v = w.copy(), v.copy() * momentum\n",
            ),
            Bug(
                "decay of the new weights",
                "the decay uses the w from before the step, not from after it",
                old="    v -= weight_decay * lr * w\n    v -= lr * g\n    w += v",
                new="    v -= lr * g\n    w += v\n    v -= weight_decay * lr * w\n    w -= "
                "weight_decay * lr * w",
            ),
        ),
    ),
    Exercise(
        "8.2",
        "softmax_cross_entropy",
        "the loss and its gradient, stable",
        check_softmax_cross_entropy,
        hints=(
            "subtract the largest logit of each row from the row first: logits.max(axis=1, "
            "keepdims=True)",
            "with z the logits after that: loss_n = np.log(np.exp(z[n]).sum()) - z[n, labels[n]]",
            "z[np.arange(N), labels] picks one number per row; the gradient is the probabilities "
            "minus 1 there, all divided by N",
        ),
        bugs=(
            Bug(
                "sum for mean",
                "the loss is N times too large: mean over the batch, not sum",
                old="(np.log(total) - z[rows, labels]).mean()",
                new="(np.log(total) - z[rows, labels]).sum()",
            ),
            Bug(
                "gradient without 1 / N",
                "the loss is a mean, so the gradient is divided by N, too",
                old="    gradient /= len(labels)\n",
                new="",
            ),
            Bug(
                "gradient's sign",
                "the sign of the gradient is wrong: p - onehot, not onehot - p",
                old="gradient /= len(labels)",
                new="gradient /= -len(labels)",
            ),
            Bug(
                "1 from every row",
                "p[:, labels] takes the columns of all labels in every row: 1 is subtracted from "
                "each of them. One number per row is p[np.arange(N), labels]",
                old="gradient[rows, labels] -= 1",
                new="gradient[:, labels] -= 1",
            ),
            Bug(
                "no onehot",
                "these are the probabilities: subtract 1 from that of the right class",
                old="    gradient[rows, labels] -= 1\n",
                new="",
            ),
            Bug(
                "logarithm to base 2",
                "this is the loss in bits; use the natural logarithm",
                old="np.log(total) - z[rows, labels]",
                new="(np.log(total) - z[rows, labels]) / np.log(2)",
            ),
            Bug(
                "overflow",
                "exp(1000) overflows to infinity: subtract the largest logit of each row first",
                old="z = logits - logits.max(axis=1, keepdims=True)",
                new="z = logits - 0",
            ),
            Bug(
                "largest of the whole batch",
                "subtract the largest logit of each row, not of the batch: in a row far below it "
                "every exp is 0",
                old="logits.max(axis=1, keepdims=True)",
                new="logits.max()",
            ),
            Bug(
                "logarithm of a probability",
                "a probability may be rounded to 0, and its logarithm is then infinite: ln(sum "
                "of exp) - logit never is",
                old="np.log(total) - z[rows, labels]",
                new="-np.log(e[rows, labels] / total)",
            ),
            Bug(
                "overflow, and nan",
                "exp(1000) overflows to infinity, inf / inf is nan, and so is its logarithm: "
                "subtract the largest logit of each row first",
                old=STABLE,
                new=NAIVE.format("0"),
            ),
            Bug(
                "largest of the whole batch, and a logarithm of p",
                "subtract the largest logit of each row, not of the batch: in a row far below it "
                "every exp is 0, and 0 / 0 is nan",
                old=STABLE,
                new=NAIVE.format("logits.max()"),
            ),
            Bug(
                "largest, but not below 0",
                "the maximum starts at 0: in a row of logits far below 0 every exp is 0. Subtract "
                "the row's own largest logit",
                old="logits.max(axis=1, keepdims=True)",
                new="np.maximum(logits.max(axis=1, keepdims=True), 0)",
            ),
            Bug(
                "largest, but not below 0, and a logarithm of p",
                "the maximum starts at 0: in a row of logits far below 0 every exp is 0, and "
                "0 / 0 is nan. Subtract the row's own largest logit",
                old=STABLE,
                new=NAIVE.format("np.maximum(logits.max(axis=1, keepdims=True), 0)"),
            ),
            *(
                Bug(
                    f"a probability of at least {eps:g}",
                    f"log(p + {eps:g}), or p clipped there: the loss of a row can then not be "
                    f"larger than {-np.log(eps):.1f}, and a very wrong row looks like a wrong one. "
                    "ln(sum of exp) - logit needs no such crutch",
                    old="(np.log(total) - z[rows, labels]).mean()",
                    new=f"(-np.log(e[rows, labels] / total + {eps:g})).mean()",
                )
                for eps in (1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12, 1e-15, 1e-16)
            ),
            Bug(
                "softmax over the batch",
                "the sum runs over the classes, axis 1: one sum per row",
                old="e.sum(axis=1)",
                new="e.sum(axis=0).sum() * np.ones(len(e))",
            ),
        ),
    ),
    Exercise(
        "8.3",
        "LOSS_AT_START",
        "where the loss starts",
        check_loss_at_start,
        hints=(
            "all logits are 0: which probability does softmax give to each of C classes?",
            "the loss is minus the natural logarithm of that probability",
        ),
        bugs=(
            Bug(
                "decimal logarithm",
                "this is the logarithm to base 10; the loss uses the natural one",
                old="{10: 2.303, 100: 4.605, 1000: 6.908}",
                new="{10: 1.0, 100: 2.0, 1000: 3.0}",
            ),
            Bug(
                "bits",
                "this is the logarithm to base 2; the loss takes the natural one",
                old="{10: 2.303, 100: 4.605, 1000: 6.908}",
                new="{10: 3.3219, 100: 6.6439, 1000: 9.9658}",
            ),
            Bug(
                "sign",
                "the logarithm of a probability is negative, and the loss is minus that",
                old="{10: 2.303, 100: 4.605, 1000: 6.908}",
                new="{10: -2.303, 100: -4.605, 1000: -6.908}",
            ),
            Bug(
                "a probability",
                "this is the probability of a class; the loss is minus its logarithm",
                old="{10: 2.303, 100: 4.605, 1000: 6.908}",
                new="{10: 0.1, 100: 0.01, 1000: 0.001}",
            ),
            Bug(
                "an error rate",
                "this is the share of wrong guesses; the loss is minus the logarithm of the "
                "share of right ones",
                old="{10: 2.303, 100: 4.605, 1000: 6.908}",
                new="{10: 0.9, 100: 0.99, 1000: 0.999}",
            ),
        ),
    ),
    Exercise(
        "8.4",
        "resume",
        "a run that resumes, but not exactly: fix it",
        check_resume,
        also=("save",),
        hints=(
            "compare a run of 12 steps with one of 7 + 5, number by number, and look at run as a "
            "whole after resume",
            "which three things does a run hold, and which of them does save keep?",
            "arrays that change in place are shared when they are not copied: .copy() in save "
            "and in resume",
        ),
        bugs=(
            Bug(
                "the velocity is forgotten",
                "after resume the velocity is 0: the ten steps before the stop are forgotten. It "
                "has to be saved and restored",
                old='"v": state["v"].copy(), "step"',
                new='"v": np.zeros_like(state["v"]), "step"',
            ),
            Bug(
                "the step is forgotten",
                "after resume the step's number is 0 again: the noise is different, and the rate "
                "is the initial one",
                old='"step": state["step"]',
                new='"step": 0',
            ),
            Bug(
                "nothing copied in save",
                "the state holds the run's own arrays, which keep changing: copy them in save",
                old='"w": run["w"].copy(), "v": run["v"].copy()',
                new='"w": run["w"], "v": run["v"]',
            ),
            Bug(
                "weights not copied in save",
                "the state holds the run's own array of weights, which keeps changing: copy it "
                "in save",
                old='"w": run["w"].copy()',
                new='"w": run["w"]',
            ),
            Bug(
                "velocity not copied in save",
                "the state holds the run's own velocity, which keeps changing: copy it in save",
                old='"v": run["v"].copy()',
                new='"v": run["v"]',
            ),
            Bug(
                "the state handed out",
                "resume returns the state itself: the run goes on in it, and a second run from "
                "it starts where the first one stopped. Copy w and v into a new run",
                old='return {"w": state["w"].copy(), "v": state["v"].copy(), "step": '
                'state["step"]}',
                new="return state",
            ),
            Bug(
                "not copied in resume",
                "the second run from the same state starts where the first one stopped: copy in "
                "resume, too",
                old='return {"w": state["w"].copy(), "v": state["v"].copy()',
                new='return {"w": state["w"], "v": state["v"]',
            ),
            Bug(
                "velocity not copied in resume",
                "the second run from the same state starts with the velocity at the end of the "
                "first one: copy it in resume, too",
                old='"v": state["v"].copy(), "step"',
                new='"v": state["v"], "step"',
            ),
        ),
    ),
)
