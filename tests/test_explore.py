"""The pictures that are moved by hand: in a real browser, their numbers are the package's.

Needs Playwright (pip install -e '.[browser]') and a Chromium: Playwright's own, or one in PATH.
"""
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minitorch_alex as mt
from minitorch_alex import functional as F
from minitorch_alex import optim
from minitorch_alex.errors import ShapeError
from minitorch_alex.kernels import Window
from minitorch_alex.nn import Parameter

playwright = pytest.importorskip("playwright.sync_api", reason="needs pip install -e '.[browser]'")
ROOT = Path(__file__).parent.parent
LESSONS = ROOT / "lessons"
DRAW = np.random.default_rng(5)
X = DRAW.integers(0, 10, (4, 8, 8))
W = DRAW.integers(-2, 3, (4, 4, 5, 5))
A = np.array([30, 0, 40, 20, 35, 200, 25, 30, 0, 40, 10, 120, 160, 30, 20, 40], np.float64)
PICTURES = {"window": {"x": X, "w": W}, "lrn": {"a": A}, "momentum": {"count": 100}}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        try:
            chromium = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"no Chromium: {str(error).splitlines()[0]}")
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def html():
    """A page with the three pictures, as kit.py writes them."""
    spec = importlib.util.spec_from_file_location("kit", LESSONS / "kit.py")
    kit = importlib.util.module_from_spec(spec)
    before = sys.excepthook
    spec.loader.exec_module(kit)
    sys.excepthook = before
    figures = [kit.movable(name, "Try it.", "Still.", **data) for name, data in PICTURES.items()]
    return f"<!doctype html><meta name=viewport content='width=device-width'><body>{''.join(figures)}"


@pytest.fixture
def page(browser, html):
    """The page, which must not log an error until the test is over."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.set_content(html)
    yield page
    context.close()
    assert not errors


def test_the_windows_are_those_of_conv2d(page):
    """Kernels, strides, paddings, dilations and groups that the sliders reach."""
    settings = [(k, s, p, d, g) for k in range(1, 6) for s in range(1, 5) for p in range(4)
                for d in range(1, 4) for g in (1, 2, 4)]
    # each 19th of them (of the 720, so that all values of each slider occur), all windows and kernels
    for k, s, p, d, g in settings[::19]:
        w = W[:, :4 // g, :k, :k]
        chosen = {"stride": s, "padding": p, "dilation": d, "groups": g}
        sides, values = page.evaluate(
            """([x, w, k, chosen]) => {
                const out = explore.outSize(8, k, chosen.stride, chosen.padding, chosen.dilation);
                const all = [...Array(Math.max(0, out)).keys()];
                return [out, w.map((_, o) => all.map((i) => all.map((j) =>
                    explore.convolveAt(x, w, o, i, j, chosen).value)))];
            }""", [X.tolist(), w.tolist(), k, chosen])
        try:
            y = F.conv2d(mt.Tensor(X[None].astype(float)), mt.Tensor(w.astype(float)), stride=s, padding=p,
                         dilation=d, groups=g).numpy()[0]
        except ShapeError:  # no window fits
            assert sides < 1
            continue
        assert sides == y.shape[1] == Window.of(k, s, p, d).out(8, 8)[0]
        np.testing.assert_array_equal(np.array(values), y)


def test_lrn_is_that_of_the_package(page):
    for size in range(1, 10):
        for alpha, beta, k in ((1e-4, 0.75, 2.0), (0.1, 1.0, 0.5), (1e-5, 0.0, 4.0)):
            got = page.evaluate("([a, settings]) => explore.lrn(a, settings).map((one) => one.b)",
                                [A.tolist(), {"size": size, "alpha": alpha, "beta": beta, "k": k}])
            # the package divides alpha by size
            expected = F.local_response_norm(mt.Tensor(A.reshape(1, 16, 1, 1)), size, alpha * size, beta, k)
            np.testing.assert_allclose(got, expected.numpy().ravel(), rtol=1e-12)


def test_the_steps_are_those_of_sgd(page):
    for momentum in (0.0, 0.5, 0.9, 0.95):
        for factor, drop in ((10, 50), (3, 7), (1, 90)):
            got = page.evaluate("(settings) => explore.momentumSteps(settings, 100)",
                                {"momentum": momentum, "factor": factor, "drop": drop})
            for rule, name in (("2012", "paper"), ("torch", "torch")):
                weight = Parameter(np.zeros(1))
                sgd = optim.SGD([weight], lr=1.0, momentum=momentum, weight_decay=0.0, rule=rule)
                lengths = []
                for step in range(100):
                    sgd.param_groups[0]["lr"] = 1.0 if step < drop else 1.0 / factor
                    weight.grad = np.ones(1)
                    before = weight.data.copy()
                    sgd.step()
                    lengths.append(float((before - weight.data)[0]))
                np.testing.assert_allclose(got[name], lengths, rtol=1e-9, err_msg=f"{rule} {momentum}")


@pytest.mark.parametrize("name", PICTURES)
def test_each_slider_is_moved_by_the_keyboard_and_changes_the_text(page, name):
    figure = page.locator(f"#explore-{name}")
    assert not figure.locator(".still").count(), "the still text is for readers without JavaScript"
    sliders = figure.locator("input[type=range]")
    assert sliders.count() >= 3
    for i in range(sliders.count()):
        slider = sliders.nth(i)
        label = figure.locator("label").nth(i).inner_text()
        assert page.locator(f"label[for={slider.get_attribute('id')}]").inner_text() == label
        told = set()
        for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "Home", "End"):
            slider.focus()
            page.keyboard.press(key)
            told.add(figure.locator("[role=status]").inner_text())
        assert len(told) >= 2, f"{label} changes nothing that is told"
        slider.evaluate("(input) => { input.value = input.defaultValue; input.dispatchEvent(new Event('input')); }")
        assert all(not re.search("NaN|undefined|Infinity", text) for text in told)
    assert figure.locator("svg[role=img][aria-label]").count()


def test_all_ends_of_the_sliders_can_be_drawn(page):
    """All at their smallest and largest value at once, in every combination of ends."""
    for name in PICTURES:
        texts = page.evaluate("""(name) => {
            const figure = document.getElementById(`explore-${name}`);
            const inputs = [...figure.querySelectorAll("input")];
            const texts = [];
            for (let bits = 0; bits < 2 ** inputs.length; bits++) {
                inputs.forEach((input, i) => { input.value = bits >> i & 1 ? input.max : input.min; });
                inputs[0].dispatchEvent(new Event("input"));
                texts.push(figure.querySelector("[role=status]").textContent
                    + [...figure.querySelectorAll("rect, polyline, text")].map((one) => one.outerHTML).join());
            }
            return texts;
        }""", name)
        assert len(texts) >= 8
        assert not [text for text in texts if re.search("NaN|undefined|Infinity", text)]


@pytest.mark.parametrize("width", (1280, 400))
def test_nothing_reaches_over_the_edge(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for box in page.locator("svg").all():
        assert box.bounding_box()["x"] + box.bounding_box()["width"] <= width


def test_dark_mode_and_reduced_motion_are_heeded(page):
    def look():
        return page.evaluate("""() => {
            const text = document.querySelector(".explore svg text");
            return [getComputedStyle(text).fill, getComputedStyle(document.querySelector(".explore rect"))
                .transitionDuration];
        }""")
    assert look() == ["rgb(0, 0, 0)", "0.15s"]
    page.evaluate("document.body.style.setProperty('--color-foreground-primary', 'rgb(200, 210, 220)')")
    page.emulate_media(reduced_motion="reduce")
    assert look() == ["rgb(200, 210, 220)", "0s"]


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """The book with lesson 1 alone, built as `make lessons` does."""
    pytest.importorskip("myst_nb", reason="needs pip install -e '.[docs]'")
    folder = tmp_path_factory.mktemp("book")
    flags = f"--quick --out {folder / 'out'}"
    # without -W: the table of lessons links to pages that this build leaves out
    subprocess.run([sys.executable, "-m", "sphinx", "-q", "-c", ROOT / "docs" / "site", "-t", "lessons",
                    "-D", "include_patterns=index.md,01_conv.py", LESSONS, folder / "html"],
                   check=True, env={**os.environ, "MINITORCH_LESSON": flags})
    return folder / "html"


@pytest.mark.lessons
@pytest.mark.parametrize("width", (1280, 400))
def test_in_the_book_answers_are_hidden_and_the_picture_moves(browser, book, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto((book / "01_conv.html").as_uri())
    answers = page.locator("details.answer")
    assert answers.count() >= 5
    for answer in answers.all():
        # folded itself, or in the folded cell with the result
        assert answer.get_attribute("open") is None
    for question in page.locator(".predict").all():
        assert question.is_visible()
    status = page.locator("#explore-window [role=status]")
    before = status.inner_text()
    page.locator("#explore-window-dilation").press("ArrowRight")
    assert status.inner_text() != before and "3 x 3 windows" in status.inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()
    assert not errors
