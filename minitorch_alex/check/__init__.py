"""Judging the exercises of the lessons: what was expected, what came out, and which known mistake
gives exactly that.

An exercise is checked by cases, which a generator yields in order; the first that fails ends it.
Its bugs are edits of the solution's source text: a learner's wrong output is compared with the
output of each edited solution in the same case, and where they agree, the bug's sentence explains
what happened. So the checker recognises a mistake by its effect, not by the way it is written.

    def check_square(m):                                  # m: the learner's file, as a module
        yield Same("3 squared", lambda: m.square(3.0), 9.0)

    Exercise("1.1", "square", "square a number", check_square,
             bugs=(Bug("doubled", "this is twice the number, not its square",
                       old="x * x", new="2 * x"),))

The checks of lesson 1 are in lessons/checks/01_conv.py, next to its exercises and solutions.

    exercise.py   Exercise and Bug
    cases.py      the kinds of case: Same, Holds, Faster, Answer;  compare.py: are results equal?
    places.py     where lessons, exercises and solutions are;      given.py: exercises as they were
    attempts.py   running the cases;                               calls.py: each call made twice
    verdict.py    judge: the verdict, from the attempts
    mistakes.py   which known mistake it is;                       explain/: else what one sees
    limit.py      a time limit;  cell.py, reset.py, mine/, __main__.py: what a learner calls
"""
from .cases import Answer, Case, Faster, Holds, Same
from .compare import difference
from .exercise import Bug, Exercise
from .places import (
    LESSONS,
    checks,
    commentary,
    exercises,
    exercises_folder,
    lesson_name,
    lessons_folder,
    load,
    looking_in,
    packaged_lessons,
    solution,
)
from .verdict import Verdict, judge, yours

__all__ = ["LESSONS", "Answer", "Bug", "Case", "Exercise", "Faster", "Holds", "Same", "Verdict",
           "checks", "commentary", "difference", "exercises", "exercises_folder", "judge",
           "lesson_name", "lessons_folder", "load", "looking_in", "packaged_lessons", "solution",
           "yours"]
