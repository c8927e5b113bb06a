"""The checks of lesson 10: what several ranks make of one batch and of one network."""

from collections.abc import Iterator
from types import ModuleType

import numpy as np

from minitorch_alex.check import Bug, Case, Exercise, Same

# how many images each rank has
COUNTS = ((2, 2), (3, 1), (4, 3), (1, 1, 1, 1), (5, 0, 2), (0, 0, 3), (6,))
# how many features each rank has
WIDTHS = ((2, 2), (3, 1), (1, 2, 3), (4,))


def check_batch_gradient(m: ModuleType) -> Iterator[Case]:
    one = np.array([1.0, 0.0])
    other = np.array([0.0, 1.0])
    yield Same(
        "the example: three images and one",
        lambda: m.batch_gradient([one.copy(), other.copy()], [3, 1]),
        np.array([0.75, 0.25]),
    )
    yield Same(
        "a rank without images",
        lambda: m.batch_gradient([None, other.copy()], [0, 4]),
        other,
    )
    rng = np.random.default_rng(101)
    for counts in COUNTS:
        batch = rng.standard_normal((sum(counts), 3, 2))  # a gradient for each image
        ends = np.cumsum(counts)
        parts = [
            batch[end - n:end].mean(axis=0) if n else None
            for n, end in zip(counts, ends, strict=True)
        ]
        yield Same(
            f"parts of {', '.join(map(str, counts))} images",
            lambda p=parts, c=counts: m.batch_gradient(list(p), list(c)),
            batch.mean(axis=0),
        )


def check_gather_backward(m: ModuleType) -> Iterator[Case]:
    a = np.array([[1.0, 2.0, 3.0]])
    b = np.array([[10.0, 20.0, 30.0]])
    for rank, expected in ((0, [[11.0, 22.0]]), (1, [[33.0]])):
        yield Same(
            f"the example, rank {rank}",
            lambda r=rank: m.gather_backward([a.copy(), b.copy()], [2, 1], r),
            np.array(expected),
        )
    rng = np.random.default_rng(102)
    for widths in WIDTHS:
        gradients = [rng.standard_normal((2, sum(widths))) for _ in widths]
        total = np.sum(gradients, axis=0)
        ends = np.cumsum(widths)
        for rank, width in enumerate(widths):
            yield Same(
                f"columns of {', '.join(map(str, widths))} features, rank {rank}",
                lambda g=gradients, w=widths, r=rank: m.gather_backward(list(g), list(w), r),
                total[:, ends[rank] - width:ends[rank]],
            )


EXERCISES = (
    Exercise(
        "10.1",
        "batch_gradient",
        "the gradient of a batch from those of its parts",
        check_batch_gradient,
        hints=(
            "What does one image count in the mean over the batch, and what in the mean over its "
            "part?",
            "Each part's mean times n / B, and the sum of that. Leave out the ranks without images.",
        ),
        bugs=(
            Bug(
                "average of averages",
                "the parts count alike, so the images of a small part count more; each part should "
                "count as many times as it has images",
                old="g * (n / total)",
                new="g / len(counts)",
            ),
            Bug(
                "average over the ranks with images",
                "the parts count alike, so the images of a small part count more; each part should "
                "count as many times as it has images",
                old="g * (n / total)",
                new="g / sum(c > 0 for c in counts)",
            ),
            Bug(
                "sum of means",
                "the means are added as they are: the gradient grows with the number of ranks",
                old="g * (n / total)",
                new="g",
            ),
            Bug(
                "not divided",
                "that is the sum over all images; the loss is their mean",
                old="g * (n / total)",
                new="g * n",
            ),
            Bug(
                "divided twice",
                "the shares already add up to 1; here it is divided by the number of ranks as well",
                old="g * (n / total)",
                new="g * (n / total) / len(counts)",
            ),
        ),
    ),
    Exercise(
        "10.2",
        "gather_backward",
        "what comes back where columns meet",
        check_gather_backward,
        hints=(
            "x_rank went to every rank. What happens to the gradients of a value that is used "
            "several times?",
            "Add up what all ranks have found, then cut out the columns that begin at "
            "sum(widths[:rank]).",
        ),
        bugs=(
            Bug(
                "own gradient only",
                "this is what the rank itself has found for its part; the others have used that "
                "part too, and their gradients belong to it",
                old="total = sum(gradients[1:], gradients[0])",
                new="total = gradients[rank]",
            ),
            Bug(
                "mean",
                "the gradients of a value that was copied are added, not averaged",
                old="total = sum(gradients[1:], gradients[0])",
                new="total = sum(gradients[1:], gradients[0]) / len(gradients)",
            ),
            Bug(
                "the others only",
                "the rank's own gradient for its part is missing",
                old="total = sum(gradients[1:], gradients[0])",
                new="total = sum(gradients[1:], gradients[0]) - gradients[rank]",
            ),
            Bug(
                "not cut",
                "that is the gradient of the joined array; x of this rank is only a part of it",
                old="total[:, start:start + widths[rank]]",
                new="total",
            ),
            Bug(
                "even parts",
                "the parts are taken to be of one width; they begin at the sum of the widths before",
                old="start = sum(widths[:rank])",
                new="start = rank * widths[rank]",
            ),
        ),
    ),
)
