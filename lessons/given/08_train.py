"""Lesson 8, training: the exercises.

    python -m minitorch_alex.check 08            are they right?
    python -m minitorch_alex.check 8.1 --hint    a nudge

8.1 and 8.2 become part of your own AlexNet in lesson 09. Use NumPy only.
"""
import numpy as np


def sgd_step(
    w: np.ndarray, g: np.ndarray, v: np.ndarray, lr: float, momentum: float, weight_decay: float
) -> None:
    """8.1: one step of the paper's update (section 5), in place.

        v := momentum v - weight_decay lr w - lr g        (with the w from before the step)
        w := w + v

    w, g and v are arrays of the same shape, any shape: weights, their gradient, their velocity.
    Change the numbers in w and v themselves (w += ..., v *= ..., v[...] = ...); w = w + v would
    only give a new array a name. g stays as it is. Nothing is returned. The dtypes stay the same,
    too.

        w = np.array([1.0, -2.0]); g = np.array([10.0, 4.0]); v = np.array([0.5, 0.0])
        sgd_step(w, g, v, lr=0.1, momentum=0.5, weight_decay=0.2)
        v      0.25 - 0.02 - 1.0 and 0 + 0.04 - 0.4:      array([-0.77, -0.36])
        w                                                 array([ 0.23, -2.36])
    """
    raise NotImplementedError("exercise 8.1: sgd_step")


def softmax_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """8.2: the mean loss over a batch, and its gradient.

        logits (N, K), labels (N,) integers in 0..K-1
        p[n, k] = exp(logits[n, k]) / sum over j of exp(logits[n, j])
        loss    = mean over n of   -ln p[n, labels[n]]
        gradient, (N, K), of the mean loss with respect to the logits:  (p - onehot) / N,
                  with onehot[n, k] = 1 where k is labels[n], and 0 elsewhere

    Returns (loss, gradient), the gradient in the dtype of logits. Logits may be as large as 10,000
    or as low as -10,000: no overflow, no nan, and no infinite loss. So p alone is not enough for
    the loss, since p may be rounded to 0: use -ln p = ln(sum of exp) - logit. Do not change
    logits.

        logits = np.array([[0.0, 0.0], [1000.0, 998.0]]); labels = np.array([1, 1])
        loss       (0.693147 + 2.126928) / 2 = 1.410038
        gradient   array([[ 0.25, -0.25], [ 0.440399, -0.440399]])
    """
    raise NotImplementedError("exercise 8.2: softmax_cross_entropy")


# 8.3: at which loss does a network whose logits are all 0 start? Answer for 10, 100 and 1000
# classes, to three decimals.
LOSS_AT_START = {10: None, 100: None, 1000: None}


# 8.4: a run that can be stopped. start() begins one, go_on() runs more steps, save() returns what
# a checkpoint would contain, and resume() makes a run from it. A run that is saved, resumed and
# continued must end with exactly the weights, to the bit, of the run that is not interrupted. It
# does not. Find out why, and fix it. start and go_on are right.

def start(w: np.ndarray) -> dict:
    """A new run from the weights w."""
    return {"w": w.copy(), "v": np.zeros_like(w), "step": 0}


def go_on(run: dict, steps: int) -> None:
    """`steps` more steps, in place: minimise |w|^2 / 2 with a noisy gradient; the noise is a
    function of the step's number. The rate drops to a tenth at step 20.
    """
    for _ in range(steps):
        noise = np.random.default_rng(run["step"]).standard_normal(run["w"].shape)
        lr = 0.1 if run["step"] < 20 else 0.01
        run["v"] *= 0.9
        run["v"] -= lr * (run["w"] + noise)
        run["w"] += run["v"]
        run["step"] += 1


def save(run: dict) -> dict:
    """What has to be kept of the run. It does not change when the run continues."""
    return {"w": run["w"].copy(), "step": run["step"]}


def resume(state: dict) -> dict:
    """The run from which save took `state`. More than one run may be resumed from the same state.
    """
    return {"w": state["w"].copy(), "v": np.zeros_like(state["w"]), "step": state["step"]}
