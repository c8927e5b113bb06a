"""Lists that come with images: the names of the classes, and the labels of single images.

    words.txt                  n01440764<TAB>tench, Tinca tinca
    LOC_synset_mapping.txt     n01440764 tench, Tinca tinca
    LOC_val_solution.csv       ILSVRC2012_val_00048981,n03995372 85 1 499 272
    val_annotations.txt        val_0.JPEG<TAB>n03444034<TAB>0<TAB>32<TAB>44<TAB>62

People save them from spreadsheets too, so any of the usual separators is read.
"""
import csv
import re
from pathlib import Path

from ..errors import DataError
from ..files import read_lines


def read_names(path: Path) -> dict[str, str]:
    """{WNID: name} of a file with one class per line; {} where there is no such file.

    A tab, a space (Kaggle's), a semicolon or a comma ends the WNID.
    """
    if not path.is_file():
        return {}
    names = {}
    for line in read_lines(path):
        wnid, _, name = line.partition("\t")
        if not name:
            parts = re.split(r"[\s;,]+", line, maxsplit=1)
            wnid, name = parts if len(parts) == 2 else (line, "")
        if name.strip():
            names[wnid.strip().strip('"')] = name.strip().strip('"')
    return names


def read_solution(path: Path) -> dict[str, str]:
    """{image: WNID} of Kaggle's LOC_val_solution.csv, whose lines are ImageId,PredictionString.

    Raises DataError when the file is missing or damaged.
    """
    lines = read_lines(path, "the labels of the validation images",
                       "Kaggle has it next to the archive")
    try:
        rows = csv.DictReader(lines, delimiter=_separator(lines[0]), skipinitialspace=True)
        return {row["ImageId"].strip(): row["PredictionString"].split()[0]
                for row in rows if any(row.values())}
    except (LookupError, AttributeError, ValueError, csv.Error):
        raise DataError(f"{path} is damaged: expected lines of ImageId,PredictionString") from None


def split_fields(line: str) -> list[str]:
    """The fields of a line of a table, separated by tabs, semicolons, commas or blanks."""
    return [cell.strip().strip('"') for cell in line.split(_separator(line))]


def _separator(line: str) -> str:
    """The rarest separator in the line: a name may have commas, and almost any line has blanks."""
    return next((mark for mark in "\t;," if mark in line), " ")
