"""What the README says is so: its numbers stand in results/, its counts are the code's, its example runs."""
import json
import re
from pathlib import Path

from mutants import all_mutants
from PIL import Image

from benchmarks import own_pictures, reader, report, scaling
from minitorch_alex import models
from minitorch_alex.models import AlexNet, AlexNetConfig, compare
from minitorch_alex.models.alexnet import PRESETS
from minitorch_alex.plots.__main__ import FIGURES
from minitorch_alex.training.cli import clock

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SMALL = ("alexnet_cifar", *models.SMALL)  # of ten classes
RESULTS = sorted((ROOT / "results").glob("*.json"))


def table(heading):
    """The rows of the first table after a heading, as lists of cells without mark-up."""
    lines = README[README.index(f"\n## {heading}\n"):].splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|---"))
    rows = []
    for line in lines[start + 1:]:
        if not line.startswith("|"):
            break
        rows.append([re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", cell).strip(" `") for cell in line.strip("|").split("|")])
    return rows


def test_every_result_says_where_it_comes_from():
    assert RESULTS
    for file in RESULTS:
        result = json.loads(file.read_text())
        assert all(result.get(key) not in (None, "") for key in ("command", "commit", "device", "date")), file
        assert result["command"].startswith(("python -m minitorch_alex.", "python -m benchmarks.")), file
        assert isinstance(result["seed"], int) and not result["commit"].endswith("-dirty"), file
        assert "/" not in re.sub("(runs|data)/", "", result["command"]), f"{file} names a path of somebody's machine"


def test_the_results_table_is_what_the_records_say():
    rows = table("Results")
    assert {row[0] for row in rows} <= set(models.MODELS)
    for name, single, nine, ten, epochs, minutes, record, *_ in rows:
        trained = json.loads((ROOT / "results" / record).read_text())
        views = json.loads((ROOT / "results" / record.replace(".json", "-evaluate.json")).read_text())["views"]
        assert trained["model"] == name and trained["test"]["top1_error"] == views["single"]["top1_error"]
        assert [single, nine, ten] == [f"{views[kind]['top1_error']:.2f} %" for kind in ("single", "nine", "ten")]
        assert int(epochs) == trained["recipe"]["epochs"] == len(trained["curve"])
        assert minutes == f"{trained['seconds'] / 60:.0f} min"


def test_the_speed_tables_are_what_the_record_says():
    content, older = (json.loads((ROOT / "results" / f"{name}.json").read_text())
                      for name in ("cpu_speed", "cpu_speed_epyc"))
    assert report.summary(content) in README
    page = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    assert f"## The tables\n\n{report.tables(content)}\n\n## Older tables" in page
    assert page.endswith(report.tables(older) + "\n")


def test_the_newest_speeds_are_what_the_record_says():
    content = json.loads((ROOT / "results" / "cpu_speed_now.json").read_text())
    page = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    assert f"\n\n{report.summary(content)}\n\nIn inference ours" in page and content["commit"][:7] in page
    rows = {name: entry["summary"] for name, entry in content["speed"].items()}
    told = re.search(r"\((\d\.\d+) and (\d\.\d+) of its speed, \[cpu_speed_now", " ".join(README.split())).groups()
    assert [float(number) for number in told] == [
        round(rows[name]["torch"]["train_ratio"][0], 2) for name in ("net_18-b128", "net_w2-b128")]
    inference = [f"{rows[name]['torch-best']['inference_ratio'][0]:.2f}"
                 for name in ("alexnet-b128", "alexnet-b32", "alexnet_torchvision-b128")]
    assert "{}, {} and {} of PyTorch at its best".format(*inference) in " ".join(page.split())


def test_the_table_of_ranks_is_what_the_record_says():
    content = json.loads((ROOT / "results" / "scaling.json").read_text())
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    assert "<!-- scaling -->\n{}\n<!-- /scaling -->".format("\n".join(scaling.table(content))) in page
    assert scaling.sum_words(content) in " ".join(page.split())
    assert content["ratios"] == scaling.summary(content["samples"])["ratios"]


def test_the_reader_tables_are_what_the_record_says():
    content = json.loads((ROOT / "results" / "reader_speed.json").read_text())
    assert reader.table(content) in (ROOT / "docs" / "imagenet.md").read_text(encoding="utf-8")
    assert content["reader"]["all"]["derived"] == reader.derived(content["reader"]["all"]["summary"])


def test_the_ten_classes_of_imagenet_are_the_recorded_ones():
    trained, measured = (json.loads((ROOT / "results" / f"ten_classes{end}.json").read_text())
                         for end in ("", "-evaluate"))
    page = (ROOT / "docs" / "imagenet.md").read_text(encoding="utf-8")
    assert trained["test"]["top1_error"] == measured["views"]["single"]["top1_error"] and measured["images"] == 1000
    for name, kind in (("centre", "single"), ("mean of nine", "nine"), ("mean of ten", "ten")):
        view = measured["views"][kind]
        assert f"| {name} | {view['top1_error']:.2f} % | {view['top5_error']:.2f} % |" in page
    assert len(trained["curve"]) == 40 and f"{clock(trained['seconds'])} of training" in page
    for flag in ("-b 64", "--epochs 40", "milestones=(28,36)", "--winograd"):
        assert flag in trained["command"] and flag in page


def test_the_tables_of_own_pictures_are_what_the_record_says():
    record = json.loads((ROOT / "results" / "own_pictures.json").read_text())
    assert record["summary"] == own_pictures.summary(record["trainings"])
    for page in ("README.md", "docs/own_pictures.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        assert f"<!-- own pictures -->\n{own_pictures.table(record)}\n<!-- /own pictures -->" in text, page


def test_the_first_run_is_the_recorded_one():
    result = json.loads((ROOT / "results" / "first.json").read_text())
    words = " ".join(README.split())
    assert f"`make train` ends with {100 - result['test']['top1_error']:.2f} % of the test shapes right" in words
    recipe = (ROOT / "Makefile").read_text().replace("\\\n\t ", "")
    for flag in ("--epochs 12", "channels=(24,64,96,96,64)", "hidden=(256,256)", "milestones=(8,11)",
                 "--conv im2col"):
        assert flag in recipe and flag in result["command"]


def test_the_table_of_models_has_them_all_with_their_parameters():
    rows = table("Models")
    assert [row[0] for row in rows] == list(models.MODELS)
    for name, _, count in rows:
        classes, preset = 10 if name in SMALL else 1000, models.ALEXNETS.get(name)
        model = (AlexNet(getattr(AlexNetConfig, preset)(num_classes=classes).blank()) if preset
                 else models.build(name, classes))
        assert count == f"{sum(p.size for p in model.parameters()):,}", name


def test_the_tables_of_alexnets_are_what_compare_prints(capsys):
    compare.main(["--markdown", "--short", "paper", "source_2012", "caffe", "torchvision"])
    assert f"<!-- compare -->\n{capsys.readouterr().out}<!-- /compare -->" in README
    assert "`--markdown --short paper source_2012 caffe torchvision`" in README
    page = (ROOT / "docs" / "alexnets.md").read_text(encoding="utf-8")
    compare.main([])
    assert page.count(f"\n```\n{capsys.readouterr().out}```\n") == 1
    assert re.findall(r"^\| `(\w+)` \|", page, re.M) == list(PRESETS)


def test_the_gallery_shows_all_its_pictures_and_none_is_large():
    page = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    shown = re.findall(r"!\[[^]]+\]\(gallery/([\w-]+\.png)\)", page)
    files = {file.name: file.stat().st_size for file in (ROOT / "docs" / "gallery").iterdir()}
    assert sorted(shown) == sorted(files) and max(files.values()) < 200_000
    kinds = re.findall(r"minitorch_alex\.plots --(\w+)", page)
    assert sorted(kinds) == sorted(["curves", *FIGURES]), "one figure of each kind"


def test_the_number_of_planted_bugs():
    assert f"**Planted bugs**: {len(all_mutants())} honest mistakes" in README


def test_the_layout_is_as_drawn():
    drawing = README[README.index("## Project layout"):README.index("Imports run one way only")]
    named = set(re.findall(r"[\w/]+\.py|\b[a-z_]+/", drawing))
    known = {p.name for p in ROOT.rglob("*.py")} | {f"{p.name}/" for p in ROOT.rglob("*") if p.is_dir()}
    assert named <= known, named - known
    drawn = {Path(name).name for name in named}
    missing = {p.name for p in (ROOT / "minitorch_alex").glob("*.py")} - drawn - {"__init__.py", "errors.py"}
    assert not missing, f"not in the README's map: {missing}"


def test_the_example_runs_and_learns(capsys):
    code = re.search(r"```python\n(.*?)```", README, re.S).group(1)
    exec(compile(code, "README.md", "exec"), {})
    losses = [float(line) for line in capsys.readouterr().out.split()]
    assert len(losses) == 5 and losses[-1] < losses[0]


def test_the_lines_about_a_trained_model_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (50, 40), "red").save("cat.jpg")
    code = re.search(r"```py\n(.*?)```", README, re.S).group(1)
    exec(compile(code, "README.md", "exec"), {})
    assert len(code.splitlines()) == 3 and capsys.readouterr().out.count("Guess(name=") == 5
