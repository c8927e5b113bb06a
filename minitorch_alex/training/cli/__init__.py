"""The command line: how every program parses its flags, sets up its device, and ends.

    @cli.guest_of_process()
    def main(argv=None):
        parser = cli.parser("minitorch_alex.NAME", "What it does.")
        cli.add_flags(parser, FLAGS)
        cli.add_device_flags(parser)
        args = parser.parse_args(argv)
        cli.use_device(vars(args))
        ...
    cli.run_cli(main)

One file for each question:

    program.py    how does a program begin and end?       parser, run_cli, guest_of_process
    flags.py      what is a flag?                         Flag, add_flags, check_flags
    device.py     on what does a network run?             DEVICE_FLAGS, use_device, describe_device
    printing.py   how are times and progress shown?       clock, duration, hide_bars
"""
from .device import (
    CONVOLUTIONS,
    DEVICE_DEFAULTS,
    DEVICE_FLAGS,
    WORKSPACE_VARIABLE,
    WORKSPACES,
    add_device_flags,
    describe_device,
    device_memory,
    device_record,
    use_device,
)
from .flags import Flag, add_flags, check_flags, home, path
from .printing import clock, duration, hide_bars
from .program import (
    EXIT_CODES,
    INTERRUPTED,
    called_as,
    guest_of_process,
    out_of_memory,
    parser,
    run_cli,
)

__all__ = ["CONVOLUTIONS", "DEVICE_DEFAULTS", "DEVICE_FLAGS", "EXIT_CODES", "INTERRUPTED",
           "WORKSPACES", "WORKSPACE_VARIABLE", "Flag", "add_device_flags", "add_flags",
           "called_as", "check_flags", "clock", "describe_device", "device_memory",
           "device_record", "duration", "guest_of_process", "hide_bars", "home", "out_of_memory",
           "parser", "path", "run_cli", "use_device"]
