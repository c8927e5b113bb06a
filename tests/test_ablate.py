"""Ablations: every variant is a training that train accepts, and the verdict says what the numbers say."""
import importlib
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from minitorch_alex import ablate, nn, train
from minitorch_alex.ablate import ABLATIONS, ALL, Ablation, plan
from minitorch_alex.errors import UsageError, UserError
from minitorch_alex.models import AlexNet, AlexNetConfig

TINY = Ablation("a claim", "a number", "-a alexnet_cifar --data shapes --limit 40 --epochs 1 -b 20 --print-freq 1 "
                "--set schedule=steps --set channels=(4,4,4,4,4) --set hidden=(8,8)",
                {"plain": "", "slow": "--lr 0.001"}, "loss")


@pytest.mark.parametrize("name, variant", [(n, v) for n, a in ABLATIONS.items() for v in a.variants])
def test_every_variant_is_one_that_train_takes(name, variant, tmp_path):
    """Its flags are parsed and the model and recipe built; the variant is not the same as the first."""
    def derived(v):
        found = plan(ABLATIONS[name], 1, str(tmp_path), ["--data", "shapes"])
        given = vars(train.parser().parse_args(next(t.flags for t in found if t.variant == v)))
        args = train.argparse.Namespace(**{**train.DEFAULTS, **given})
        train.check(args)
        config, _ = train.derive(args, set(given))
        return {**config["recipe"], **config["model_fields"], "model": config["model"]}

    first = next(iter(ABLATIONS[name].variants))
    assert variant == first or derived(variant) != derived(first)


def test_tanh_takes_the_place_of_every_relu():
    """Under the same names, with the same weights; nothing else is different."""
    narrow = dict(channels=(4, 4, 4, 4, 4), hidden=(8, 8))
    relu, tanh = (list(AlexNet(AlexNetConfig.cifar(activation=name, **narrow)).named_children())
                  for name in ("relu", "tanh"))
    assert [name for name, _ in relu] == [name for name, _ in tanh]
    units = {name: type(layer) for name, layer in tanh if name.startswith("relu")}
    assert units == {f"relu{i}": nn.Tanh for i in range(1, 8)}
    assert [type(a) for a, (name, _) in zip(dict(relu).values(), tanh, strict=True) if name not in units] == \
        [type(b) for name, b in tanh if name not in units]
    with pytest.raises(UsageError, match="activation is 'sigmoid', expected relu or tanh"):
        AlexNetConfig.cifar(activation="sigmoid")


def test_an_ablation_runs_goes_on_and_reports(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(ABLATIONS, "tiny", TINY)
    argv = ["tiny", "--seeds", "2", "--runs-dir", str(tmp_path), "--out", str(tmp_path / "out")]
    assert ablate.main(argv) == 0
    content = json.loads((tmp_path / "out" / "ablate-tiny.json").read_text())
    assert list(content["variants"]) == ["plain", "slow"]
    assert [t["seed"] for t in content["variants"]["plain"]] == [0, 1]
    slow = content["variants"]["slow"][0]
    result = json.loads((tmp_path / "ablate" / slow["run"] / "result.json").read_text())
    assert slow["test_error"] == result["test"]["top1_error"] and result["recipe"]["lr"] == 0.001
    assert content["commit"] == result["commit"] and content["verdict"] == ablate.verdict(content)
    assert (tmp_path / "out" / "ablate-tiny.png").read_bytes().startswith(b"\x89PNG")
    assert "| slow |" in capsys.readouterr().out
    monkeypatch.setattr(ablate.sys, "executable", "false")  # a training would fail
    (tmp_path / "ablate" / slow["run"] / "result.json").write_text(json.dumps({**result, "commit": "later"}))
    assert ablate.main(argv) == 0, "a training that is done was run again"
    content = json.loads((tmp_path / "out" / "ablate-tiny.json").read_text())
    assert content["commit"] == f"{result['commit']}, later", "not all commits are told"

    # a claim with another picture, that asks for the same trainings, finds them; one with other flags does not
    monkeypatch.setitem(ABLATIONS, "other", replace(TINY, variants={"slow": "--lr 0.001", "as it is": ""},
                                                    picture="fit"))
    assert ablate.main(["other", *argv[1:]]) == 0
    other = json.loads((tmp_path / "out" / "ablate-other.json").read_text())
    assert other["variants"]["as it is"][1]["run"] == content["variants"]["plain"][1]["run"]
    assert (tmp_path / "out" / "ablate-other.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UserError):
        ablate.main([*argv, "--", "--epochs", "2"])


@pytest.fixture
def here(monkeypatch):
    """Trainings in this process: they start faster."""
    def call(module, flags, directory):
        assert importlib.import_module(f"minitorch_alex.{module}").main(flags) == 0

    monkeypatch.setattr(ablate, "call", call)


def test_views_are_measured_on_the_trainings_and_once(tmp_path, monkeypatch, here):
    monkeypatch.setitem(ABLATIONS, "tiny", replace(TINY, variants={"the net": ""}, picture="views"))
    argv = ["tiny", "--seeds", "1", "--runs-dir", str(tmp_path)]
    assert ablate.main(argv) == 0
    content = json.loads((tmp_path / "ablate-tiny" / "ablate-tiny.json").read_text())
    assert list(content["variants"]) == ["single view", "nine views", "ten views"]
    run = tmp_path / "ablate" / content["variants"]["ten views"][0]["run"]
    views = json.loads((run / "evaluate-test.json").read_text())["views"]
    assert content["variants"]["ten views"][0]["test_error"] == views["ten"]["top1_error"]
    assert content["variants"]["single view"][0]["test_error"] == views["single"]["top1_error"]
    monkeypatch.setattr(ablate, "call", None)
    assert ablate.main(argv) == 0


def test_all_is_every_claim_that_needs_no_photographs_and_shares_its_trainings(capsys):
    assert set(ABLATIONS) - set(ALL) == {"stall"} and "folder" in ABLATIONS["stall"].base
    assert not any("folder" in ABLATIONS[name].base for name in ALL)
    assert ablate.main(["all", "--dry-run"]) == 0
    out = capsys.readouterr().out
    flags = re.findall(r"^\[\d+/\d+\].* train (.*)$", out, re.M)
    assert len(set(flags)) == len(flags) and f"\n{len(flags)} different trainings, " in out
    asked = 3 * sum(len(ABLATIONS[name].variants) for name in ALL)
    assert len(flags) == asked - out.count(": shared, ")
    for name in ALL:
        assert f"\n{name}: {ABLATIONS[name].claim}\n" in "\n" + out


def test_the_directory_is_named_after_all_flags_and_the_seed():
    def names(extra=(), **changes):
        return [t.directory.name for t in plan(replace(TINY, **changes), 2, "runs", extra)]

    assert len(set(names())) == 4 and names() == names(claim="another", picture="dots")
    assert not set(names()) & set(names(["--threads", "1"])) and not set(names()) & set(names(base="--epochs 2"))
    assert names()[0].startswith("base-") and names()[1].startswith("lr-0.001-") and names()[3].endswith("-1")


def test_a_training_that_fails_ends_it_with_its_code(tmp_path, monkeypatch):
    monkeypatch.setitem(ABLATIONS, "tiny", TINY)
    with pytest.raises(UserError) as caught:
        ablate.main(["tiny", "--runs-dir", str(tmp_path), "--", "--threads", "-3"])
    assert caught.value.exit_code == 2 and "goes on from here" in str(caught.value)


def test_of_all_claims_those_after_one_that_diverges_are_run(tmp_path, monkeypatch):
    monkeypatch.setitem(ABLATIONS, "wild", replace(TINY, variants={"too fast": "--lr 1e12"}))
    monkeypatch.setitem(ABLATIONS, "tiny", replace(TINY, variants={"plain": ""}))
    monkeypatch.setattr(ablate, "ALL", ["wild", "tiny"])
    with pytest.raises(UserError, match="lr-1e12") as caught:
        ablate.main(["all", "--seeds", "1", "--runs-dir", str(tmp_path)])
    assert caught.value.exit_code == 5
    assert (tmp_path / "ablate-tiny" / "ablate-tiny.json").exists() and not (tmp_path / "ablate-wild").exists()


def training(error, loss=1.0):
    return {"test_error": error, "last_loss": loss, "train_error": 1.0, "seconds": 60.0}


@pytest.mark.parametrize("a, b, text, other", (
    ([10.0, 11.0, 12.0], [20.0, 21.0, 22.0], "b: +10.0 points beside a", "no effect"),
    ([10.0, 11.0, 12.0], [11.5, 12.5, 13.0], "no effect that stands out", "one seed"),
    ([10.0], [12.0], "b: +2.0 points beside a, one seed", "no effect")))
def test_the_verdict_says_whether_there_is_an_effect(a, b, text, other):
    content = {"classes": 10, "variants": {"a": [training(e) for e in a], "b": [training(e) for e in b]}}
    assert text in ablate.verdict(content) and other not in ablate.verdict(content)
    assert "stayed at" not in ablate.verdict(content)
    assert f"| b | {ablate.spread(b)} |" in ablate.table(content)


def test_several_views_of_the_same_nets_are_compared_net_by_net():
    def content(ten):
        return {"classes": 10, "picture": "views", "variants": {
            "single view": [training(e) for e in (30.0, 34.0, 38.0)], "ten views": [training(e) for e in ten]}}

    assert ablate.verdict(content((29.0, 33.0, 37.0))).startswith("ten views: -1.0 points beside single view (")
    assert "no effect" in ablate.verdict(content((29.0, 33.0, 38.5)))


def test_the_verdict_on_overfitting_compares_training_with_validation():
    content = {"classes": 10, "picture": "fit", "variants": {
        "0.5": [training(30.0) | {"val_error": 3.0}] * 2, "none": [training(33.0) | {"val_error": 21.0}] * 2}}
    assert "0.5: validation error +2.0 points beside training error at the end" in ablate.verdict(content)
    assert "none: validation error +20.0 points" in ablate.verdict(content)


def test_the_running_error_weighs_each_line_by_its_images():
    steps = [{"epoch": 0.1, "error": 90.0}, {"epoch": 0.5, "error": 50.0}, {"epoch": 1.0, "error": 10.0}]
    points = ablate.running_error(steps, 0.6)
    assert [epoch for epoch, _ in points] == [0.1, 0.5, 1.0]
    errors = [90.0, (0.1 * 90 + 0.4 * 50) / 0.5, (0.1 * 50 + 0.5 * 10) / 0.6]  # the second has seen half an epoch only
    assert [error for _, error in points] == pytest.approx(errors)


@pytest.mark.parametrize("points, at", (
    ([(1.0, 45.0), (2.0, 35.0), (3.0, 15.0), (4.0, 30.0), (5.0, 20.0)], 2.5), ([(1.0, 45.0), (2.0, 25.1)], None),
    ([(1.0, 45.0), (2.0, 25.0)], 2.0)))
def test_the_first_time_the_error_is_there(points, at):
    assert ablate.reached(points) == at


def race(**epochs):
    return {"classes": 10, "epochs": 16, "picture": "race", "variants": {
        name.replace("_", ", rate "): [training(40.0) | {"epochs": e} for e in values]
        for name, values in epochs.items()}}


@pytest.mark.parametrize("epochs, texts", (
    (dict(relu_1=[9, 9], relu_2=[4, 6], relu_3=[None, 3], tanh_1=[16, 14], tanh_2=[None, 2]), (
        "relu: 25 % training error after 5.00 (4.00 to 6.00) epochs at its best rate 2;",
        "tanh: 25 % training error after 15.00 (14.00 to 16.00) epochs at its best rate 1, the last of those tried",
        "tanh takes 3.0 times the epochs of relu: here relu is the faster.")),
    (dict(relu_1=[8, 9], tanh_1=[4, 5]), ("tanh takes 0.5 times the epochs of relu: here tanh is the faster.",)),
    (dict(relu_1=[4, 6], tanh_1=[5, 7]), ("tanh takes 1.2 times the epochs of relu, no effect that stands out",)),
    (dict(relu_1=[4.0], tanh_1=[8.0]), ("tanh takes 2.0 times the epochs of relu, one seed.",)),
    (dict(relu_1=[4, 4], tanh_1=[None, None], tanh_2=[None, None]), (
        "tanh: 25 % not reached in 16 epochs at any of its rates; tanh takes more than 4.0 times the epochs",)),
    (dict(relu_1=[4, 4], tanh_1=[None, 9]), (
        "tanh: 25 % training error after 9.00, 1 of 2 seeds, epochs", "there is no ratio")),
    (dict(relu_1=[None], tanh_1=[None]), ("relu: 25 % not reached", "there is no ratio: not every seed arrived.")),
))
def test_the_verdict_on_a_race(epochs, texts):
    content = race(**epochs)
    for text in texts:
        assert text in ablate.verdict(content)
    assert "| relu, rate 1 |" in ablate.table(content) and "| epochs to 25 % |" in ablate.table(content)
    assert ("| not reached |" in ablate.table(content)) == any(set(e) == {None} for e in epochs.values())


def test_a_race_is_run_and_says_that_nobody_arrived(tmp_path, monkeypatch, here):
    variants = {"relu, rate 1": "", "tanh, rate 1": "--set activation=tanh"}
    monkeypatch.setitem(ABLATIONS, "tiny", replace(TINY, variants=variants, picture="race"))
    assert ablate.main(["tiny", "--seeds", "1", "--runs-dir", str(tmp_path)]) == 0
    content = json.loads((tmp_path / "ablate-tiny" / "ablate-tiny.json").read_text())
    assert content["variants"]["tanh, rate 1"][0]["epochs"] is None and content["verdict"].startswith("relu: 25 % not")
    tanh, relu = (content["variants"][name][0]["race"] for name in reversed(variants))
    assert tanh != relu and tanh[-1][0] == 1.0


def test_a_record_names_no_place_on_the_machine():
    assert ablate.without_paths("python -m x all --out results -- --data-dir /home/me/data --a=../b/c --b runs/x") == \
        "python -m x all --out results -- --data-dir data --a=c --b runs/x"


def test_the_verdict_says_what_has_stalled():
    content = {"classes": 10, "variants": {"a": [training(30.0)], "b": [training(90.0, math.log(10) - 0.01)]}}
    assert "b: the loss stayed at ln 10 = 2.303" in ablate.verdict(content)
    assert "a: the loss" not in ablate.verdict(content)


def test_the_page_about_the_stall_is_what_the_record_says():
    root = Path(__file__).parent.parent
    content = json.loads((root / "results" / "ablate-stall.json").read_text())
    page = (root / "docs" / "stall.md").read_text(encoding="utf-8")
    assert ablate.table(content) in page and content["command"] in page
    assert content["flags"] == dict(ABLATIONS["stall"].variants) and content["base"] == ABLATIONS["stall"].base
    loss = {name: [t["last_loss"] for t in trainings] for name, trainings in content["variants"].items()}
    for name in loss:  # what the page says in words
        assert (min(loss[name]) > math.log(10)) == ("standardised" in name)


@pytest.mark.parametrize("argv", (["nothing"], ["lrn", "--seeds", "0"]))
def test_wrong_usage(argv):
    with pytest.raises(UsageError):
        ablate.main(argv)


def test_a_dry_run_trains_nothing(monkeypatch, capsys):
    monkeypatch.setattr(ablate.sys, "executable", "false")
    assert ablate.main(["overlapping-pool", "--seeds", "2", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "[4/4] 2 at stride 2, seed 1" in out and "\n4 different trainings, 0 of them done\n" in out
