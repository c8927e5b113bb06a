"""python -m minitorch_alex.profile MODEL: what a network costs, layer by layer."""
from ..training import cli
from .command import main

if __name__ == "__main__":
    cli.run_cli(main)
