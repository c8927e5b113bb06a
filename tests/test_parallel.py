"""Training on several ranks: the same images, masks and sums as in one process. Ranks are threads here; processes
are in test_mpi.py."""
import numpy as np
import pytest

import minitorch_alex as mt
from minitorch_alex import functional as F
from minitorch_alex.tensor import Tensor


@pytest.mark.parametrize("shape", ((7, 5), (7, 3, 4, 4)))
def test_an_image_has_its_dropout_mask_in_any_part_of_the_batch(shape):
    x = Tensor(np.ones(shape, np.float32))
    mt.manual_seed(3)
    mt.set_step(11)
    whole = [F.dropout(x).data, F.dropout(x).data]
    for first, stop in ((0, 7), (0, 3), (3, 4), (4, 7), (7, 7)):
        mt.set_step(11, first)
        own = Tensor(x.data[first:stop])
        for mask in whole:
            assert np.array_equal(F.dropout(own).data, mask[first:stop])
    mt.set_step(11)  # the next step begins with the whole batch again
    assert np.array_equal(F.dropout(x).data, whole[0])
    assert not np.array_equal(whole[0], whole[1])
