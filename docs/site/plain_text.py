"""Docstrings are plain text with formulas and tables; here they become reStructuredText that shows the same."""
import re


def render(lines: list[str]) -> list[str]:
    """The lines of a docstring as lines of reStructuredText.

    A block that begins with a bullet is a list. Any other block with an indented line is a formula, a table or code:
    it becomes a literal block. The rest are paragraphs, in which only `names in backticks` are mark-up. A line of
    shapes, "x (N,C) w (C,O) -> y (N,O)", is a paragraph of its own.
    """
    text = re.sub(r"\n(?=\w+ \([A-Z].* -> )", "\n\n", "\n".join(lines)).strip("\n")
    rendered: list[str] = []
    for block in re.split(r"\n\s*\n", text):
        if re.match(r"[*-] ", block):
            items = re.split(r"\n(?=[*-] )", block)
            rendered += [line for item in items for line in f"* {escape(item[2:])}".split("\n")]
        elif re.search(r"^\s+\S", block, re.M):
            rendered += ["::", "", *(f"    {line}" for line in block.split("\n"))]
        else:
            rendered += escape(block).split("\n")
        rendered.append("")
    return rendered


def escape(paragraph: str) -> str:
    """The paragraph as reStructuredText: `name` as code, every other special character as itself."""
    parts = re.split(r"`([^`\n]+)`", paragraph)  # prose and code in turn
    prose = [re.sub(r"([\\*|_`])", r"\\\1", part) for part in parts[::2]]
    code = [f"\\ ``{part}``\\ " for part in parts[1::2]]
    text = "".join(piece for pair in zip(prose, [*code, ""], strict=True) for piece in pair)
    # a line that begins like a list, a field or a quotation is not one here
    return re.sub(r"^(?=[-+:>.=(#]|\w{1,2}[.)]\s)", r"\\", text, flags=re.M)
