"""python -m minitorch_alex.selftest: does everything work on this machine, and how fast is it?"""
from ..training import cli
from .command import main

if __name__ == "__main__":
    cli.run_cli(main)
