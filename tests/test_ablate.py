"""Ablations: `train` accepts every variant, and the verdict follows from the numbers."""
import functools
import importlib
import json
import math
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from minitorch_alex import ablate, nn, verdict
from minitorch_alex.ablate import plan
from minitorch_alex.claims import ALL, CLAIMS, LONG, Claim
from minitorch_alex.errors import UsageError, UserError
from minitorch_alex.models import AlexNet, AlexNetConfig
from minitorch_alex.training import settings

TINY = Claim(
    statement="a claim",
    published="a number",
    base="-a alexnet_cifar --data shapes --limit 40 --epochs 1 -b 20 --print-freq 1 "
         "--set schedule=steps --set channels=(4,4,4,4,4) --set hidden=(8,8)",
    variants={"plain": "", "slow": "--lr 0.001"},
    figure="loss",
)
VARIANTS = [(name, variant) for name, claim in CLAIMS.items() for variant in claim.variants]


# The catalogue


@functools.cache
def derived(name, variant):
    """The recipe and the model that follow from the flags of a variant."""
    trainings = plan(CLAIMS[name], 1, "runs", ["--data", "shapes"])
    flags = next(t.flags for t in trainings if t.variant == variant)
    config, _ = settings.new_config(*settings.parse(flags))
    return {**config["recipe"], **config["model_fields"], "model": config["model"]}


@pytest.mark.parametrize("name, variant", VARIANTS)
def test_every_variant_is_one_that_train_takes(name, variant, tmp_path, monkeypatch):
    """Its flags are parsed and the model and recipe built; it differs from the baseline."""
    monkeypatch.chdir(tmp_path)
    baseline = next(iter(CLAIMS[name].variants))
    assert (derived(name, variant) != derived(name, baseline)) == (variant != baseline)
    assert not list(tmp_path.iterdir())


def test_tanh_takes_the_place_of_every_relu():
    """Under the same names, with the same weights; nothing else is different."""
    narrow = dict(channels=(4, 4, 4, 4, 4), hidden=(8, 8))
    relu, tanh = (list(AlexNet(AlexNetConfig.cifar(activation=name, **narrow)).named_children())
                  for name in ("relu", "tanh"))
    assert [name for name, _ in relu] == [name for name, _ in tanh]
    units = {name: type(layer) for name, layer in tanh if name.startswith("relu")}
    assert units == {f"relu{i}": nn.Tanh for i in range(1, 8)}
    assert [type(layer) for name, layer in relu if name not in units] == \
        [type(layer) for name, layer in tanh if name not in units]
    with pytest.raises(UsageError, match="activation is 'sigmoid', expected relu or tanh"):
        AlexNetConfig.cifar(activation="sigmoid")


def test_all_is_every_short_claim_that_needs_no_photographs_and_shares_its_trainings(capsys):
    assert set(CLAIMS) - set(ALL) == {"stall", *LONG} and "folder" in CLAIMS["stall"].base
    assert not any("folder" in CLAIMS[name].base for name in ALL)
    assert ablate.main(["all", "--dry-run"]) == 0
    out = capsys.readouterr().out
    flags = re.findall(r"^\[\d+/\d+\].* train (.*)$", out, re.M)
    assert len(set(flags)) == len(flags) and f"\n{len(flags)} different trainings, " in out
    asked = 3 * sum(len(CLAIMS[name].variants) for name in ALL)
    assert len(flags) == asked - out.count(": shared, ")
    for name in ALL:
        assert f"\n{name}: {CLAIMS[name].statement}\n" in "\n" + out


# The runner


def test_an_ablation_runs_resumes_and_reports(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(CLAIMS, "tiny", TINY)
    argv = ["tiny", "--seeds", "2", "--runs-dir", str(tmp_path), "--out", str(tmp_path / "out")]
    assert ablate.main(argv) == 0
    record = json.loads((tmp_path / "out" / "ablate-tiny.json").read_text())
    assert list(record["variants"]) == ["plain", "slow"]
    assert [t["seed"] for t in record["variants"]["plain"]] == [0, 1]
    slow = record["variants"]["slow"][0]
    result = json.loads((tmp_path / "ablate" / slow["run"] / "result.json").read_text())
    assert slow["test_error"] == result["test"]["top1_error"] and result["recipe"]["lr"] == 0.001
    assert record["commit"] == result["commit"] and record["verdict"] == verdict.table(record)
    assert (tmp_path / "out" / "ablate-tiny.png").read_bytes().startswith(b"\x89PNG")
    assert "| slow |" in capsys.readouterr().out
    monkeypatch.setattr(ablate.sys, "executable", "false")  # a training would fail
    later = json.dumps({**result, "commit": "later"})
    (tmp_path / "ablate" / slow["run"] / "result.json").write_text(later)
    assert ablate.main(argv) == 0, "a finished training was run again"
    record = json.loads((tmp_path / "out" / "ablate-tiny.json").read_text())
    assert record["commit"] == f"{result['commit']}, later", "a commit is missing"

    # A claim with another figure that needs the same trainings finds them; other flags do not.
    other = replace(TINY, variants={"slow": "--lr 0.001", "as it is": ""}, figure="fit")
    monkeypatch.setitem(CLAIMS, "other", other)
    assert ablate.main(["other", *argv[1:]]) == 0
    other = json.loads((tmp_path / "out" / "ablate-other.json").read_text())
    assert other["variants"]["as it is"][1]["run"] == record["variants"]["plain"][1]["run"]
    assert (tmp_path / "out" / "ablate-other.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UserError):
        ablate.main([*argv, "--", "--epochs", "2"])


@pytest.fixture
def in_this_process(monkeypatch, fewer_shapes):
    """Trainings in this process: they start faster."""
    def call(module, flags, directory, log=None):
        assert importlib.import_module(f"minitorch_alex.{module}").main(flags) == 0

    monkeypatch.setattr(ablate, "call", call)


def test_views_are_measured_on_the_trainings_and_once(tmp_path, monkeypatch, in_this_process):
    monkeypatch.setitem(CLAIMS, "tiny", replace(TINY, variants={"the net": ""}, figure="views"))
    argv = ["tiny", "--seeds", "1", "--runs-dir", str(tmp_path)]
    assert ablate.main(argv) == 0
    record = json.loads((tmp_path / "ablate-tiny" / "ablate-tiny.json").read_text())
    assert list(record["variants"]) == ["single view", "nine views", "ten views"]
    run = tmp_path / "ablate" / record["variants"]["ten views"][0]["run"]
    views = json.loads((run / "evaluate-test.json").read_text())["views"]
    for kind, variant in ablate.VIEWS.items():
        assert record["variants"][variant][0]["test_error"] == views[kind]["top1_error"]
    monkeypatch.setattr(ablate, "call", None)
    assert ablate.main(argv) == 0


def test_the_directory_is_named_after_all_flags_and_the_seed():
    def names(extra=(), **changes):
        return [t.directory.name for t in plan(replace(TINY, **changes), 2, "runs", extra)]

    assert len(set(names())) == 4 and names() == names(statement="another", figure="dots")
    assert not set(names()) & set(names(["--threads", "1"]))
    assert not set(names()) & set(names(base="--epochs 2"))
    assert names()[0].startswith("base-") and names()[1].startswith("lr-0.001-")
    assert names()[3].endswith("-1")


def test_a_training_that_fails_ends_it_with_its_code(tmp_path, monkeypatch):
    monkeypatch.setitem(CLAIMS, "tiny", TINY)
    with pytest.raises(UserError, match="run the same command again to resume") as caught:
        ablate.main(["tiny", "--runs-dir", str(tmp_path), "--", "--threads", "-3"])
    assert caught.value.exit_code == 2


def test_several_trainings_at_a_time(tmp_path, monkeypatch, capsys):
    """As many as there are jobs and no more, each with a log; the record is that of one at a time."""
    at_once, most = [0], [0]
    trained = {}

    def call(module, flags, directory, log=None):
        at_once[0] += 1
        most[0] = max(most[0], at_once[0])
        time.sleep(0.05)
        at_once[0] -= 1
        trained[directory] = log
        if "--lr" in flags:
            raise UserError("slow is too slow")

    monkeypatch.setattr(ablate, "call", call)
    monkeypatch.setattr(ablate, "report", lambda *_: None)
    monkeypatch.setitem(CLAIMS, "tiny", replace(TINY, variants={"plain": ""}))
    argv = ["tiny", "--runs-dir", str(tmp_path)]
    assert ablate.main([*argv, "--seeds", "5", "--jobs", "3"]) == 0
    assert most == [3] and len(trained) == 5
    assert all(log.name == f"{directory.name}.txt" for directory, log in trained.items())
    trained.clear()
    assert ablate.main([*argv, "--seeds", "2"]) == 0
    assert list(trained.values()) == [None, None]
    # After one that fails, those under way end, and none begins.
    trained.clear()
    monkeypatch.setitem(CLAIMS, "tiny", TINY)
    with pytest.raises(UserError, match="slow is too slow"):
        ablate.main([*argv, "--seeds", "5", "--jobs", "2"])
    assert 2 <= len(trained) <= 4 and at_once == [0]


def test_a_training_of_several_leaves_its_output_in_a_file(tmp_path, monkeypatch, capfd):
    monkeypatch.setitem(CLAIMS, "tiny", TINY)
    # Either may fail first.
    with pytest.raises(UserError, match=r"exit code 2 \(see .*/(base|lr)-[^/]*-0\.txt\); run the same") as caught:
        ablate.main(["tiny", "--jobs", "2", "--seeds", "1", "--runs-dir", str(tmp_path), "--", "--threads", "-3"])
    assert caught.value.exit_code == 2
    logs = sorted((tmp_path / "ablate").glob("*.txt"))
    assert len(logs) == 2 and all("--threads" in log.read_text() for log in logs)
    assert "must be" not in "".join(capfd.readouterr())


def test_of_all_claims_those_after_one_that_diverges_are_run(tmp_path, monkeypatch):
    monkeypatch.setitem(CLAIMS, "wild", replace(TINY, variants={"too fast": "--lr 1e12"}))
    monkeypatch.setitem(CLAIMS, "tiny", replace(TINY, variants={"plain": ""}))
    monkeypatch.setattr(ablate, "ALL", ["wild", "tiny"])
    with pytest.raises(UserError, match="lr-1e12") as caught:
        ablate.main(["all", "--seeds", "1", "--runs-dir", str(tmp_path)])
    assert caught.value.exit_code == 5
    assert (tmp_path / "ablate-tiny" / "ablate-tiny.json").exists()
    assert not (tmp_path / "ablate-wild").exists()


def test_a_record_names_no_place_on_the_machine():
    command = "python -m x all --out results -- --data-dir /home/me/data --a=../b/c --b runs/x"
    expected = "python -m x all --out results -- --data-dir data --a=c --b runs/x"
    assert ablate.without_paths(command) == expected


def test_the_help_lists_every_claim_apart_from_its_text(capsys):
    with pytest.raises(SystemExit):
        ablate.main(["--help"])
    out = capsys.readouterr().out
    for name, claim in CLAIMS.items():
        assert re.search(rf"^  {name}  +{claim.statement.split()[0]}", out, re.M), name


@pytest.mark.parametrize("argv", (["nothing"], ["lrn", "--seeds", "0"], ["lrn", "--jobs", "0"]))
def test_wrong_usage(argv):
    with pytest.raises(UsageError):
        ablate.main(argv)


def test_a_dry_run_trains_nothing(monkeypatch, capsys):
    monkeypatch.setattr(ablate.sys, "executable", "false")
    assert ablate.main(["overlapping-pool", "--seeds", "2", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "[4/4] 2 at stride 2, seed 1" in out
    assert "\n4 different trainings, 0 of them done\n" in out


# The verdict


def training(error, loss=1.0):
    return {"test_error": error, "last_loss": loss, "train_error": 1.0, "seconds": 60.0}


def record_of(picture="dots", **variants):
    return {"classes": 10, "picture": picture,
            "variants": {name.replace("_", " "): [training(e) for e in errors]
                         for name, errors in variants.items()}}


@pytest.mark.parametrize("a, b, change, separate, text", (
    ([10.0, 11.0, 12.0], [20.0, 21.0, 22.0], 10.0, True, "| +10.0 | yes |"),
    ([10.0, 11.0, 12.0], [5.0, 6.0, 7.0], -5.0, True, "| -5.0 | yes |"),
    ([10.0, 11.0, 12.0], [11.5, 12.5, 13.5], 1.5, False, "| +1.5 | no |"),
    ([10.0], [12.0], 2.0, None, "| +2.0 | one seed |")))
def test_the_verdict_compares_with_the_baseline(a, b, change, separate, text):
    record = record_of(a=a, b=b)
    baseline, row = verdict.verdict(record)
    assert (baseline.variant, baseline.change, baseline.separate) == ("a", None, None)
    assert (row.variant, row.change, row.separate) == ("b", change, separate)
    assert not baseline.stalled and not row.stalled and "stalled" not in verdict.table(record)
    assert f"| b | {verdict.spread(b)} {text}" in verdict.table(record)
    assert f"| a | {verdict.spread(a)} | baseline |  |" in verdict.table(record)


def test_several_views_of_the_same_nets_are_compared_net_by_net():
    def row(ten):
        record = record_of("views", single_view=[30.0, 34.0, 38.0], ten_views=ten)
        return verdict.verdict(record)[1]

    assert row([29.0, 33.0, 37.0]).separate and row([29.0, 33.0, 37.0]).change == -1.0
    assert row([29.0, 33.0, 38.5]).separate is False


def test_the_verdict_on_overfitting_compares_training_with_validation():
    record = {"classes": 10, "picture": "fit", "variants": {
        "0.5": [training(30.0) | {"val_error": 3.0}] * 2,
        "none": [training(33.0) | {"val_error": 21.0}] * 2}}
    assert [row.gap for row in verdict.verdict(record)] == [2.0, 20.0]
    assert re.search(r"^\| none \|.*\| \+20\.0 \|", verdict.table(record), re.M)
    assert verdict.verdict(record_of(a=[30.0]))[0].gap is None, "there are no validation images"


def test_the_verdict_marks_what_has_stalled():
    record = {"classes": 10, "variants": {
        "a": [training(30.0)],
        "b": [training(90.0, math.log(10) - 0.01)]}}
    assert [row.stalled for row in verdict.verdict(record)] == [False, True]
    assert "| 2.29, stalled |" in verdict.table(record)
    assert "Chance level: 90 % error, loss ln 10 = 2.303." in verdict.table(record)
    assert verdict.table(record).startswith("1 seed per variant. ")


# Races


def test_the_running_error_weighs_each_line_by_its_images():
    steps = [{"epoch": 0.1, "error": 90.0}, {"epoch": 0.5, "error": 50.0},
             {"epoch": 1.0, "error": 10.0}]
    points = verdict.running_error(steps, 0.6)
    assert [epoch for epoch, _ in points] == [0.1, 0.5, 1.0]
    errors = [90.0,
              (0.1 * 90 + 0.4 * 50) / 0.5,  # half an epoch only: that is all there is so far
              (0.1 * 50 + 0.5 * 10) / 0.6]
    assert [error for _, error in points] == pytest.approx(errors)


@pytest.mark.parametrize("points, epoch", (
    ([(1.0, 45.0), (2.0, 35.0), (3.0, 15.0), (4.0, 30.0), (5.0, 20.0)], 2.5),
    ([(1.0, 45.0), (2.0, 25.1)], None),
    ([(1.0, 45.0), (2.0, 25.0)], 2.0)))
def test_the_first_time_the_error_is_at_the_level(points, epoch):
    assert verdict.first_crossing(points) == epoch


def race(**epochs):
    return {"classes": 10, "epochs": 16, "picture": "race", "variants": {
        name.replace("_", ", rate "): [training(40.0) | {"epochs": e} for e in values]
        for name, values in epochs.items()}}


@pytest.mark.parametrize("epochs, best, edges, comparison, texts", (
    (dict(relu_1=[9, 9], relu_2=[4, 6], relu_3=[None, 3], tanh_1=[16, 14], tanh_2=[None, 2]),
     ["relu, rate 2", "tanh, rate 1"], [False, True], (3.0, False, True),
     ["| relu, rate 2 | 5.00 (4.00 to 6.00) | no | baseline |  |",
      "| tanh, rate 1 | 15.00 (14.00 to 16.00) | yes | 3.0 | yes |"]),
    (dict(relu_1=[8, 9], tanh_1=[4, 5]),
     ["relu, rate 1", "tanh, rate 1"], [False, False], (9 / 17, False, True), ["| 0.5 | yes |"]),
    (dict(relu_1=[4, 6], tanh_1=[5, 7]),
     ["relu, rate 1", "tanh, rate 1"], [False, False], (1.2, False, False), ["| 1.2 | no |"]),
    (dict(relu_1=[4.0], tanh_1=[8.0]),
     ["relu, rate 1", "tanh, rate 1"], [False, False], (2.0, False, None),
     ["| 2.0 | one seed |"]),
    (dict(relu_1=[4, 4], tanh_1=[None, None], tanh_2=[None, None]),
     ["relu, rate 1", "tanh, rate 1"], [False, True], (4.0, True, None),
     ["| not reached | yes | more than 4.0 |  |"]),
    (dict(relu_1=[4, 4], tanh_1=[None, 9]),
     ["relu, rate 1", "tanh, rate 1"], [False, False], (None, False, None),
     ["| 9.00, 1 of 2 seeds | no | unknown: not every seed reached it |  |"]),
    (dict(relu_1=[None], tanh_1=[None]),
     ["relu, rate 1", "tanh, rate 1"], [False, False], (None, False, None),
     ["| relu, rate 1 | not reached |", "unknown: not every seed reached it"]),
))
def test_the_verdict_on_a_race(epochs, best, edges, comparison, texts):
    record = race(**epochs)
    rows = verdict.race_verdict(record)
    assert [row.best.variant for row in rows] == best and [row.edge for row in rows] == edges
    assert (rows[0].unit, rows[0].ratio) == ("relu", None)
    assert (rows[1].ratio, rows[1].at_least, rows[1].separate) == comparison
    table = verdict.table(record)
    for text in texts:
        assert text in table
    assert "| relu, rate 1 |" in table and "| epochs to 25 % |" in table
    nobody = any(set(e) == {None} for e in epochs.values())
    assert ("| not reached |" in table) == nobody


def test_a_race_is_run_and_says_that_nobody_arrived(tmp_path, monkeypatch, in_this_process):
    variants = {"relu, rate 1": "", "tanh, rate 1": "--set activation=tanh"}
    monkeypatch.setitem(CLAIMS, "tiny", replace(TINY, variants=variants, figure="race"))
    assert ablate.main(["tiny", "--seeds", "1", "--runs-dir", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "ablate-tiny" / "ablate-tiny.json").read_text())
    assert record["variants"]["tanh, rate 1"][0]["epochs"] is None
    assert not any(row.best.reached for row in verdict.race_verdict(record))
    tanh, relu = (record["variants"][name][0]["race"] for name in reversed(variants))
    assert tanh != relu and tanh[-1][0] == 1.0


# The page


def test_the_page_about_the_stall_is_what_the_record_says():
    root = Path(__file__).parent.parent
    record = json.loads((root / "results" / "ablate-stall.json").read_text())
    page = (root / "docs" / "stall.md").read_text(encoding="utf-8")
    assert verdict.table(record) in page and record["command"] in page
    assert record["flags"] == dict(CLAIMS["stall"].variants)
    assert record["base"] == CLAIMS["stall"].base
    for row in verdict.verdict(record):  # what the page says in words
        assert row.stalled == ("standardised" in row.variant)
    for variant, trainings in record["variants"].items():
        above = min(t["last_loss"] for t in trainings) > math.log(record["classes"])
        assert above == ("standardised" in variant)
