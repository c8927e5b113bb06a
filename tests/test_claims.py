"""docs/results.md says what the records say, whichever of them exist."""
import json
import re

import pytest

from benchmarks import claims
from minitorch_alex.claims import CLAIMS
from minitorch_alex.errors import DataError


def training(seed, error, run=None):
    return {"seed": seed, "test_error": error, "train_error": 20.0, "val_error": 30.0,
            "last_loss": 1.0, "seconds": 60.0, **({"run": run} if run else {})}


def ablation(name, **variants):
    return {"name": name, "classes": 10, "seeds": 2, "commit": "abc", "device": "a machine",
            "date": "2026-01-01", "command": f"python -m minitorch_alex.ablate {name}",
            "variants": {v: [training(i, e, f"{v}-{i}") for i, e in enumerate(errors)]
                         for v, errors in variants.items()}}


def test_the_committed_page_is_the_generated_one():
    page = (claims.ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    expected = claims.page(claims.load(claims.ROOT / "results"))
    assert page == expected, "run python -m benchmarks.claims"
    for link in re.findall(r"\]\(((?!http|#)[^)]+)\)", page):
        assert (claims.ROOT / "docs" / link).exists(), link


def test_without_records_everything_is_listed_as_not_run(tmp_path):
    page = claims.page({}, tmp_path)
    for name in CLAIMS:
        assert f"{claims.not_run(name)}: `python -m minitorch_alex.ablate {name}`" in page
        assert f"### {name}\n" not in page
    for net in claims.NETS:
        assert re.search(rf"^\| `{net.name}` \| [^|]+ \| {claims.not_run(net.name)} \|", page, re.M)
    assert claims.not_run("conv_local_11") == "not run, about 10 hours on one core"
    assert claims.not_run("net_18") == "not run"
    assert "| ours, `alexnet_cifar`, 32 x 32 | not run |" in page
    assert "Together" not in page and "### All results" not in page


def test_a_claim_is_told_with_its_numbers_cost_and_picture(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "ablate-dropout.png").touch()
    page = claims.page({
        "ablate-dropout": ablation("dropout", a=[30.0, 31.0], b=[40.0, 41.0]),
        "ablate-groups": ablation("groups", a=[30.0, 31.0], c=[30.5, 30.7])}, tmp_path)
    assert "| [dropout](#dropout) | Without dropout" in page
    assert "| no number | 2 | 4 trainings, 4 min |" in page
    assert "![dropout](../results/ablate-dropout.png)" in page and "![groups]" not in page
    assert "| [dropout](#dropout) | b | a | +10.0 points | yes |" in page
    assert "| [groups](#groups) | c | a | +0.1 points | no |" in page
    assert "| b | 40.50 (40.00 to 41.00) | +10.0 | yes |" in page
    assert "Together 6 trainings, 6 min" in page, "a and its seeds were trained once"
    assert "As the paper claims" not in page, "a summary of claims that were not run"
    assert "    python -m minitorch_alex.ablate dropout\n" in page


def row_of(name, page):
    return next(line for line in page.splitlines() if line.startswith(f"| `{name}`"))


def test_a_net_is_told_with_its_views_and_deviations(tmp_path):
    records = claims.load(claims.ROOT / "results")
    trained = json.loads(json.dumps(records["net_18"]))
    trained["recipe"]["lr"] = 0.5
    trained["val_split"] = 0.1
    trained["train_images"] = 45000
    row = row_of("net_18", claims.page({"net_18": trained}, tmp_path))
    assert "lr 0.5 (recipe: 0.001)" in row and "45,000 images, 10 % held out" in row
    assert "| 18 % | 17.87 % |  |  | 120 | 49 |" in row
    row = row_of("net_18", claims.page(records, tmp_path))
    assert "| 18 % | 17.87 % | 17.87 % | 16.88 % |" in row
    trained["model_fields"] = {"image_size": 24}
    row = row_of("net_18", claims.page({"net_18": trained}, tmp_path))
    assert "| image_size 24 (default: 32); " in row


def test_small_kernels_are_told_with_their_window(tmp_path):
    quick_26 = claims.load(claims.ROOT / "results")["quick_26"]
    small = dict(quick_26, model="alexnet_cifar", model_fields={}, seconds=1200.0)
    page = claims.page({"alexnet_cifar": small}, tmp_path)
    assert f"| ours, `alexnet_cifar`, 32 x 32 | 74.48 % | 120 | 10 | {small['device']} |" in page
    assert "56 million at 32." in page
    small["model_fields"] = {"image_size": 24, "hidden": [512, 512]}
    page = claims.page({"alexnet_cifar": small}, tmp_path)
    assert "| ours, `alexnet_cifar`, 24 x 24 of 32 x 32 | 74.48 % |" in page
    assert "million at 24." in page
    assert "hidden 512, 512 (default: 1024, 1024)" in row_of("alexnet_cifar", page)


def test_enlarged_images_are_told_once_they_are_recorded(tmp_path):
    """A training on a GPU, whose description names the card first."""
    assert "| ours, `alexnet`, CIFAR-10 at 224 x 224 | not run: needs a GPU |" in claims.page({}, tmp_path)
    quick_26 = claims.load(claims.ROOT / "results")["quick_26"]
    large = dict(quick_26, model="alexnet", seconds=50.0, device="NVIDIA H200, 150 GB, cupy 14.2.0, tf32")
    page = claims.page({"gpu_224": large}, tmp_path)
    assert "| ours, `alexnet`, CIFAR-10 at 224 x 224 | 74.48 % | 5 | 10 | NVIDIA H200" in page
    assert "| the same on two cores, two ranks | not run |" in page and "the M1 Max, whose GPU" not in page


def test_the_epochs_on_two_cores_took_what_the_page_says():
    record = claims.load(claims.ROOT / "results")["cpu_224"]
    first, second = (epoch["seconds"] for epoch in record["curve"])
    assert (round(first), round(second - first)) == (810, 795)
    assert "took 810 and 795 seconds" in claims.TWO_CORES and round(100_000 / second) == 62
    assert "takes 5 % less" in claims.TWO_CORES and round(100 * (1 - 760 / (second / 2))) == 5
    page = claims.page({"cpu_224": record})
    assert "| the same on two cores, two ranks | 58.18 % | 802 | 2 | Intel" in page
    assert "1 thread on each of 2 ranks |" in page


def test_unfinished_trainings_are_told_as_far_as_they_came():
    records = claims.load(claims.ROOT / "results")
    record = records["unfinished"]
    page = " ".join(claims.page({"unfinished": record}).split())
    for run in record["runs"]:
        errors = run["train_error"]
        assert (f"| not finished: {errors[-1]:.1f} % training error after {len(errors)} of {run['epochs']} epochs | "
                "[unfinished.json]") in page
    assert record["device"] in page and "all epochs would take about 10 hours for conv_local_11" in page
    finished = {"unfinished": record, "conv_local_11": records["net_18"]}
    assert "not finished" not in claims.page(finished)


def test_the_step_from_13_to_11_percent_is_told_with_its_records():
    records = claims.load(claims.ROOT / "results")
    page = " ".join(claims.page(records).split())
    assert "Ours are 12.3 % and 11.2 %. By the same views the step is smaller: 12.3 to 11.8 % by nine" in page
    assert "12.1 to 11.2 % by ten" in page
    ours = {"README.md": "| 12.30 % |", "docs/2012.md": "12.3 % by nine views in 160 epochs, and 11.2 %"}
    for name, words in ours.items():
        assert words in (claims.ROOT / name).read_text(encoding="utf-8")
    short, whole = records["conv_local_11-320"], records["unfinished"]["runs"][0]
    errors = [epoch["train_error"] for epoch in short["curve"]]
    assert len(errors) == 320 and len(whole["train_error"]) == 299  # one and the same up to there
    assert [round(error, 3) for error in errors[:299]] == whole["train_error"]
    del records["conv_local_11-320-evaluate"]
    assert "Ours are 12.3 %" not in claims.page(records)


def test_what_the_start_does_to_the_race_is_told_with_its_records():
    page = " ".join(claims.page(claims.load(claims.ROOT / "results")).split())
    changes = " ".join((claims.ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split())
    for factor, rates in ((4.2, "0.008"), (1.3, "0.02")):
        assert f"At its best rate, {rates}, it takes {factor} times as many epochs" in page
    assert "tanh takes 4.2 times the epochs of ReLU from the start of 2011, and 1.3 times from this one" in changes


def test_how_the_bundled_network_was_chosen_is_told_with_its_records():
    records = claims.load(claims.ROOT / "results")
    parts = {name: records[name] for name in ("alexnet_cifar", "alexnet_cifar-45000", "alexnet_cifar-border")}
    page = " ".join(claims.page(parts).split())
    assert "had 11.9 % wrong in the end" in page and "the best of the three on the test images" in page
    errors = [record["test"]["top1_error"] for record in parts.values()]
    assert min(errors) == errors[0] and round(sorted(errors)[1] - errors[0], 1) == 0.6  # "half a point"
    ends = [0, *(epoch["seconds"] for epoch in parts["alexnet_cifar"]["curve"])]
    times = sorted(ends[i + 1] - ends[i] for i in range(36))
    assert f"the median epoch took {(times[17] + times[18]) / 2:.0f} seconds" in page
    del parts["alexnet_cifar-border"]
    assert "had 11.9 % wrong" not in claims.page(parts)


def errors_of(records, name, variant, key="test_error"):
    return [training[key] for training in records[f"ablate-{name}"]["variants"][variant]]


def mean_of(records, name, variant, key="test_error"):
    errors = errors_of(records, name, variant, key)
    return sum(errors) / len(errors)


def test_the_summary_of_the_trainings_on_all_images_agrees_with_their_records():
    records = claims.load(claims.ROOT / "results")
    needed = {f"ablate-{name}": records[f"ablate-{name}"] for name in claims.FULLY_SUMMARISED}
    assert claims.prose(claims.FULL_SUMMARY) in claims.page(needed)
    some = dict(list(needed.items())[1:])
    assert claims.prose(claims.FULL_SUMMARY) not in claims.page(some)

    rows = {name: {row.variant: row for row in claims.verdict.verdict(record)} for name, record in needed.items()}
    half = rows["ablate-groups-full"]["one column, half"]
    assert half.separate and round(half.change, 1) == 3.2
    assert round(rows["ablate-groups-full"]["merged"].change, 1) == -1.6
    plain = rows["ablate-augmentation-full"]["none"]
    assert plain.separate and round(plain.change, 1) == 2.5
    assert round(mean_of(records, "augmentation-full", "none"), 1) == 26.3
    assert round(mean_of(records, "augmentation-full", "none", "train_error")) == 4
    small = {row.variant: row for row in claims.verdict.verdict(records["ablate-augmentation"])}
    assert small["none"].change < 0
    for name, variant in (("overlapping-pool-full", "2 at stride 2"), ("augmentation-full", "and PCA colour"),
                          ("color-divisor", "by the root of 1.01"), ("update-rule-full", "torch")):
        row = rows[f"ablate-{name}"][variant]
        assert not row.separate and abs(round(row.change, 1)) <= 0.1
    small = {row.variant: row for row in claims.verdict.verdict(records["ablate-overlapping-pool"])}
    assert small["2 at stride 2"].change > 0 and small["2 at stride 2"].separate
    assert rows["ablate-dropout-full"]["none"].change < 0 and rows["ablate-dropout-twice"]["none"].change < 0
    norm = rows["ablate-norm-within"]
    assert round(mean_of(records, "norm-within", "with")) == 18
    assert round(norm["without"].change, 1) == 0.4 and not norm["without"].separate
    seeds = zip(*(errors_of(records, "norm-within", variant) for variant in ("with", "without")), strict=True)
    assert all(without > with_it for with_it, without in seeds)


def test_twice_the_epochs_gain_what_the_page_says():
    records = claims.load(claims.ROOT / "results")
    note = claims.NOTES["dropout-twice"]
    for variant, once, gain in (("0.5", "13.01 % with dropout", 1.0), ("none", "12.48 % without", 0.8)):
        before, after = (errors_of(records, name, variant)[0] for name in ("dropout-full", "dropout-twice"))
        assert once in note and once.startswith(f"{before:.2f}") and round(before - after, 1) == gain
    assert "gain 1.0 and 0.8 points" in note


def test_what_a_norm_is_worth_in_the_wider_network():
    record = claims.load(claims.ROOT / "results")["ablate-batch-norm"]
    rows = {row.variant: row for row in claims.verdict.verdict(record)}
    assert rows["none"].separate and round(rows["none"].change, 1) == 8.5
    assert record["epochs"] == 9 and "8.5 points worse" in claims.SUMMARY


def test_figure_1_says_how_far_tanh_came(tmp_path):
    def run(activation, seed, *errors):
        return {"activation": activation, "lr": 0.002, "seed": seed, "finished": True,
                "train_error": list(errors)}

    record = {"device": "a GPU", "date": "today", "commit": "1", "runs": [
        run("relu", 0, 60, 25), run("tanh", 0, 60, 50, 40, 30), run("tanh", 1, 60, 50, 40, 30, 20, 10)]}
    page = " ".join(claims.page({"figure1": record}, tmp_path).split())
    assert ("ReLU is at 25 % training error in epoch 2 at 0.002 (one seed). Tanh gets there in epoch 5 at 0.002 (one "
            "seed). At its best rate, 0.002, it takes 2.5 times as many epochs as ReLU at its best, 0.002.") in page
    assert "The best rate of" not in page  # only one was tried
    more = [run("tanh", 2, 60, 50, 40, 25), run("tanh", 3, 60, 50, 25) | {"lr": 0.004}]
    page = " ".join(claims.page({"figure1": {**record, "runs": record["runs"] + more}}, tmp_path).split())
    assert "in epoch 4 to 5 at 0.002 (2 seeds) and 3 at 0.004 (one seed). At its best rate, 0.004, it takes 1.5" in page
    assert "The best rate of tanh is the largest one" in page
    assert "What the factor hangs on is the start" not in page
    scaled = {**record, "runs": [run("relu", 0, 40, 25), run("tanh", 0, 25)]}
    page = " ".join(claims.page({"figure1": record, "figure1_scaled": scaled}, tmp_path).split())
    assert "2.5 times as many epochs" in page and "(--set start=scaled). ReLU is at 25 %" in page
    assert "it takes 0.5 times as many epochs" in page and "[figure1_scaled.json]" in page
    slow = run("tanh", 0, 60, 50, 40, 30, 25) | {"lr": 0.008}
    page = " ".join(claims.page({"figure1": {**record, "runs": record["runs"] + more + [slow]}}, tmp_path).split())
    assert "0.002 (2 seeds), 3 at 0.004 (one seed) and 5 at 0.008 (one seed). At its best rate, 0.004" in page
    assert "The best rate of tanh" not in page
    record["runs"][2] = run("tanh", 1, 60, 50, 40) | {"device": "a CPU"}
    page = " ".join(claims.page({"figure1": record}, tmp_path).split())
    assert "the best stood at 30.0 % after 4 epochs, which makes the factor at least 2.0" in page
    assert "a CPU; today, commit 1. a GPU; today, commit 1." in page


def test_a_file_that_is_no_record_is_named(tmp_path):
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(DataError, match="broken.json is not a JSON file"):
        claims.load(tmp_path)


def test_the_command_writes_the_page(tmp_path, capsys):
    assert claims.main(["--results", str(tmp_path), "--out", str(tmp_path / "page.md")]) == 0
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == claims.page({})
    assert capsys.readouterr().out == f"{tmp_path / 'page.md'}\n"
