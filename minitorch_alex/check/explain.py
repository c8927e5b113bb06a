"""What a wrong result has to do with the right one, for mistakes that are in no catalogue."""
from typing import Any


def clue(got: Any, expected: Any, arguments: dict[str, Any], passed: list[str]) -> str:
    return ""
