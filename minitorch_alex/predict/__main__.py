"""python -m minitorch_alex.predict IMAGE...: what does a trained model see in these images?"""
from ..training import cli
from .command import main

if __name__ == "__main__":
    cli.run_cli(main)
