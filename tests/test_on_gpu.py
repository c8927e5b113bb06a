"""benchmarks/on_gpu.sh without a GPU: it says why it does nothing; with a python3 that only pretends, what happens to
steps that fail, hang or no longer fit into the time, and whether the programs would take their flags."""
import ast
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu
from minitorch_alex import ablate, backend, selftest
from minitorch_alex.claims import CLAIMS
from minitorch_alex.training import cli
from minitorch_alex.training.settings import new_config, parse

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "benchmarks" / "on_gpu.sh"
STEPS = ("machine tests selftest-fp32 selftest-fp16 selftest-tf32 selftest-bf16 kernels speed-128 layers feed ranks "
         "cifar speed local norm speed-half 224 local13").split()
NEED_CIFAR = ("local", "norm", "224", "local13")
# Finds a GPU, writes down what it is asked, and does it well, unless that contains $FAILS or $HANGS.
PRETENDER = """#!/usr/bin/env bash
printf '%q ' "$@" >> "$ASKED"; echo >> "$ASKED"
case "$*" in
  *"${HANGS:-nothing hangs}"*) echo half of it; sleep 60 ;;
  *"${FAILS:-nothing fails}"*) echo all of it; echo something went wrong >&2; exit 5 ;;
  *import*backend*) echo "${FOUND:-PyTorch}" ;;
  *) echo well done ;;
esac
"""


@pytest.fixture
def script(tmp_path):
    """Run the script with the pretender; the result, the lines of its summary, and what the pretender was asked."""
    python = tmp_path / "python3"
    python.write_text(PRETENDER)
    python.chmod(0o755)
    out = tmp_path / "out"
    (tmp_path / "data" / "cifar-10-batches-py").mkdir(parents=True)

    def run(seconds="100", **environment):
        asked = tmp_path / "asked"
        asked.write_text("")
        done = subprocess.run(
            ["bash", str(SCRIPT), str(out), seconds], text=True, capture_output=True, timeout=120,
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "ASKED": str(asked), "HASTE": "20",
                 "CIFAR": "", "DATA": str(tmp_path / "data"), **environment})
        assert done.stderr == "" and len(list(out.iterdir())) <= 8
        lines = (out / "summary.txt").read_text().splitlines()
        assert done.stdout.splitlines() == lines
        return done.returncode, lines, [shlex.split(line) for line in asked.read_text().splitlines()]

    return run


def settings_of(args):
    """The fields of --set, as text."""
    return dict(item.split("=", 1) for item in args.set)


def told(lines, name, code, text):
    """Whether the line of a step says this."""
    return any(re.fullmatch(rf"{name}: exit {code}, \d+ s: {text}", line) for line in lines)


@pytest.mark.skipif(backend.is_available("cupy"), reason="there is a GPU")
def test_without_a_gpu_each_step_says_why_it_does_nothing(script):
    code, lines, _ = script(PYTHON=sys.executable)
    assert code == 3 and [line.partition(":")[0] for line in lines] == STEPS
    assert all("nothing done, backend 'cupy' is not available here: " in line for line in lines)


def test_all_steps_run_and_leave_what_they_printed(script):
    code, lines, asked = script()
    assert code == 0 and lines[-1] == "all tests and self-tests that were asked for passed"
    assert [line.partition(":")[0] for line in lines[:-1]] == STEPS
    assert told(lines, "selftest-bf16", 0, "well done")
    assert len(asked) == 1 + len(STEPS) + 2  # whether there is a GPU; the claim for one, two and three seeds


def test_without_cifar_10_its_steps_say_so(script, tmp_path):
    code, lines, asked = script(DATA=str(tmp_path / "none"))
    assert code == 0 and [line.partition(":")[0] for line in lines[:-1]] == STEPS
    for name in NEED_CIFAR:
        assert f"{name}: left out, CIFAR-10 is not in {tmp_path / 'none'}/ and CIFAR names no folder with it" in lines
    assert len(asked) == 1 + len(STEPS) - len(NEED_CIFAR)
    data = [words[words.index("--data") + 1] for words in asked if "minitorch_alex.train" in words]
    assert data == ["shapes"]


def test_cifar_10_is_brought_from_elsewhere(script, tmp_path):
    data = tmp_path / "elsewhere"
    data.mkdir()
    code, lines, _ = script(DATA=str(data), CIFAR=str(tmp_path / "data"), STEPS="cifar 224")
    assert code == 0 and told(lines, "224", 0, "well done")
    assert (data / "cifar-10-batches-py").is_dir()


def test_what_has_no_record_yet_comes_first():
    """In nine minutes: is it right, and where does the time go, before what is known from the first day is measured
    again; three of the gaps are in one file."""
    content = json.loads((ROOT / "results" / "gpu_speed.json").read_text())
    missing = ["layers", "feed"]
    assert not set(missing) & set(content) and "alexnet-b128-tf32" not in content["speed"]
    gaps = ["tests", "selftest-fp16", "kernels", "speed-128", *missing, "cifar"]
    assert max(map(STEPS.index, gaps)) < min(map(STEPS.index, ("speed", "speed-half", "224")))


def test_the_claim_about_norms_is_kept_seed_by_seed(script, tmp_path):
    """Each round hands over a whole record; when the second one hangs, the first stays."""
    python = tmp_path / "python3"
    python.write_text(python.read_text().replace("case", r"""if [[ $* == *ablate* ]]; then
  out=$(sed 's/.*--out \([^ ]*\) .*/\1/' <<< "$*")
  seeds=$(sed 's/.*--seeds \([0-9]\).*/\1/' <<< "$*")
  ((seeds < 2)) || sleep 60
  echo "{\"seeds\": $seeds}" > "$out/ablate-batch-norm.json"
fi
case""", 1))
    code, lines, asked = script(STEPS="norm", HASTE="100")
    assert code == 0 and told(lines, "norm", 124, "stopped after 4 s: well done")
    assert json.loads((tmp_path / "out" / "gpu_norm.json").read_text()) == {"seeds": 1}


@pytest.mark.parametrize("seconds, epochs, milestones", (
    ("100000", {}, (48, 49)), ("100000", {"EPOCHS": "520"}, (500, 510)), ("100000", {"EPOCHS": "100"}, (96, 98)),
    ("62", {}, (18, 19)), ("100000", {"EPOCHS": "3"}, (1, 2))))
def test_the_procedure_of_2011_in_as_many_epochs_as_fit(script, seconds, epochs, milestones):
    """520 epochs, of which ten at a tenth of the rate and ten at a hundredth."""
    _, _, asked = script(seconds, STEPS="local", **epochs)
    args, given = parse(asked[-1][2:])
    assert args.model == "conv_local_11" and ast.literal_eval(settings_of(args)["milestones"]) == milestones
    assert args.epochs == int(epochs.get("EPOCHS", milestones[1] + milestones[1] - milestones[0]))


def test_a_step_that_fails_or_hangs_stops_no_other(script):
    code, lines, _ = script(HANGS="pytest", FAILS="precision tf32", STEPS=" ".join(STEPS[:7]))
    assert code == 1 and lines[-1] == "failed: tests selftest-tf32"
    assert [line.partition(":")[0] for line in lines[:7]] == STEPS[:7]
    assert told(lines, "tests", 124, "stopped after 7 s: half of it")
    assert told(lines, "selftest-tf32", 5, "something went wrong") and told(lines, "selftest-fp16", 0, "well done")


def test_a_benchmark_that_fails_is_no_failure_of_the_whole(script):
    code, lines, _ = script(FAILS="benchmarks.gpu", STEPS="speed selftest-fp32")
    assert code == 0 and told(lines, "speed", 5, "something went wrong")


def test_without_pytorch_ours_is_measured_alone(script):
    for found, contenders in (("PyTorch", ["ours", "torch", "torch-fast-nhwc"]), ("no PyTorch", ["ours"])):
        _, _, asked = script(FOUND=found, STEPS="speed")
        assert gpu.arguments(asked[-1][2:]).contenders == contenders


def test_what_no_longer_fits_is_left_out(script):
    code, lines, asked = script("0", STEPS="selftest-fp32 layers")
    assert code == 1 and len(asked) == 1
    assert lines == ["selftest-fp32: left out, the time is up", "layers: left out, the time is up",
                     "failed: selftest-fp32"]


def test_steps_are_chosen_by_name_and_run_in_that_order(script):
    code, lines, _ = script(STEPS="feed selftest-bf16")
    assert code == 0 and [line.partition(":")[0] for line in lines[:2]] == ["feed", "selftest-bf16"]
    code, lines, asked = script(STEPS="feed tessts")
    assert code == 2 and asked == []
    assert lines[0].startswith("unknown step 'tessts' in STEPS, expected some of: machine")


def test_the_programs_take_the_flags_of_the_steps(script, monkeypatch):
    """Each command is parsed by the program that it names, and goes on the GPU."""
    _, _, asked = script()
    settings = []
    monkeypatch.setattr(cli, "use_device", lambda chosen: settings.append(chosen) or 1 / 0)
    programs = [words[1] for words in asked if words[0] == "-m"]
    assert programs.count("benchmarks.gpu") == 6 and programs.count("minitorch_alex.selftest") == 4
    assert programs.count("minitorch_alex.train") == 4 and programs.count("minitorch_alex.ablate") == 3
    for _, program, *flags in (words for words in asked if words[0] == "-m"):
        if program == "benchmarks.gpu":
            args = gpu.arguments(flags)
            assert args.rounds == 1 and args.resume and args.out.name == "gpu_speed.json"
        elif program == "minitorch_alex.selftest":
            with pytest.raises(ZeroDivisionError):
                selftest.main(flags)
            assert settings.pop()["backend"] == "cupy"
        elif program == "minitorch_alex.train":
            args, given = parse(flags)
            config, _ = new_config(args, given)
            assert config["backend"] == "cupy" and config["precision"] == "tf32" and args.overwrite
        elif program == "minitorch_alex.ablate":
            args = ablate.parse(flags)
            for training in ablate.plan(CLAIMS[args.name], args.seeds, args.runs_dir, args.flags):
                train_args, given = parse(training.flags)
                config, _ = new_config(train_args, given)
                assert config["backend"] == "cupy" and config["recipe"]["milestones"] == (10, 12, 14)
                assert (config["limit"], config["recipe"]["batch_size"], config["val_split"]) == (50_000, 128, 0)
        else:
            assert program == "pytest" and "gpu" in flags
            assert {"tests/test_gpu.py", "tests/test_gpu_ranks.py"} & {*flags}
