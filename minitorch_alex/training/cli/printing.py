"""What programs print alike: bars, measured times and estimates."""
import sys


def hide_bars() -> bool | None:
    """tqdm's `disable`: None shows bars on a terminal only. A program without a console
    (pythonw) has no stderr at all."""
    return True if sys.stderr is None else None


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss or m:ss, for times that were measured."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02}:{s:02}" if hours else f"{m}:{s:02}"


def duration(seconds: float) -> str:
    """Seconds in words, for estimates: 12 s, 3 min, 2 h 40 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"
