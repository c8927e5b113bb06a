"""python -m minitorch_alex.predict IMAGE...: what does a trained model see in these images?

The model is that of a run (--weights RUN), of a file of weights, or the bundled one:
minitorch_alex/pretrained. Images are files, folders with everything below them, or - for standard
input. However many there are and however large, only a few of them are in memory at a time:

    files   --a few threads-->   squares   --batches of 64-->   network   -->   lines, JSON or CSV
            decode one each      READ_AHEAD at most

One file for each question:

    pictures.py   which pictures are there?          find_pictures, read_ahead
    reports.py    how is it told what was seen?      text, JSON and CSV; open_reports
    command.py    the program                        main
"""
from ..classifier import Classifier, load, of_run, of_weights, read_classes, read_image, square
from .command import main, parse
from .pictures import Failure, Picture, Source, find_pictures, read, read_ahead
from .reports import as_text, csv_report, json_report, open_reports, text_report

__all__ = ["Classifier", "Failure", "Picture", "Source", "as_text", "csv_report", "find_pictures",
           "json_report", "load", "main", "of_run", "of_weights", "open_reports", "parse",
           "pretrained", "read", "read_ahead", "read_classes", "read_image", "square",
           "text_report"]


def pretrained(views: str = "single") -> Classifier:
    """The bundled model; its README.md is its model card."""
    return load("pretrained", views=views)
