"""The wheel and the source archive: built, installed into fresh environments, and used there."""
import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent


def run(*command, cwd, **environment):
    """What a program prints; its errors are shown when it fails."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MINITORCH_FILES_URL")}
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True,
                          env={**clean, **environment})
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(the unpacked source archive, the wheel that was built from it)."""
    folder = tmp_path_factory.mktemp("dist")
    source = folder / "source"
    try:
        files = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).split("\0")
    except (AssertionError, OSError):  # an unpacked source archive
        files = [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*")]
    for name in filter(None, files):
        if (ROOT / name).is_file() and not name.startswith((".venv", "build/", "runs/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    build = "from setuptools import build_meta; import sys; print(build_meta.build_{}(sys.argv[1]))"
    archive = run(sys.executable, "-c", build.format("sdist"), folder, cwd=source).splitlines()[-1]
    with tarfile.open(folder / archive) as tar:
        tar.extractall(folder, filter="data")
    unpacked = folder / archive.removesuffix(".tar.gz")
    wheel = run(sys.executable, "-c", build.format("wheel"), folder, cwd=unpacked).splitlines()[-1]
    return unpacked, folder / wheel


@pytest.fixture(scope="module")
def fresh(built, tmp_path_factory):
    """The folder of programs of a fresh environment with the wheel in it. What the package depends on is that of
    this environment, so that nothing is downloaded."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    site = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    run(programs / "python", "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--ignore-installed",
        "--prefix", folder, built[1], cwd=folder)
    return programs


@pytest.mark.slow
def test_the_wheel_is_whole(built, fresh, tmp_path):
    """From an empty folder: the script, a prediction, a model as a library, a training, a lesson."""
    Image.new("RGB", (60, 40), "red").save(tmp_path / "red.png")
    script, python = fresh / "minitorch-alex", fresh / "python"
    where = run(python, "-c", "import minitorch_alex; print(minitorch_alex.__file__)", cwd=tmp_path)
    assert str(fresh.parent) in where
    assert run(script, "--version", cwd=tmp_path).startswith("minitorch_alex ")
    assert "airplane" in run(script, "predict", "red.png", "-w", "pretrained", cwd=tmp_path)
    code = "import minitorch_alex as mt; print(mt.load('pretrained')('red.png').top(1))"
    assert run(python, "-c", code, cwd=tmp_path).startswith("[Guess(name=")
    flags = "-a quick_26 --data shapes --limit 20 --val-split 0 --epochs 1 --name tiny".split()
    assert "test accuracy" in run(script, "train", *flags, cwd=tmp_path)
    assert "star" in run(script, "predict", "red.png", "-w", "runs/tiny", "--top", "10", cwd=tmp_path)
    run(script, "lessons", "lessons", cwd=tmp_path)
    assert (tmp_path / "lessons" / "01_conv.py").exists()
    with zipfile.ZipFile(built[1]) as wheel:
        names = wheel.namelist()
        (metadata,) = [wheel.read(name).decode() for name in names if name.endswith("dist-info/METADATA")]
    assert "minitorch_alex/py.typed" in names and not any(name.startswith(("tests/", "setup")) for name in names)
    for line in ("License-Expression: MIT AND LicenseRef-WordNet", "License-File: licenses/WordNet.txt",
                 "Classifier: Topic :: Scientific/Engineering :: Image Recognition",
                 "Description-Content-Type: text/markdown"):
        assert line in metadata.splitlines()
    assert "## Quick start" in metadata and "](docs/" not in metadata


@pytest.mark.slow
def test_the_tests_of_the_source_archive_run(built):
    """All of them are found with all that they import, and some are run, on the package in the archive."""
    unpacked, _ = built
    listed = run(sys.executable, "-m", "pytest", "--collect-only", "-q", "--assert=plain", cwd=unpacked,
                 PYTHONPATH=str(unpacked))
    assert "error" not in listed.splitlines()[-1] and int(re.search(r"(\d+)(?:/\d+)? tests", listed)[1]) > 1000
    some = ("tests/test_files.py", "tests/test_2012.py", "tests/test_docs.py")
    done = run(sys.executable, "-m", "pytest", "-q", "--assert=plain", *some, cwd=unpacked, PYTHONPATH=str(unpacked))
    assert "passed" in done.splitlines()[-1] and "failed" not in done


def test_links_of_the_index_page_lead_somewhere():
    spec = importlib.util.spec_from_file_location("setup_of_the_package", ROOT / "setup.py")
    setup = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(setup)
    text = "![a net](docs/net.png) [guide](docs/a.md#end), [here](#below), [there](https://x.org/a)"
    rest = "[here](#below), [there](https://x.org/a)"
    assert setup.index_page(text, "") == f" guide, {rest}"
    url = "https://host/me/it/blob/v1"
    assert setup.index_page(text, url) == (
        f"![a net](https://host/me/it/raw/v1/docs/net.png) [guide]({url}/docs/a.md#end), {rest}")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "](docs/" in readme and not re.search(r"\]\((?!https?:|#)", setup.index_page(readme, ""))
