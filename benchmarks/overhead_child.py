"""The child of benchmarks.overhead: training steps of one network by the package of one checkout.

Only the standard library is imported at the top, because the checkout is chosen by the job.
"""
import sys
from pathlib import Path
from statistics import median

from . import harness


def measure(job: dict) -> harness.Sample:
    """Speed in images per second, and the loss after the steps that warm up: of two checkouts that
    compute the same it is the same, to the bit."""
    sys.path.insert(0, job["checkout"])
    import numpy as np

    import minitorch_alex as mt
    from minitorch_alex import functional, kernels, models, optim

    from . import small_nets

    if not Path(mt.__file__).is_relative_to(job["checkout"]):
        raise RuntimeError(f"the package comes from {mt.__file__}, not from {job['checkout']}")
    kernels.keep_freed_memory()
    mt.manual_seed(0)
    own = {"net_8": small_nets.net_8, "net_w2": small_nets.net_w2}
    model = own[job["net"]]() if job["net"] in own else models.build(job["net"], 10)
    optimizer = optim.SGD(model.parameters(), lr=0.001, momentum=0.9, weight_decay=5e-4)
    rng = np.random.default_rng(0)
    shape = (job["batch"], job["size"], job["size"], 3)
    images = rng.standard_normal(shape, np.float32).transpose(0, 3, 1, 2)  # NHWC, seen as NCHW
    labels = rng.integers(0, 10, job["batch"])

    def step() -> float:
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(mt.Tensor(images)), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    losses = [step() for _ in range(job["warm_up"])]
    result: harness.Sample = {"loss": losses[-1]}
    with harness.metered(result):
        times = harness.time_steps(step, 0, job["least"], job["seconds"])
    result["train"] = job["batch"] / median(times)
    return result


if __name__ == "__main__":
    harness.answer({"measure": measure})
