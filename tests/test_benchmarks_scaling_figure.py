"""The pictures of docs/scaling.md: what the page says stands in the record, and the record is what the model says."""
import json
import re
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import scaling_figure

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
RECORD = json.loads(scaling_figure.RECORD.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def layers():
    return scaling_figure.alexnet()


def test_the_record_is_what_the_model_says_today(layers):
    now = json.loads(json.dumps(scaling_figure.numbers(layers)))
    assert {name: RECORD[name] for name in now} == now, "run python -m benchmarks.scaling_figure"


def test_the_page_says_what_the_record_says():
    for ranks, images, *percent in re.findall(r"\| ([\d,]+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|", PAGE):
        place = RECORD["ranks"].index(int(ranks.replace(",", "")))
        for kind, number in zip(("data", "data, overlapped", "hybrid"), percent, strict=True):
            assert round(100 * RECORD["weak"][f"{kind}, {images} images a rank"][place]) == int(number)
    for name in ("column_bytes_per_image", "hybrid_bytes_per_image", "columns_cross_at", "hybrid_crosses_at"):
        assert f"{RECORD[name]:,}" in PAGE, name
    assert f"{RECORD['gradient_bytes'] / 1e6:.1f} MB" in PAGE and f"{RECORD['hybrid_bytes'] / 1e6:.1f} MB" in PAGE
    by_name = {(point["what"], point["ranks"]): point["efficiency"] for point in RECORD["published"]}
    for what, ranks, percent in (("data, V100", (2, 3, 4), "86, 67, 55 %"),
                                 ("hybrid, 2014", (2, 4, 8), "98, 94, 78 %")):
        assert ", ".join(f"{100 * by_name[what, n]:.0f}" for n in ranks) + " %" == percent
        assert percent in PAGE
    for batch in RECORD["batches"]:
        assert f"| {batch['size']:,} | {batch['accuracy']:.1f} % * |" in PAGE, "none of them is checked at its source"


def test_waiting_in_2014_follows_from_the_hours():
    """Seconds of a step of 128 images a GPU: 90 epochs of 1,281,167 images."""
    def step(hours, gpus):
        return 1000 * 3600 * hours / (90 * 1_281_167 / (128 * gpus))

    alone = step(98.05, 1)
    waits = [round(step(hours, gpus) - alone) for hours, gpus in ((50.24, 2), (26.20, 4), (15.68, 8))]
    assert waits == [10, 27, 109] and "10, 27 and 109 ms" in PAGE


def test_both_pictures_are_drawn(layers, tmp_path):
    paths = [tmp_path / "efficiency.png", tmp_path / "bytes.png"]
    points = [{"ranks": 2, "efficiency": 0.9, "what": "alexnet_cifar"}]
    scaling_figure.draw_efficiency(layers, points, paths[0])
    scaling_figure.draw_bytes(layers, paths[1])
    for path in paths:
        assert Image.open(path).size[0] > 1000


def test_the_page_says_what_was_measured_between_hosts():
    record = json.loads((ROOT / "results" / "hosts.json").read_text(encoding="utf-8"))
    efficiency = {point["what"]: point["efficiency"] for point in record["points"]}
    for rate, ratios in record["ratios"].items():
        cells = [f"{ratios[kind]:.2f}" for kind in ("data", "data, overlapped", "columns", "hybrid")]
        name = f"{record['network']}, {rate} Mbit/s"
        cells.append(f"{100 * efficiency[name]:.0f} %")
        assert f"| {rate} Mbit/s | {' | '.join(cells)} |" in PAGE
        assert all(abs(1 - ratio) <= 0.15 for ratio in ratios.values()), "Every prediction is within 15 %"
    sample = record["samples"]["1000"]
    waits = [sample["steps"][kind]["measured"] - sample["alone"] for kind in ("data", "data, overlapped")]
    assert f"{100 * (1 - waits[1] / waits[0]):.0f} % of the waiting goes" in PAGE
