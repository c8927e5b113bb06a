"""What a training counts: sums that wait for nobody, a clock that can stand still, a state that comes back."""
import json
import time

import numpy as np

from minitorch_alex.tensor import Tensor
from minitorch_alex.training.progress import Meter, Progress, Stopwatch, measure


def test_a_meter_is_the_mean_over_images_and_not_over_batches():
    meter = Meter()
    meter.add(2.0 * 30, 15, 30)
    meter.add(np.float64(1.0 * 10), np.float64(1), 10)
    meter.read()
    assert (meter.mean_loss, meter.error) == (70 / 40, 100 * 16 / 40)
    assert all(type(value) is float for value in (meter.loss, meter.wrong, meter.images))


def test_what_a_batch_adds():
    """Two of three are right; the loss is summed in float64."""
    logits = Tensor(np.float32([[1, 0], [0, 1], [0, 1]]))
    loss, wrong, images = measure(Tensor(np.float32(0.5)), logits, np.array([0, 1, 0]))
    assert (loss, wrong, images) == (1.5, 1, 3)
    assert loss.dtype == wrong.dtype == np.float64


def test_a_stopwatch_goes_on_from_earlier_seconds_and_stands_still_in_a_pause():
    watch = Stopwatch(100.0)
    with watch.pause():
        time.sleep(0.2)
    assert 100 <= watch.seconds < 100.15
    time.sleep(0.02)
    assert watch.seconds >= 100.02


def test_progress_survives_the_json_of_a_checkpoint():
    progress = Progress(2, 7, 47, 12.25, Meter(3.5, 9.0, 140.0))
    meta = json.loads(json.dumps(progress.to_meta()))
    assert meta == {"epoch": 2, "batch": 7, "step": 47, "seconds": 12.25, "sums": [3.5, 9.0, 140.0]}
    assert Progress.from_meta(meta) == progress
    progress.start_next_epoch()
    assert progress == Progress(3, 0, 47, 12.25)
