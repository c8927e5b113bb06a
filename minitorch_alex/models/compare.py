"""python -m minitorch_alex.models.compare [A B ...]: where do the AlexNets of the world differ?"""
from dataclasses import fields
from typing import Any

from ..errors import UsageError
from ..training import cli
from .alexnet import PRESETS, AlexNet, AlexNetConfig
from .sources import REPOSITORIES, SOURCES

UNUSED = "-"  # in place of a value that changes nothing in its net


def preset(name: str) -> AlexNetConfig:
    """The configuration of that name. Raises UsageError for an unknown one."""
    if name not in PRESETS:
        raise UsageError(f"unknown preset {name!r}; there are: {', '.join(PRESETS)}")
    return getattr(AlexNetConfig, name)()


def differing_rows(names: list[str]) -> list[list[str]]:
    """A table of the fields in which presets differ.

    A heading, one row per field that is not the same in all presets that use it (name, values,
    where the paper decides it), and a row with the number of parameters.
    """
    configs = [preset(name) for name in names]
    rows = [["", *names, "where it is decided"]]
    for f in fields(AlexNetConfig):
        values = [value_of(config, f.name) for config in configs]
        if len(set(values) - {UNUSED}) > 1:
            rows.append([f.name, *values, f.metadata["source"]])
    counts = [sum(p.size for p in AlexNet(config.blank()).parameters()) for config in configs]
    rows.append(["parameters", *(f"{count:,}" for count in counts), ""])
    return rows


def value_of(config: AlexNetConfig, name: str) -> str:
    """A field in few characters; UNUSED for the settings of a norm (LRN, batch normalisation) in
    a net without it, for the numbers of an initialisation that another one replaces, and for an
    exception to rounding up where nothing is rounded up."""
    norm, _, setting = name.partition("_")
    if setting and norm in ("lrn", "bn") and norm not in " ".join(config.after).split():
        return UNUSED
    if name == "conv_floor" and not config.ceil_mode:
        return UNUSED
    if name in ("init_std", "init_bias") and config.init == "torch":
        return UNUSED
    if name == "init_std" and config.init == "he":
        return f"fc8 {shorten(config.init_std[7])}"
    return shorten(getattr(config, name))


def shorten(value: Any) -> str:
    """A value in few characters: a tuple of equal entries as one, others without brackets."""
    if not isinstance(value, tuple):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if len(set(value)) == 1:
        return f"all {shorten(value[0])}"
    separator = ", " if isinstance(value[0], str) else " "
    return separator.join(map(shorten, value))


def sources_of(name: str) -> list[tuple[str, str, str]]:
    """(field, value, where it was read) of every field of a preset. Raises UsageError for an
    unknown one."""
    config = preset(name)
    return [(f.name, value_of(config, f.name), SOURCES[name][f.name])
            for f in fields(AlexNetConfig)]


def sources_text(names: list[str]) -> str:
    """For each preset its repository, then a line for each field."""
    blocks = []
    for name in names:
        rows = sources_of(name)
        widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
        lines = [f"{name}: {REPOSITORIES[name]}"]
        for field, value, place in rows:
            lines.append(f"    {field:<{widths[0]}}  {value:<{widths[1]}}  {place}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def as_text(rows: list[list[str]]) -> str:
    """One block per field: its name and source, then each value with the presets that have it."""
    presets = rows[0][1:-1]
    width = max(len(value) for row in rows[1:] for value in row[1:-1])
    lines = []
    for name, *values, source in rows[1:]:
        lines.append(f"{name}   ({source})" if source else name)
        for value in dict.fromkeys(values):  # each value once, in the order of the presets
            users = [p for p, v in zip(presets, values, strict=True) if v == value]
            lines.append(f"    {value:<{width}}  {', '.join(users)}")
    return "\n".join(lines)


def as_markdown(rows: list[list[str]], short: bool = False) -> str:
    """The same as a Markdown table with one column per preset; `short` omits the sources."""
    if short:
        rows = [row[:-1] for row in rows]
    heading, *lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([heading, "|" + "---|" * len(rows[0]), *lines])


@cli.guest_of_process()
def main(argv: list[str] | None = None) -> int:
    parser = cli.parser("minitorch_alex.models.compare",
                        "Print where presets of AlexNet differ, and who decided it.", epilog="")
    parser.add_argument("presets", nargs="*", metavar="PRESET",
                        help=f"two or more of {', '.join(PRESETS)} (default: all)")
    parser.add_argument("--markdown", action="store_true",
                        help="print a Markdown table, one column per preset")
    parser.add_argument("--short", action="store_true",
                        help="with --markdown: leave out the column that names the sources")
    parser.add_argument("--sources", action="store_true",
                        help="print for each field of each preset the file and the lines that "
                             "decide it")
    args = parser.parse_args(argv)
    if args.sources and args.markdown:
        raise UsageError("--sources prints text only; remove --markdown")
    if args.short and not args.markdown:
        raise UsageError("--short only applies to --markdown; add --markdown")
    if args.sources:
        print(sources_text(args.presets or list(PRESETS)))
        return 0
    rows = differing_rows(args.presets or list(PRESETS))
    print(as_markdown(rows, args.short) if args.markdown else as_text(rows))
    return 0


if __name__ == "__main__":
    cli.run_cli(main)
