"""Faults that people met with other tools, as far as they concern runs: what an output means, what
belongs to the user's process, text that a terminal or a figure cannot show, paths."""
import importlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from prepared_set import write_prepared
from small_run import make_run

from minitorch_alex import evaluate, functional, kernels, onnx, plots, predict, profile, train
from minitorch_alex.errors import DataError, RunError, UsageError, UserError
from minitorch_alex.plots import style
from minitorch_alex.plots.__main__ import main as draw
from minitorch_alex.training import checkpoint, class_list, cli, runs

pytestmark = pytest.mark.usefixtures("fewer_shapes")
ROOT = Path(__file__).parent.parent
COLOURS = {"cat": (220, 30, 30), "dog": (30, 30, 220), "emu": (30, 220, 30)}


def python(*args, cwd, **environment):
    """A Python process of its own, with these variables in its environment."""
    return subprocess.run([sys.executable, *map(str, args)], cwd=cwd, text=True, capture_output=True, timeout=300,
                          env={**os.environ, "PYTHONPATH": str(ROOT), **environment})


def write_folders(root, names=("cat", "dog"), colours=None):
    """ROOT/train and ROOT/val with a folder per class, each of one colour."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 12), ("val", 4)):
        for name, original in zip(names, colours or names, strict=True):
            folder = root / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                noise = rng.integers(-25, 25, (32, 32, 3))
                pixels = (np.array(COLOURS[original]) + noise).clip(0, 255)
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")


def rename(root, old, new):
    for part in ("train", "val"):
        (root / part / old).rename(root / part / new)


FLAGS = ["-a", "quick_26", "--data", "folder", "--data-dir", "pets", "--val-split", "0", "-b", "8",
         "--threads", "1", "--lr", "0.01", "--name", "pets"]


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory):
    """A folder with pets/, runs/pets trained on it, and red.png, which is a cat."""
    folder = tmp_path_factory.mktemp("trained")
    write_folders(folder / "pets")
    Image.new("RGB", (40, 40), COLOURS["cat"]).save(folder / "red.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert train.main([*FLAGS, "--epochs", "12"]) == 0
    return folder


@pytest.fixture
def trained(trained_once, tmp_path, monkeypatch):
    """The same, to be spoilt."""
    folder = tmp_path / "copy"
    shutil.copytree(trained_once, folder)
    monkeypatch.chdir(folder)
    return folder


def first_class(capsys, *args):
    """The most probable class that predict prints."""
    capsys.readouterr()
    assert predict.main([str(a) for a in args]) == 0
    return capsys.readouterr().out.splitlines()[3].partition(" %  ")[2]


def drift_added(pets):
    (pets / "train" / "ant").mkdir()
    shutil.copy(pets / "train" / "dog" / "0.png", pets / "train" / "ant")


def drift_renamed(pets):
    rename(pets, "cat", "zcat")


def drift_one_fewer(pets):
    for part in ("train", "val"):
        shutil.rmtree(pets / part / "dog")


def drift_swapped(pets):
    """The same names, other animals: only the pixels tell, and the labels still mean the names."""
    rename(pets, "cat", "x")
    rename(pets, "dog", "cat")
    rename(pets, "x", "dog")


def drift_moved(pets):
    pets.rename(pets.with_name("elsewhere"))


@pytest.mark.parametrize("drift", [drift_added, drift_renamed, drift_one_fewer, drift_swapped, drift_moved])
def test_what_happens_to_the_data_does_not_change_what_a_prediction_means(trained, capsys, drift):
    assert first_class(capsys, "red.png", "-w", "runs/pets") == "cat"
    drift(trained / "pets")
    assert first_class(capsys, "red.png", "-w", "runs/pets") == "cat"


@pytest.mark.parametrize("whole", [True, False])
def test_a_run_is_taken_to_another_place(trained, tmp_path, monkeypatch, capsys, whole):
    """The directory, or only the weights with their configuration."""
    target = tmp_path / "far" / "away"
    target.mkdir(parents=True)
    for file in (trained / "runs" / "pets").iterdir():
        if whole or file.name in ("config.json", "checkpoint.safetensors"):
            shutil.copy(file, target)
    monkeypatch.chdir(tmp_path)
    shutil.move(trained / "red.png", tmp_path)
    assert first_class(capsys, "red.png", "-w", target) == "cat"
    assert evaluate.main([str(target), "--views", "single"]) == 0  # the place of the data is kept in full
    config = json.loads((target / "config.json").read_text())
    config["data_place"] = {}  # another machine
    (target / "config.json").write_text(json.dumps(config))
    shutil.move(trained / "pets", tmp_path / "moved")
    with pytest.raises(DataError, match="there is no .*pets .*point --data-dir to it"):
        evaluate.main([str(target), "--views", "single"])
    assert evaluate.main([str(target), "--views", "single", "--data-dir", str(tmp_path / "moved")]) == 0


@pytest.mark.parametrize(("drift", "text"), [
    (drift_added, r"3 classes, .* 2 \('ant' is new\)"),
    (drift_renamed, "other classes than .*'zcat' is new, 'cat' is missing"),
    (drift_one_fewer, r"1 classes, .* 2 \('dog' is missing\)")])
def test_data_with_other_classes_are_refused_by_name(trained, drift, text):
    drift(trained / "pets")
    with pytest.raises(DataError, match=text):
        evaluate.main(["runs/pets", "--views", "single"])
    with pytest.raises(DataError, match=text):
        train.main(["--resume", "runs/pets", "--epochs", "13"])
    with pytest.raises(DataError, match=text):
        draw(["runs/pets", "--predictions"])


def test_a_prepared_set_of_as_many_other_classes_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("set", "other", "order"):
        write_prepared(tmp_path / name, size=36, n_train=60)
    index = json.loads((tmp_path / "other" / "index.json").read_text())
    index["classes"][1]["name"] = "thing 9"
    (tmp_path / "other" / "index.json").write_text(json.dumps(index))
    index["classes"] = [{"name": f"thing {k}", "wnid": f"n{k}"} for k in (0, 2, 1)]
    (tmp_path / "order" / "index.json").write_text(json.dumps(index))
    assert train.main(["-a", "quick_26", "--data", "imagenet", "--data-dir", "set", "--set", "crop=32", "-b", "30",
                       "--epochs", "1", "--val-split", "0", "--name", "r", "--threads", "1"]) == 0
    for folder, text in (("other", "'thing 9' is new, 'thing 1' is missing"),
                         ("order", "another order: class 1 is 'thing 2', not 'thing 1'")):
        with pytest.raises(DataError, match=text):
            evaluate.main(["runs/r", "--views", "single", "--data-dir", folder])
        with pytest.raises(DataError, match=text):
            train.main(["--resume", "runs/r", "--epochs", "2", "--data-dir", folder])


def test_names_and_digest_are_in_the_run_the_checkpoint_and_the_packaged_model(trained):
    _, meta = checkpoint.load("runs/pets/checkpoint.safetensors")
    for config in (runs.Run("runs/pets").read_config(), meta["config"]):
        assert config["classes"] == ["cat", "dog"]
        assert config["class_digest"] == class_list.digest(("cat", "dog")) != class_list.digest(("dog", "cat"))
    packaged = runs.Run(runs.PRETRAINED).read_config()
    assert packaged["class_digest"] == class_list.digest(packaged["classes"])
    assert tuple(packaged["classes"]) == predict.pretrained().classes


def test_weights_next_to_the_configuration_of_other_classes_are_refused(trained, capsys):
    config = runs.Run("runs/pets").read_config()
    (trained / "runs" / "pets" / "config.json").write_text(json.dumps({**config, "classes": ["dog", "cat"]}))
    with pytest.raises(RunError, match="another order: class 0 is 'dog', not 'cat'"):
        predict.main(["red.png", "-w", "runs/pets"])


def forget_names(run):
    """A run as it was before names were kept."""
    arrays, meta = checkpoint.load(run / "checkpoint.safetensors")
    config = json.loads((run / "config.json").read_text())
    for settings in (config, meta["config"]):
        del settings["classes"], settings["class_digest"]
    checkpoint.save(run / "checkpoint.safetensors", arrays, meta)
    (run / "config.json").write_text(json.dumps(config))


def test_a_run_from_before_names_were_kept_takes_them_from_its_data(trained, capsys):
    forget_names(trained / "runs" / "pets")
    assert first_class(capsys, "red.png", "-w", "runs/pets") == "cat"
    assert evaluate.main(["runs/pets", "--views", "single"]) == 0
    drift_added(trained / "pets")
    assert first_class(capsys, "red.png", "-w", "runs/pets") == "class 0"
    with pytest.raises(DataError, match="3 classes, the run has 2"):
        train.main(["--resume", "runs/pets", "--epochs", "13"])
    shutil.rmtree(trained / "pets")
    assert first_class(capsys, "red.png", "-w", "runs/pets") == "class 0"
    (trained / "names.txt").write_text("tabby\npoodle\n")
    assert first_class(capsys, "red.png", "-w", "runs/pets", "--classes", "names.txt") == "tabby"
    write_folders(trained / "pets")
    assert train.main(["--resume", "runs/pets", "--epochs", "13"]) == 0
    assert runs.Run("runs/pets").read_config()["classes"] == ["cat", "dog"]


def test_runs_of_other_classes_are_not_averaged(trained, capsys):
    shutil.copytree("pets", "kept")
    rename(trained / "pets", "cat", "ant")
    assert train.main([*FLAGS, "--epochs", "1", "--name", "ants"]) == 0
    shutil.rmtree("pets")
    shutil.move("kept", "pets")
    with pytest.raises(DataError, match="'cat' is new, 'ant' is missing"):
        evaluate.main(["runs/pets", "runs/ants", "--views", "single"])


def test_accents_that_a_file_system_takes_apart_are_the_same_name():
    images = train.data.make_shapes(10, 32)
    config = {"num_classes": 10, "classes": [*images.classes[:-1], "caf\u00e9"]}
    apart = train.data.Dataset(images.images, images.labels, (*images.classes[:-1], "cafe\u0301"), "x")
    class_list.check(apart, config, "the run has")
    with pytest.raises(DataError, match="is new"):
        class_list.check(images, config, "the run has")


def test_any_name_has_a_digest():
    names = ["caf\udce9", "猫", "a\nb", ""]
    assert len(class_list.digest(names)) == 64 and json.loads(json.dumps(class_list.entries(names)))["classes"] == names


# figures

@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("tiny") / "run")[0]


ROWS = [{"kind": "epoch", "epoch": i + 1, "train_loss": 2.0 - i, "train_error": 50.0, "val_loss": 2.0,
         "val_error": 50.0, "lr": 0.1} for i in range(2)]
NAMES = ["a$_1_$b", "price $5", "x^{$", r"\frac$\alpha$", "Ba$$in", "猫", "собака", "🐈", "e\u0301", "a\nb", "tab\tbed",
         "caf\udce9", "\x00\x1b[31m", "_hidden", "", "عربي", "日本語のとても長い名前です" * 4, "so long a name " * 15]


def draw_all(names, out):
    """Every figure that shows names of users."""
    n = len(names)
    pictures = np.zeros((n, 8, 8, 3), np.uint8)
    plots.confusion(np.eye(n, dtype=int), names, out)
    plots.curves({name: ROWS for name in names}, out)
    plots.predictions(pictures, np.eye(n), names, out, names, labels=np.arange(n))
    plots.neighbours(pictures, pictures[:, None], names, [[name] for name in reversed(names)], out)
    for name in names:
        plots.curves([], out, title=name)


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
@pytest.mark.parametrize("first", range(0, len(NAMES), 6))  # six runs have different colours
def test_any_name_is_drawn_without_a_word(tmp_path, first, suffix, recwarn, capfd):
    draw_all(NAMES[first:first + 6], tmp_path / f"x.{suffix}")
    assert not recwarn.list and capfd.readouterr() == ("", "")


def test_names_are_shown_as_they_are_or_as_escapes(tmp_path):
    for name, expected in (("a$_1_$b", "a$_1_$b"), ("猫", "猫"), ("caf\udce9", r"caf\udce9"), ("a\nb", r"a\nb")):
        plots.confusion(np.eye(2, dtype=int), [name, "y"], tmp_path / "x.svg")
        assert f">{expected}<" in (tmp_path / "x.svg").read_text(encoding="utf-8")
    assert style.drawable("$é\udce9\n", "x.png") == r"$é\udce9\n"


def test_the_users_own_settings_of_matplotlib_neither_spoil_a_figure_nor_change(tmp_path):
    import matplotlib

    theirs = {"text.usetex": True, "font.family": "no such font", "axes.formatter.use_mathtext": True,
              "figure.constrained_layout.use": True, "savefig.bbox": "tight", "path.sketch": (1, 100, 2)}
    for name in ("x", "y"):
        with matplotlib.rc_context(theirs if name == "y" else {}), warnings.catch_warnings():
            warnings.simplefilter("error")
            before = dict(matplotlib.rcParams)
            plots.confusion(np.eye(2, dtype=int), ["a_b", "50 % $"], tmp_path / f"{name}.png")
            assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "x.png").read_bytes() == (tmp_path / "y.png").read_bytes()


@pytest.mark.parametrize("named", ["module://matplotlib_inline.backend_inline", "module://no.such.thing", "inline",
                                   "nonsense", "TkAgg"])
def test_a_notebooks_backend_does_not_matter(tmp_path, named):
    code = ("import os\nfrom minitorch_alex import plots, profile\nplots.curves([], 'x.png')\nimport matplotlib\n"
            "print(os.environ['MPLBACKEND'], matplotlib.rcParams._get_backend_or_none())\n"
            "assert profile.main(['quick_26', '--plot', 'net.svg']) == 0")
    done = python("-c", code, cwd=tmp_path, MPLBACKEND=named)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert (tmp_path / "x.png").exists() and (tmp_path / "net.svg").exists()
    shown, kept = done.stdout.split()[:2]
    assert shown == named and kept in (named, named.lower(), "None")


def test_in_a_notebook_the_backend_stays(tmp_path):
    """A backend that is there is the process's backend afterwards, too."""
    code = ("from minitorch_alex import plots\nplots.curves([], 'x.png')\nimport matplotlib\n"
            "assert matplotlib.get_backend().lower() == 'svg', matplotlib.get_backend()\n"
            "import matplotlib.pyplot as plt; assert 'svg' in type(plt.figure().canvas).__name__.lower()")
    done = python("-c", code, cwd=tmp_path, MPLBACKEND="svg")
    assert done.returncode == 0, done.stderr


def test_two_threads_draw_and_the_settings_are_as_before(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams), list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: plots.confusion(np.eye(3, dtype=int), "a猫c", tmp_path / f"{i}.png"), range(12)))
    assert (dict(matplotlib.rcParams), list(warnings.filters)) == before
    assert len({(tmp_path / f"{i}.png").read_bytes() for i in range(12)}) == 1


@pytest.mark.parametrize("error", [ValueError("two\nlines"), RuntimeError("no fonts"), ImportError("libpng")])
def test_what_matplotlib_cannot_draw_is_one_line(tmp_path, monkeypatch, error):
    def fail(*args, **options):
        raise error
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
    with pytest.raises(UserError, match=f"the figure cannot be drawn: {type(error).__name__}") as caught:
        plots.curves(ROWS, tmp_path / "x.png")
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_the_numbers_of_an_evaluation_are_written_before_its_figure_fails(tiny_run, tmp_path, monkeypatch, capsys):
    def fail(*args):
        raise UserError("no font")
    monkeypatch.setattr(plots, "confusion", fail)
    with pytest.raises(UserError, match="no font"):
        evaluate.main([str(tiny_run), "--limit", "20", "--views", "single", "--out", str(tmp_path)])
    assert json.loads((tmp_path / "evaluate-test.json").read_text())["images"] == 20
    capsys.readouterr()
    monkeypatch.setattr(plots, "kernels", fail)
    assert draw([str(tiny_run), "--limit", "40", "--out", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "kernels.png is left out: no font" in lines and str(tmp_path / "predictions.png") in lines


def test_an_onnx_file_carries_the_names(trained, capsys):
    loaded = pytest.importorskip("onnx")
    shutil.rmtree("pets")
    for name, expected in (("runs/pets", ["cat", "dog"]), ("quick_26", None)):
        assert onnx.main([name, "net.onnx"]) == 0
        props = {entry.key: entry.value for entry in loaded.load("net.onnx").metadata_props}
        assert json.loads(props.get("classes", "null")) == json.loads(props.get("names", "null")) == expected


# signals, threads


TINY = ["-a", "quick_26", "--data", "shapes", "--limit", "100", "-b", "50", "--threads", "1", "--epochs", "2",
        "--print-freq", "1"]
VALIDATION = 1  # the first batch of the first epoch's validation, which has two
TEST = 6        # the second batch of the test, which has three


def signal_at(monkeypatch, number, call, times=1):
    """A signal arrives while the model looks at that batch of a validation or a test; the list of calls."""
    calls, outputs = [], evaluate.softmax_outputs

    def noisy(*args):
        calls.append(1)
        if len(calls) == call:
            for _ in range(times):
                os.kill(os.getpid(), number)
        return outputs(*args)
    monkeypatch.setattr(evaluate, "softmax_outputs", noisy)
    return calls


def handlers():
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert train.main([*TINY, "--runs-dir", str(folder), "--name", "whole"]) == 0
    return folder / "whole"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("call", [VALIDATION, TEST - 2, TEST])
def test_a_signal_during_a_validation_or_the_test_is_obeyed_and_the_run_resumes_the_same(
        undisturbed, tmp_path, monkeypatch, capsys, number, call):
    """TEST - 2 is the last batch of the last validation: what comes after it is the test."""
    run = tmp_path / "r"
    flags = [*TINY, "--runs-dir", str(tmp_path), "--name", "r"]
    before = handlers()
    with monkeypatch.context() as patch:
        calls = signal_at(patch, number, call)
        assert train.main(flags) == 128 + number
        assert len(calls) == call, "it went on"
    assert handlers() == before
    assert f"stopped by {signal.Signals(number).name}" in capsys.readouterr().out
    assert not (run / "result.json").exists()
    assert train.main(["--resume", str(run)]) == 0
    expected, _ = checkpoint.load(undisturbed / "checkpoint.safetensors")
    got, meta = checkpoint.load(run / "checkpoint.safetensors")
    assert all(expected[name].tobytes() == got[name].tobytes() for name in expected) and meta["step"] == 4
    results = [json.loads((folder / "result.json").read_text()) for folder in (undisturbed, run)]
    for result in results:
        for row in result["curve"]:
            del row["seconds"]
    assert results[0]["test"] == results[1]["test"] and results[0]["curve"] == results[1]["curve"]


def test_a_second_ctrl_c_interrupts_at_once_and_the_handlers_are_those_from_before(tmp_path, monkeypatch):
    before = handlers()
    signal_at(monkeypatch, signal.SIGINT, VALIDATION, times=2)
    with pytest.raises(KeyboardInterrupt):
        train.main([*TINY, "--runs-dir", str(tmp_path)])
    assert handlers() == before


def test_a_signal_while_the_result_is_written_is_not_forgotten(tmp_path, monkeypatch):
    write = runs.Run.write_json

    def late(self, path, value):
        if path == self.result:
            os.kill(os.getpid(), signal.SIGTERM)
        write(self, path, value)
    monkeypatch.setattr(runs.Run, "write_json", late)
    assert train.main([*TINY, "--runs-dir", str(tmp_path), "--name", "r"]) == 143
    assert (tmp_path / "r" / "result.json").exists()


def test_it_trains_twice_in_a_row_and_in_a_thread_and_leaves_the_process_as_it_was(tmp_path, capsys):
    handled = []
    own = signal.signal(signal.SIGTERM, lambda *_: handled.append(1))
    try:
        before = handlers(), dict(os.environ), list(warnings.filters), kernels.get_threads()
        for name in ("one", "two"):
            assert train.main([*TINY, "--runs-dir", str(tmp_path), "--name", name]) == 0
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(train.main, [*TINY, "--runs-dir", str(tmp_path), "--name", "three"]).result() == 0
            flags = [str(tmp_path / "three"), "--views", "single"]
            assert pool.submit(evaluate.main, flags).result() == 0
        assert (handlers(), dict(os.environ), list(warnings.filters), kernels.get_threads()) == before
        os.kill(os.getpid(), signal.SIGTERM)
        assert handled == [1]
    finally:
        signal.signal(signal.SIGTERM, own)
    files = [tmp_path / name / "checkpoint.safetensors" for name in ("one", "two", "three")]
    one, two, three = (checkpoint.load(file)[0] for file in files)
    assert all(one[name].tobytes() == two[name].tobytes() == three[name].tobytes() for name in one)


def test_a_training_with_the_exercises_leaves_the_packages_parts_to_the_next_one(tmp_path, monkeypatch, capsys):
    def parts():
        return dict(vars(kernels.cpu)), dict(vars(functional))

    before = parts()
    during = []
    monkeypatch.setattr(train.preview, "explain", lambda *_: during.append(parts()))
    assert train.main([*TINY, "--mine", str(ROOT / "lessons" / "solutions"), "--dry-run"]) == 0
    assert during[0] != before and parts() == before


@pytest.mark.parametrize("error", [ValueError("no\nbackend"), OSError(28, "No space left"), UserError("no font"),
                                   MemoryError()])
def test_a_figure_that_cannot_be_drawn_costs_a_line_and_the_training_goes_on(tmp_path, monkeypatch, capsys, error):
    def fail(*args):
        raise error
    monkeypatch.setattr(train.plots, "curves", fail)
    assert train.main([*TINY, "--runs-dir", str(tmp_path), "--name", "r"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("the curves are left out, the training goes on: ")
    assert (tmp_path / "r" / "result.json").exists()


# text that a terminal cannot print, notebooks, programs without a console, paths


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "cp932", "latin-1", "utf-8", "utf-8:surrogateescape",
                                      "ascii:surrogateescape"])
def test_any_name_of_a_file_is_printed_in_any_encoding(tiny_run, tmp_path, encoding):
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    names = ["猫.png", "caf\udce9.png", "😀.png", "собака.png"]
    for name in names:
        shutil.copy(tmp_path / "x.png", tmp_path / name)
    def predicted(*files):
        return subprocess.run([sys.executable, "-m", "minitorch_alex.predict", *files, "-w", tiny_run], cwd=tmp_path,
                              capture_output=True, timeout=300,
                              env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding})

    done = predicted(*names)
    assert done.returncode == 0 and done.stderr == b"", done.stderr
    if encoding == "ascii":
        assert rb"\u732b.png  (8 x 8)" in done.stdout and rb"caf\udce9.png" in done.stdout
    missing = predicted("no 猫\udce9.png")
    assert missing.returncode == 4 and missing.stderr.startswith(b"error: ") and missing.stderr.count(b"\n") == 1


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_script_with_a_narrow_stdout_keeps_its_own_settings(tiny_run, tmp_path, encoding):
    Image.new("RGB", (8, 8)).save(tmp_path / "猫.png")
    code = ("import sys\nfrom minitorch_alex import predict\n"
            f"assert predict.main(['\\u732b.png', '-w', {str(tiny_run)!r}]) == 0\n"
            "assert sys.stdout.errors == 'strict'")
    done = python("-c", code, cwd=tmp_path, PYTHONIOENCODING=encoding)
    assert done.returncode == 0 and "\\u732b.png" in done.stdout, done.stderr


def test_classes_with_any_name_are_trained_evaluated_and_predicted(tmp_path):
    """A folder named in Latin-1 by an old zip, one with TeX in it, one in Chinese; stdout is cp1252."""
    write_folders(tmp_path / "pets", ("caf\udce9", "Ba$$in_{", "猫"), ("cat", "dog", "emu"))
    Image.new("RGB", (40, 40), COLOURS["cat"]).save(tmp_path / "red.png")
    flags = [*FLAGS[:-2], "--epochs", "1", "--name", "r"]
    for args in (["train", *flags], ["evaluate", "runs/r", "--views", "single"],
                 ["predict", "red.png", "-w", "runs/r", "--out", "p.png"], ["plots", "runs/r", "--predictions"],
                 ["train", "--resume", "runs/r", "--epochs", "2"]):
        done = python("-m", f"minitorch_alex.{args[0]}", *args[1:], cwd=tmp_path, PYTHONIOENCODING="cp1252")
        assert done.returncode == 0 and done.stderr == "", done.stderr
    assert runs.Run(tmp_path / "runs" / "r").read_config()["classes"] == ["Ba$$in_{", "caf\udce9", "猫"]


class NotebookStream(io.TextIOBase):
    """As ipykernel's OutStream: text goes in, and there is neither reconfigure nor a descriptor."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text
        return len(text)


@pytest.mark.parametrize("module", ["train", "predict", "profile", "evaluate", "models.compare", "__main__", "plots"])
def test_run_from_a_notebook_or_without_a_console_it_answers(monkeypatch, module):
    """%run -m in Jupyter, and pythonw, where stdout and stderr are None."""
    for streams in ((NotebookStream(), NotebookStream()), (None, None)):
        monkeypatch.setattr(sys, "stdout", streams[0])
        monkeypatch.setattr(sys, "stderr", streams[1])
        monkeypatch.setattr(sys, "argv", ["x", "--help"])
        target = importlib.import_module(f"minitorch_alex.{module}" + ".__main__" * (module == "plots"))
        with pytest.raises(SystemExit) as stop:
            cli.run_cli(target.main)
        assert stop.value.code == 0 and (streams[0] is None or "usage" in streams[0].text)


def test_it_trains_without_a_console(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert train.main([*TINY, "--runs-dir", str(tmp_path), "--name", "r"]) == 0
    assert evaluate.main([str(tmp_path / "r"), "--views", "single"]) == 0


def test_what_deterministic_sets_is_there_for_a_second_training_and_gone_afterwards(monkeypatch):
    """The variable is cuBLAS's: it reads it when it starts, so a second program needs no fresh process."""
    monkeypatch.delenv(cli.WORKSPACE_VARIABLE, raising=False)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    cupy = object()
    for _ in range(2):
        with cli.guest_of_process():
            cli.device.fix_workspace()
            assert os.environ[cli.WORKSPACE_VARIABLE] in cli.WORKSPACES
            monkeypatch.setitem(sys.modules, "cupy", cupy)
        assert cli.WORKSPACE_VARIABLE not in os.environ
    monkeypatch.setitem(sys.modules, "cupy", object())
    with pytest.raises(UsageError, match="before CuPy starts"):
        cli.device.fix_workspace()


def test_a_tilde_is_the_home_in_every_flag_that_names_a_path(trained, tmp_path, monkeypatch, capsys):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("pets", "red.png"):
        shutil.move(trained / name, home)
    (home / "names.txt").write_text("a\nb\n")
    assert train.main([*FLAGS, "--data-dir=~/pets", "--runs-dir=~/runs", "--epochs", "1"]) == 0
    assert train.main(["--resume=~/runs/pets", "--epochs", "2"]) == 0
    assert evaluate.main(["~/runs/pets", "--views", "single", "--out=~/report", "--data-dir=~/pets"]) == 0
    assert predict.main(["~/red.png", "--weights=~/runs/pets", "--out=~/p.svg", "--classes=~/names.txt"]) == 0
    assert draw(["~/runs/pets", "--maps=~/red.png", "--out=~/figures", "--data-dir=~/pets"]) == 0
    assert profile.main(["quick_26", "--plot=~/net.svg"]) == 0
    assert {path.name for path in home.iterdir()} == {"pets", "red.png", "names.txt", "runs", "report", "p.svg",
                                                      "figures", "net.svg"}
    assert not list(trained.rglob("~*"))
    assert cli.path("no~tilde/~/x") == Path("no~tilde/~/x") and cli.home("") == ""
    assert cli.path("~no-such-user-here/x") == Path("~no-such-user-here/x")


@pytest.mark.parametrize("text", [b"\xef\xbb\xbfone\r\ntwo\r\n", "one\ntwo".encode("utf-16"), b"one\ntwo\n\n\n"])
def test_names_of_classes_as_editors_write_them(tmp_path, text):
    (tmp_path / "names.txt").write_bytes(text)
    assert predict.read_classes(tmp_path / "names.txt", 2) == ["one", "two"]


@pytest.mark.parametrize(("size", "seconds"), [((60000, 1), 5), ((1, 60000), 5), ((30000, 2), 5)])
def test_a_thin_picture_is_cut_before_it_is_enlarged(tmp_path, size, seconds):
    Image.new("RGB", size).save(tmp_path / "t.png")
    begin = time.perf_counter()
    assert predict.square(predict.read_image(tmp_path / "t.png"), 256).shape == (256, 256, 3)
    assert time.perf_counter() - begin < seconds
