"""python -m minitorch_alex.onnx RUN_OR_MODEL FILE.onnx: a network as an ONNX file."""
from ..training import cli
from .command import main

if __name__ == "__main__":
    cli.run_cli(main)
