"""The comparison with another checkout: it runs the other's code, and its table says what it saw."""
import json
import subprocess

import pytest

from benchmarks import harness, overhead
from minitorch_alex.errors import UsageError


@pytest.fixture
def other(tmp_path):
    """A checkout with the package of this one."""
    root = tmp_path / "other"
    root.mkdir()
    package = root / "minitorch_alex"
    package.symlink_to(harness.ROOT / "minitorch_alex")
    for words in (["init", "-q"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty",
                                   "-m", "a commit"]):
        subprocess.run(["git", "-C", str(root), *words], check=True)
    return root


def test_both_checkouts_train_the_same_net(other, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(harness, "FOREIGN_LIMIT", float("inf"))  # no sample counts as disturbed
    path = tmp_path / "overhead.json"
    flags = ["--against", str(other), "--nets", "net_8", "--rounds", "2", "--seconds", "0", "--out", str(path)]
    assert overhead.main(flags) == 0
    content, out = json.loads(path.read_text()), capsys.readouterr().out
    entry = content["overhead"]["net_8"]
    assert entry["same_numbers"] and entry["against"] == overhead.commit_of(other)
    samples = entry["samples"]
    assert [len(samples[who]) for who in ("this", "other")] == [2, 2]
    ratios = [a["train"] / b["train"] for a, b in zip(samples["this"], samples["other"], strict=True)]
    assert entry["summary"]["other"]["train_ratio"][1:] == pytest.approx([min(ratios), max(ratios)], abs=1e-3)
    assert str(other) not in path.read_text()
    assert "| net_8 | 8 |" in out and "| yes |" in out
    assert overhead.main(["--show", str(path)]) == 0 and capsys.readouterr().out == out


def test_the_package_of_the_other_checkout_is_the_one_that_runs(other):
    (other / "minitorch_alex").unlink()
    (other / "minitorch_alex").mkdir()
    (other / "minitorch_alex" / "__init__.py").write_text("raise ImportError('the other one')")
    job = {"task": "measure", "checkout": str(other), "net": "net_8", "batch": 2, "size": 8, "warm_up": 1}
    assert "the other one" in harness.run_child(overhead.CHILD, job, {})["error"]


def test_a_failure_and_other_numbers_are_told():
    ran = {"batch": 8, "same_numbers": False, "summary": {"other": {"train_ratio": [0.5, 0.4, 0.6]}}}
    text = overhead.table({"overhead": {"a": ran, "b": {**ran, "summary": {"other": {}}}}})
    assert "| a | 8 | 0.500, 0.400 to 0.600 | no |" in text and "| b | 8 | failed | no |" in text


@pytest.mark.parametrize("flags, match", [([], "--against"), (["--against", "nowhere"], "no minitorch_alex"),
                                          (["--against", ".", "--rounds", "0"], "--rounds")])
def test_wrong_usage_is_told(flags, match):
    with pytest.raises(UsageError, match=match):
        overhead.main(flags)
