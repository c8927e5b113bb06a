"""python -m minitorch_alex.models.compare [A B ...]: where do the AlexNets of the world differ?"""
from dataclasses import fields
from typing import Any

from ..errors import UsageError
from ..training import cli
from .alexnet import PRESETS, AlexNet, AlexNetConfig


def preset(name: str) -> AlexNetConfig:
    """The configuration of that name; UsageError for an unknown one."""
    if name not in PRESETS:
        raise UsageError(f"unknown preset {name!r}; there are: {', '.join(PRESETS)}")
    return getattr(AlexNetConfig, name)()


def differing_rows(names: list[str]) -> list[list[str]]:
    """A table: a heading, then a row for each field that is not the same in all presets that use it, with the paper's
    place, then the number of parameters. "-": the preset has no use for the field."""
    configs = [preset(name) for name in names]
    rows = [["", *names, "where it is decided"]]
    for f in fields(AlexNetConfig):
        values = [value_of(config, f.name) for config in configs]
        if len(set(values) - {"-"}) > 1:
            rows.append([f.name, *values, f.metadata["source"]])
    counts = [sum(p.size for p in AlexNet(config.blank()).parameters()) for config in configs]
    rows.append(["parameters", *(f"{count:,}" for count in counts), ""])
    return rows


def value_of(config: AlexNetConfig, name: str) -> str:
    """A field in few characters; "-" where it changes nothing: LRN's in a net without LRN, the numbers of an
    initialisation that another one replaces."""
    if name.startswith("lrn_") and "lrn" not in " ".join(config.after).split():
        return "-"
    if name in ("init_std", "init_bias") and config.init == "torch":
        return "-"
    if name == "init_std" and config.init == "he":
        return f"fc8 {shown(config.init_std[7])}"
    return shown(getattr(config, name))


def shown(value: Any) -> str:
    """A value in few characters: a tuple of equal entries as one, others without spaces and brackets."""
    if not isinstance(value, tuple):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if len(set(value)) == 1:
        return f"all {shown(value[0])}"
    return (", " if isinstance(value[0], str) else " ").join(map(shown, value))


def as_text(rows: list[list[str]]) -> str:
    """One block a field: its name and source, then each value with the presets that have it."""
    lines, width = [], max(len(value) for row in rows[1:] for value in row[1:-1])
    for name, *values, source in rows[1:]:
        lines.append(f"{name}   ({source})" if source else name)
        for value in dict.fromkeys(values):
            who = [column for column, v in zip(rows[0][1:-1], values, strict=True) if v == value]
            lines.append(f"    {value:<{width}}  {', '.join(who)}")
    return "\n".join(lines)


def as_markdown(rows: list[list[str]], short: bool = False) -> str:
    """The same as a Markdown table, a column a preset; `short` leaves out the sources."""
    rows = [row[:-1] if short else row for row in rows]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def main(argv: list[str] | None = None) -> int:
    parser = cli.parser("minitorch_alex.models.compare", "Print where presets of AlexNet differ, and who decided it.",
                        epilog="")
    parser.add_argument("presets", nargs="*", metavar="PRESET",
                        help=f"two or more of {', '.join(PRESETS)} (default: all)")
    parser.add_argument("--markdown", action="store_true", help="as a Markdown table, a column a preset")
    parser.add_argument("--short", action="store_true", help="with --markdown: without the places in paper and source")
    args = parser.parse_args(argv)
    if args.short and not args.markdown:
        raise UsageError("--short only applies to --markdown; add --markdown")
    rows = differing_rows(args.presets or list(PRESETS))
    print(as_markdown(rows, args.short) if args.markdown else as_text(rows))
    return 0


if __name__ == "__main__":
    cli.run_cli(main)
