"""Ablations: every variant is a training that train accepts, and the verdict says what the numbers say."""
import json
import math
from pathlib import Path

import pytest

from minitorch_alex import ablate, train
from minitorch_alex.ablate import ABLATIONS, Ablation, command
from minitorch_alex.errors import UsageError, UserError

TINY = Ablation("a claim", "a number", "-a alexnet_cifar --data shapes --limit 40 --epochs 1 -b 20 --print-freq 1 "
                "--set schedule=steps --set channels=(4,4,4,4,4) --set hidden=(8,8)",
                {"plain": "", "slow": "--lr 0.001"})


@pytest.mark.parametrize("name, variant", [(n, v) for n, a in ABLATIONS.items() for v in a.variants])
def test_every_variant_is_one_that_train_takes(name, variant, tmp_path):
    """Its flags are parsed and the model and recipe built; the variant is not the same as the first."""
    def derived(v):
        flags = command(ABLATIONS[name], v, 0, "x", str(tmp_path), ["--data", "shapes"])
        given = vars(train.parser().parse_args(flags))
        args = train.argparse.Namespace(**{**train.DEFAULTS, **given})
        train.check(args)
        config, _ = train.derive(args, set(given))
        return {**config["recipe"], **config["model_fields"], "model": config["model"]}

    first = next(iter(ABLATIONS[name].variants))
    assert variant == first or derived(variant) != derived(first)


def test_an_ablation_runs_goes_on_and_reports(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(ABLATIONS, "tiny", TINY)
    argv = ["tiny", "--seeds", "2", "--runs-dir", str(tmp_path), "--out", str(tmp_path / "out")]
    assert ablate.main(argv) == 0
    content = json.loads((tmp_path / "out" / "ablate-tiny.json").read_text())
    assert list(content["variants"]) == ["plain", "slow"]
    assert [t["seed"] for t in content["variants"]["plain"]] == [0, 1]
    result = json.loads((tmp_path / "ablate-tiny" / "1-0" / "result.json").read_text())
    assert content["variants"]["slow"][0]["test_error"] == result["test"]["top1_error"]
    assert (tmp_path / "out" / "ablate-tiny.png").read_bytes().startswith(b"\x89PNG")
    assert "| slow |" in capsys.readouterr().out
    monkeypatch.setattr(ablate.sys, "executable", "false")  # a training would fail
    assert ablate.main(argv) == 0, "a training that is done was run again"


def test_a_training_that_fails_ends_it_with_its_code(tmp_path, monkeypatch):
    monkeypatch.setitem(ABLATIONS, "tiny", TINY)
    with pytest.raises(UserError) as caught:
        ablate.main(["tiny", "--runs-dir", str(tmp_path), "--", "--threads", "-3"])
    assert caught.value.exit_code == 2 and "goes on from here" in str(caught.value)


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
    assert ablate.main(["lrn", "--seeds", "2", "--dry-run"]) == 0
    assert "[4/4] without, seed 1" in capsys.readouterr().out
