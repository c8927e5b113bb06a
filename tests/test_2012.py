"""docs/2012.md: facts have a link to a line at a fixed commit, or are marked as inferences; its table is current."""
import re
from datetime import date
from pathlib import Path

from benchmarks import runs_2012
from minitorch_alex.claims import CLAIMS
from minitorch_alex.evaluate import FLAGS

PAGE = (Path(__file__).parent.parent / "docs" / "2012.md").read_text(encoding="utf-8")
STORY = PAGE.partition("## All runs")[0]
LINK = re.compile(r"\]\((https://[^)]+)\)")


def test_links_into_repositories_name_a_commit_and_a_line():
    links = LINK.findall(PAGE)
    assert len(links) > 100
    for link in links:
        if link.startswith("https://github.com/"):
            assert re.fullmatch(r"https://github.com/[\w-]+/[\w-]+/(blob/[0-9a-f]{40}/\S+#L\d+(-L\d+)?|"
                                r"commit/[0-9a-f]{40})", link), link


def test_every_paragraph_of_the_story_has_a_source_or_is_an_inference():
    for paragraph in re.split(r"\n\n+", STORY.strip()):
        if paragraph.startswith(("#", "!", "    $", "|", "```", "The paper describes one", "Three things about")):
            continue
        assert LINK.search(paragraph) or "*(inference" in paragraph or "the paper's\nsection" in paragraph, paragraph


def test_the_table_is_the_scripts_and_its_runs_are_in_order():
    assert PAGE.count(runs_2012.BEGIN + runs_2012.table() + runs_2012.END) == 1, "run python -m benchmarks.runs_2012"
    days = [date.fromisoformat(run.began) for run in runs_2012.RUNS]
    assert days == sorted(days)
    best = {run.name: (run.top1, run.top5) for run in runs_2012.RUNS if run.data == "2012"}
    assert best["145"] == (40.664, 18.210)  # layers/layer-params-145.cfg:182, the paper's 40.7 / 18.2


def test_the_commands_of_the_page_exist():
    for name in re.findall(r"\$ python -m minitorch_alex\.ablate ([\w-]+)", PAGE):
        assert name in CLAIMS
    assert "--search-weights" in PAGE and any(flag.dest == "search_weights" for flag in FLAGS)


def test_the_picture_is_drawn(tmp_path):
    runs_2012.draw(tmp_path / "runs.png")
    assert (tmp_path / "runs.png").stat().st_size > 10_000
