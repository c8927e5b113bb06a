"""Lesson 8, training: the solutions. Read them after yours pass the check."""
import numpy as np


def sgd_step(
    w: np.ndarray, g: np.ndarray, v: np.ndarray, lr: float, momentum: float, weight_decay: float
) -> None:
    """8.1: one step of the paper's update (section 5), in place.

    Commentary: the order matters: the decay uses the weights from before the step. In place
    matters too: a network's layers hold these very arrays. The rate is inside the velocity, so
    after a drop of the rate the old velocity lives on for some ten steps; in torch's form, with
    the rate outside, the weights are the same until then.
    """
    v *= momentum
    v -= weight_decay * lr * w
    v -= lr * g
    w += v


def softmax_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """8.2: the mean loss over a batch, and its gradient.

    Commentary: softmax does not change when the same number is subtracted from all logits, so the
    largest becomes 0 and nothing overflows. And the loss is never the logarithm of a probability,
    which may have become 0: it is ln sum exp - logit. The 1 / N belongs to the gradient as it does
    to the mean; without it the rate would depend on the batch.
    """
    rows = np.arange(len(labels))
    z = logits - logits.max(axis=1, keepdims=True)
    e = np.exp(z)
    total = e.sum(axis=1)
    loss = float((np.log(total) - z[rows, labels]).mean())
    gradient = e / total[:, None]
    gradient[rows, labels] -= 1
    gradient /= len(labels)
    return loss, gradient


# 8.3: ln 10, ln 100, ln 1000: the loss at chance level.
LOSS_AT_START = {10: 2.303, 100: 4.605, 1000: 6.908}


# 8.4

def start(w: np.ndarray) -> dict:
    """A new run from the weights w."""
    return {"w": w.copy(), "v": np.zeros_like(w), "step": 0}


def go_on(run: dict, steps: int) -> None:
    """`steps` more steps, in place."""
    for _ in range(steps):
        noise = np.random.default_rng(run["step"]).standard_normal(run["w"].shape)
        lr = 0.1 if run["step"] < 20 else 0.01
        run["v"] *= 0.9
        run["v"] -= lr * (run["w"] + noise)
        run["w"] += run["v"]
        run["step"] += 1


def save(run: dict) -> dict:
    """What has to be kept of the run: its weights, its velocity, the number of its step.

    Commentary: the velocity was missing. It is a copy, because the run continues in the same
    arrays and would change what was saved; a real checkpoint gets that for free by being written
    to a file. Schedule and noise need no state of their own: both are functions of the step.
    """
    return {"w": run["w"].copy(), "v": run["v"].copy(), "step": run["step"]}


def resume(state: dict) -> dict:
    """The run from which save took `state`.

    Commentary: a resumed run that starts with a velocity of 0 takes another path to a similar
    loss, and nobody notices. Only an exact comparison shows it. Copies are needed again: two runs
    may be resumed from one state.
    """
    return {"w": state["w"].copy(), "v": state["v"].copy(), "step": state["step"]}
