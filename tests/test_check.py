"""The checker: exercises as given fail, solutions pass, known mistakes are named."""
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import learner_mistakes
import numpy as np
import pytest

from minitorch_alex import check, lessons
from minitorch_alex.check import Answer, Bug, Exercise, Faster, Holds, Same, difference, judge, places
from minitorch_alex.check.__main__ import NOT_SOLVED, main
from minitorch_alex.check.given import given, name_in_git
from minitorch_alex.check.reset import original_file
from minitorch_alex.errors import DataError, UsageError

ROOT = Path(__file__).parent.parent
ALL = [(name, exercise) for name in check.LESSONS for exercise in check.exercises(name)]
BUGS = [(name, exercise, bug) for name, exercise in ALL for bug in exercise.bugs]


def named(values):
    return [
        pytest.param(*v, id=" ".join([v[1].number, v[1].name, *(b.name for b in v[2:])]))
        for v in values
    ]


@pytest.mark.parametrize("name, exercise", named(ALL))
def test_what_is_given_fails_and_says_what_to_do(name, exercise):
    verdict = judge(exercise, ROOT / "lessons" / "exercises" / f"{name}.py")
    assert not verdict.passed
    assert len(verdict.problem) > 10
    assert exercise.hints, "an exercise needs a hint"


@pytest.mark.parametrize("name, exercise", named(ALL))
def test_every_solution_passes(name, exercise):
    verdict = judge(exercise, ROOT / "lessons" / "solutions" / f"{name}.py")
    assert verdict.passed, f"{verdict.label}: {verdict.problem}"
    assert verdict.cases >= 1


@pytest.mark.parametrize("name, exercise", named(ALL))
def test_every_solution_has_a_commentary(name, exercise):
    assert len(check.commentary(exercise, name)) > 40


@pytest.mark.parametrize("name, exercise, bug", named(BUGS))
def test_every_known_mistake_is_recognised_by_name(name, exercise, bug, tmp_path):
    """The learner's file is the solution with the mistake in it."""
    source = (ROOT / "lessons" / "solutions" / f"{name}.py").read_text()
    assert source.count(bug.old) == 1
    path = tmp_path / f"{name}.py"
    path.write_text(source.replace(bug.old, bug.new))
    verdict = judge(exercise, path)
    assert not verdict.passed, "the check lets this mistake through"
    assert bug.name in [b.name for b in verdict.bugs], (
        f"taken for {[b.name for b in verdict.bugs]}: {verdict.problem}"
    )


def write_edited(folder, number, edits):
    """(exercise, a file with the edited solution of it)."""
    name = check.lesson_name(number)
    source = (ROOT / "lessons" / "solutions" / f"{name}.py").read_text()
    for old, new in edits:
        assert not old or source.count(old) == 1, old
        source = source.replace(old, new) if old else f"{source}\n{new}"
    path = folder / f"{name}.py"
    path.write_text(source)
    return next(e for e in check.exercises(name) if e.number == number), path


def test_mistakes_of_other_people_are_caught_and_mostly_explained(tmp_path):
    """None passes; of at least 85 % the name or what the numbers show is told."""
    silent = []
    for number, what, edits in learner_mistakes.WRONG:
        verdict = judge(*write_edited(tmp_path, number, edits))
        assert not verdict.passed, f"{number}: {what} is let through"
        assert verdict.written
        said = ("came back changed", "two calls with the same", "exchanged", "lets through",
                "should take less")
        if not (verdict.bugs or verdict.clue or any(s in verdict.problem for s in said)):
            silent.append(f"{number} {what}: {verdict.problem}")
    assert len(silent) <= 0.15 * len(learner_mistakes.WRONG), "\n".join(silent)


@pytest.mark.parametrize("number, what, edits", learner_mistakes.RIGHT)
def test_what_is_right_in_another_way_passes(number, what, edits, tmp_path):
    verdict = judge(*write_edited(tmp_path, number, edits))
    assert verdict.passed, f"{verdict.label}: {verdict.problem}"
    assert ("precision was lost" in verdict.note) == ("float32" in what)


@pytest.mark.parametrize("number, edits, name", (
    ("6.1", [(learner_mistakes.SUM_OF_SQUARES,
              "window_sum(x * x, size, size)")], "size to each side"),
    ("6.1", [(learner_mistakes.SUM_OF_SQUARES,
              "(x * x).sum(axis=1, keepdims=True) * np.ones_like(x)")], "all channels"),
    ("1.1", [("return 1 + steps", "return -(-size // stride)")], "TensorFlow's SAME"),
))
def test_mistakes_that_look_alike_in_the_first_case_are_told_apart(number, edits, name, tmp_path):
    assert [b.name for b in judge(*write_edited(tmp_path, number, edits)).bugs] == [name]


@pytest.mark.parametrize("before", (b"\xef\xbb\xbf", b"# -*- coding: cp1252 -*-\n# caf\xe9\n"))
def test_a_file_that_python_reads_is_read(before, tmp_path):
    path = tmp_path / "01_conv.py"
    text = (ROOT / "lessons" / "solutions" / "01_conv.py").read_bytes()
    path.write_bytes(before + text.replace(b"\n", b"\r\n"))
    assert judge(check.exercises("01_conv")[0], path).passed


def test_not_implemented_in_a_branch_of_ones_own_is_an_error(tmp_path):
    edits = [("    room = size", '    if ceil_mode:\n        raise NotImplementedError("later")\n'
                                 "    room = size")]
    verdict = judge(*write_edited(tmp_path, "1.1", edits))
    assert verdict.written and "NotImplementedError: later" in verdict.problem


def test_checks_that_are_not_there_are_named_in_one_line(tmp_path, monkeypatch):
    (tmp_path / "lessons" / "exercises").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        DataError, match="03_autograd.py; git checkout brings the checks"
    ) as caught:
        check.exercises("03_autograd")
    assert "\n" not in str(caught.value)


def test_without_the_lessons_folder_the_package_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        places,
        "__file__",
        str(tmp_path / "site-packages" / "minitorch_alex" / "check" / "places.py"),
    )
    with pytest.raises(DataError, match="not part of the installed package"):
        check.exercises("03_autograd")


def test_each_lesson_has_two_exercises_or_more_with_distinct_numbers():
    for name in check.LESSONS:
        numbers = [e.number for e in check.exercises(name)]
        assert 2 <= len(numbers) == len(set(numbers))
        assert all(n.startswith(f"{int(name[:2])}.") for n in numbers)


# The machinery, on a lesson of its own

SOLUTION = '''import numpy as np

SUM = 6

def square(x):
    """x times itself.

    Commentary: twice a number is its square only for 0 and 2.
    """
    return x * x
'''
GIVEN = '''SUM = None

def square(x):
    raise NotImplementedError("exercise 1.1: return x times itself")
'''


def check_square(m):
    x = np.array([[1.0, 3.0], [-2.0, 0.5]])
    yield Same("a 2 x 2 array", lambda: m.square(x), x * x)
    yield Holds("a square is not negative", lambda: (bool((m.square(x) >= 0).all()), "one is"))


def check_sum(m):
    yield Answer("1 + 2 + 3", lambda: m.SUM, 6)


SQUARE = Exercise("1.1", "square", "square a number", check_square, ("multiply", "x * x"),
                  (Bug("doubled", "this is twice the number", "x * x", "2 * x"),
                   Bug("absolute", "this is the distance from 0", "x * x", "abs(x)")))
SUM = Exercise("1.2", "SUM", "add three numbers", check_sum, ("count",),
               (Bug("product counted twice", "you took 12 for 6", "SUM = 6", "SUM = 12"),))


@pytest.fixture
def lesson(tmp_path, monkeypatch):
    """A folder with one lesson; returns a function that writes the learner's file."""
    for part, text in (("exercises", GIVEN), ("solutions", SOLUTION)):
        (tmp_path / "lessons" / part).mkdir(parents=True)
        (tmp_path / "lessons" / part / "01_conv.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    for module in (check, sys.modules["minitorch_alex.check.__main__"]):
        monkeypatch.setattr(module, "exercises", lambda name: (SQUARE, SUM))
    path = tmp_path / "lessons" / "exercises" / "01_conv.py"

    def write(text):
        path.write_text(text)
        return path
    return write


def body(line):
    return f"import numpy as np\nSUM = 6\ndef square(x):\n    {line}\n"


@pytest.mark.parametrize(
    "line, problem, bug",
    (
        (
            "return 2 * x",
            "first difference at index (0, 0): got 2, expected 1 (4 of 4 differ)",
            "doubled",
        ),
        (
            "return x + x",
            "first difference at index (0, 0): got 2, expected 1 (4 of 4 differ)",
            "doubled",
        ),
        ("return np.abs(x)", "first difference at index (0, 1): got 3, expected 9", "absolute"),
        ("return x ** 3", "first difference at index (0, 1): got 27, expected 9", None),
        ("return (x * x)[0]", "expected shape (2, 2), got (2,)", None),
        ("x * x", "nothing came back (None)", None),
        ("return x @ np.ones(3)", "line 4: return x @ np.ones(3)   ValueError", None),
        ("return 'nine'", "expected an array of numbers, got str", None),
        ("return undefined", "NameError", None),
        ("raise SystemExit(1)", "SystemExit", None),
        ("return x * x * (", "line 4: SyntaxError", None),
    ),
)
def test_a_wrong_exercise_is_explained(lesson, line, problem, bug):
    verdict = judge(SQUARE, lesson(body(line)))
    assert not verdict.passed and verdict.written
    assert problem in verdict.problem
    assert (verdict.bug.name if verdict.bug else None) == bug


def test_what_is_right_passes_however_it_is_written(lesson):
    assert judge(SQUARE, lesson(body("return np.power(x, 2)"))).passed


def test_a_bug_whose_text_is_not_in_the_solution_is_an_error(lesson):
    wrong = Exercise("1.1", "square", "", check_square, (), (Bug("gone", "", "no such text", ""),))
    with pytest.raises(RuntimeError, match="occurs 0 times"):
        judge(wrong, lesson(body("return 2 * x")))


def test_a_slow_one_is_told_by_how_much():
    import time
    slow = Faster("sleep", lambda: time.sleep(0.002), lambda: None, 2).outcome()[1]
    assert "less than half of that" in slow
    assert not Faster("sleep", lambda: None, lambda: time.sleep(0.002), 2).outcome()[1]


@pytest.mark.parametrize(
    "got, expected, text",
    (
        (np.ones(3), np.ones(3), ""),
        ((1.0, np.zeros(2)), (1.0, np.zeros(2)), ""),
        (None, None, ""),
        (3, np.float64(3.0), ""),
        (np.float64(3), 4.0, "got 3, expected 4"),
        (np.ones(3, bool), np.ones(3), "expected float64, got bool"),
        (np.array([np.nan]), np.array([1.0]), "got nan"),
        ((1.0,), (1.0, 2.0), "expected 2 results, got 1"),
        (1.0, (1.0, 2.0), "expected 2 results, got one"),
        ((1.0, 3.0), (1.0, 2.0), "result 2 of 2: got 3, expected 2"),
        (1.0, None, "expected None, got float"),
        ([[1.0], [1.0, 2.0]], np.ones(2), "not an array"),
    ),
)
def test_differences(got, expected, text):
    assert (text in difference(got, expected)) if text else difference(got, expected) == ""


def test_the_command(lesson, capsys):
    assert main(["01"]) == NOT_SOLVED
    out = capsys.readouterr().out
    assert (
        "not written yet" in out
        and "exercise 1.1: return x times itself" in out
        and "no answer yet" in out
    )
    assert "Commentary" not in out and "only for 0 and 2" not in out
    lesson(body("return 2 * x"))
    assert main(["1.1", "--hint", "2"]) == NOT_SOLVED
    out = capsys.readouterr().out
    assert (
        "(doubled): this is twice the number" in out
        and "hint 2 of 2: x * x" in out
        and "1.2" not in out
    )
    lesson(body("return x * x"))
    assert main(["1"]) == 0
    out = capsys.readouterr().out
    assert "All right" in out and "only for 0 and 2" in out, "the commentary comes after success"
    assert main(["--list"]) == 0
    assert "square a number" in capsys.readouterr().out


def test_list_shows_what_is_solved(lesson, capsys):
    lesson(body("return x * x"))
    assert main(["--list"]) == 0
    out = capsys.readouterr().out
    assert "x 1.1  square" in out and "x 1.2  SUM" in out
    lesson(body("return x"))
    main(["--list"])
    assert "  1.1  square" in capsys.readouterr().out


def test_json_is_for_graders(lesson, capsys):
    lesson(body("print('noise'); return 2 * x"))
    assert main(["1", "--json"]) == NOT_SOLVED
    result = json.loads(capsys.readouterr().out)
    square, total = result["exercises"]
    assert (result["solved"], result["of"]) == (1, 2)
    assert square["exercise"] == "1.1" and not square["passed"]
    assert square["mistakes"] == ["doubled"] and "expected 1" in square["problem"]
    assert total["passed"]
    lesson(body("return x * x"))
    assert main(["1", "--json"]) == 0


def test_a_class_is_marked_by_the_script_of_the_guide(tmp_path):
    """Lesson 1 of three students: solved, as given, and handed in nothing."""
    guide = (ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")
    script = re.search(r"\n\n(    import csv.*?)\n\n\S", guide, re.S)[1].replace('"--json"', '"01", "--json"')
    for student, source in (("ann", "solutions"), ("bob", "exercises"), ("cem", None)):
        (tmp_path / "submissions" / student).mkdir(parents=True)
        if source:
            shutil.copy(ROOT / "lessons" / source / "01_conv.py", tmp_path / "submissions" / student)
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=tmp_path, check=True, timeout=300,
                   env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert (tmp_path / "marks.csv").read_text().split() == [
        "student,1.1,1.2,1.3,1.4,sum", "ann,1,1,1,1,4", "bob,0,0,0,0,0", "cem,0,0,0,0,0"]
    missing = json.loads((tmp_path / "submissions" / "cem" / "verdict.json").read_text())["exercises"][0]
    assert not missing["written"] and "there is no" in missing["problem"]


def test_reset_puts_one_exercise_back_and_keeps_the_file(tmp_path):
    exercise, path = write_edited(tmp_path, "8.4", [])
    before = path.read_text()
    assert main(["--reset", "8.4", "--exercises", str(tmp_path)]) == 0
    verdict = judge(exercise, path)
    assert verdict.bug is not None and verdict.bug.name == "the velocity is forgotten"
    assert judge(check.exercises("08_train")[0], path).passed, "the others are as they were"
    assert (tmp_path / "08_train.py.before").read_text() == before
    main(["--reset", "08", "--exercises", str(tmp_path)])
    assert path.read_text() == (ROOT / "lessons" / "exercises" / "08_train.py").read_text()


def test_reset_of_one_exercise_in_a_broken_file_is_one_line(tmp_path):
    (tmp_path / "02_im2col.py").write_text("def im2col(:")
    with pytest.raises(DataError, match="--reset 02 puts back the whole file"):
        main(["--reset", "2.1", "--exercises", str(tmp_path)])


@pytest.mark.parametrize("name", check.LESSONS)
def test_the_exercises_are_as_lessons_toml_says_they_are_given(name):
    """When an exercise has been changed on purpose: `git hash-object lessons/exercises/NN_name.py`
    prints what belongs into lessons.toml."""
    about = tomllib.loads((ROOT / "lessons" / "lessons.toml").read_text(encoding="utf-8"))
    content = (ROOT / "lessons" / "exercises" / f"{name}.py").read_bytes()
    assert name_in_git(content) == name_in_git(content.replace(b"\n", b"\r\n"))
    assert about[name]["given"] == name_in_git(content)


def test_an_exercise_as_given_comes_from_the_history_of_a_clone(tmp_path):
    """The learner has solved it and committed that; in the package there is no other copy."""
    lessons = tmp_path / "lessons"
    (lessons / "exercises").mkdir(parents=True)
    path = lessons / "exercises" / "01_conv.py"
    (lessons / "lessons.toml").write_text(f'["01_conv"]\ngiven = "{name_in_git(b"as given")}"\n')

    def commit(content):
        path.write_bytes(content)
        for command in (["init", "-q"], ["add", "."],
                        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]):
            subprocess.run(["git", *command], cwd=tmp_path, check=True, capture_output=True)

    path.write_bytes(b"solved")
    assert given("01_conv", lessons) is None
    commit(b"as given")
    commit(b"solved")
    assert given("01_conv", lessons) == b"as given"
    with pytest.raises(DataError, match="get that file anew"):
        (tmp_path / ".git").rename(tmp_path / "elsewhere")
        original_file("01_conv", lessons)


def test_watch_checks_again_when_the_file_changes(lesson, capsys, monkeypatch):
    def save(seconds):
        os.utime(lesson(body("return x * x")), (2e9, 2e9))  # a file system's clock may be coarse

    lesson(body("return 2 * x"))
    monkeypatch.setattr("time.sleep", save)
    assert main(["1", "--watch"]) == 0
    out = capsys.readouterr().out
    assert out.index("not right yet") < out.index("All right")


def test_a_loop_that_never_ends_is_stopped(lesson, monkeypatch, capsys):
    monkeypatch.setattr("minitorch_alex.check.__main__.TIME_LIMIT", 1)
    lesson(body("while True: pass"))
    assert main(["1.1"]) == NOT_SOLVED
    assert "did not end in 1 s" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "argv, error",
    (
        (["12"], UsageError),
        (["x"], UsageError),
        (["1.9"], UsageError),
        (["1", "--hint", "0"], UsageError),
        (["--exercises", "nowhere"], DataError),
    ),
)
def test_wrong_usage_is_one_line(lesson, argv, error):
    with pytest.raises(error) as caught:
        main(argv)
    assert "\n" not in str(caught.value)


def test_yours_is_the_learners_once_it_passes_and_the_solution_before(tmp_path):
    """A wrong im2col in lesson 02 must not make a right backward in lesson 04 look wrong."""
    for name in check.LESSONS:
        shutil.copy(ROOT / "lessons" / "exercises" / f"{name}.py", tmp_path)
    path = tmp_path / "02_im2col.py"
    with check.looking_in(tmp_path):
        assert check.yours("02", "im2col").__code__.co_filename.endswith("solutions/02_im2col.py")
        shutil.copy(ROOT / "lessons" / "solutions" / "02_im2col.py", path)
        assert check.yours("02", "im2col").__code__.co_filename == str(path)


def test_the_lessons_are_copied_and_checked_where_they_are(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "course"
    assert lessons.main([str(folder)]) == 0
    assert (folder / "exercises" / "02_im2col.py").exists() and (folder / "kit.py").exists()
    monkeypatch.chdir(folder)
    assert check.lessons_folder() == folder
    shutil.copy(folder / "solutions" / "01_conv.py", folder / "exercises")
    assert main(["1.1"]) == 0
    with pytest.raises(DataError, match="not empty"):
        lessons.main([str(folder)])


def test_an_installed_package_says_how_to_copy_the_lessons(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "minitorch_alex"
    (package / "lesson_files" / "exercises").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(places, "__file__", str(package / "check" / "places.py"))
    assert check.lessons_folder() == package / "lesson_files"
    with pytest.raises(DataError, match="minitorch_alex.lessons DIR"):
        check.exercises_folder()


CELL = """
import sys
sys.path.insert(0, "lessons")
import kit
def out_size(size, kernel, stride, padding, ceil_mode):
    return (size + 2 * padding - kernel) // {}
kit.check("1.1")
"""


def test_a_function_of_a_cell_is_checked(tmp_path):
    def said(divisor):
        done = subprocess.run([sys.executable, "-c", CELL.format(divisor)], cwd=ROOT, text=True,
                              capture_output=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout
    assert "not right yet" in said("stride") and "got 2, expected 3" in said("stride")
    assert "right (12 checks)" in said("stride + 1 + bool(ceil_mode and "
                                       "(size + 2 * padding - kernel) % stride)")
    assert "ZeroDivisionError" in said("0")


def test_the_command_from_outside(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "minitorch_alex.check", "01", "--exercises", str(tmp_path)],
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == NOT_SOLVED
    assert "there is no" in done.stdout and not done.stderr
