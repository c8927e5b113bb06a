"""Writing a file whole: whoever looks, at any moment, finds the old file or the new one, never
half of one.

The bytes go to a temporary file in the same file system, reach the disk (fsync), and the temporary
file takes the name in one step (os.replace). When anything goes wrong before that step, the
temporary file is removed.

And the other way round: reading a text that people edit, with whatever their editor puts into it.
"""
import codecs
import contextlib
import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from .errors import DataError, DiskError


def write_atomic(path: str | os.PathLike, chunks: Sequence[bytes | memoryview],
                 spare: Path | None = None) -> None:
    """Replace the file `path` by these bytes; its folder is created if necessary.

    With `spare`, the file that was at `path` is kept under that name. Raises DiskError when the
    file cannot be written; the message says how much room it needs, or that the folder is closed
    to this user, and the old file is untouched.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, path.with_name(path.name + ".part"), spare) as file:
            file.writelines(chunks)
    except OSError as error:
        n_bytes = sum(len(chunk) for chunk in chunks)
        refused = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
        cause = "choose a folder that you may write to" if refused else _room(path, n_bytes)
        raise disk_error(path, error, f"{cause}. Nothing changed") from error


@contextlib.contextmanager
def replacing(path: Path, part: Path, spare: Path | None = None) -> Iterator[IO[bytes]]:
    """A new file, open for writing and reading, that takes the name `path` when the block ends
    without an error.

    Until then it is called `part`, which must be in the same file system. Raises OSError as the
    disk gives it.
    """
    try:
        with open(part, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if spare is not None and path.exists():
            _keep(path, spare)
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


@contextlib.contextmanager
def writing(part: Path, advice: str) -> Iterator[None]:
    """For a file that grows over many blocks: turns an OSError of the block into a DiskError and
    removes the file."""
    try:
        yield
    except OSError as error:
        with contextlib.suppress(OSError):  # a folder that refuses even this holds no such file
            part.unlink(missing_ok=True)
        raise disk_error(part, error, advice) from error


def decode_text(raw: bytes) -> str:
    """A text that people edit, from the bytes of its file: UTF-8, or what a byte order mark at its
    beginning says; where it is not UTF-8, Windows' Western European. Lines end with "\\n" alone.
    """
    marks = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16",
             codecs.BOM_UTF16_BE: "utf-16"}
    encoding = next((name for mark, name in marks.items() if raw.startswith(mark)), "utf-8")
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        text = raw.decode("cp1252", errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_lines(path: str | os.PathLike, meaning: str = "", advice: str = "") -> list[str]:
    """The lines of a file that people edit, without blank ones and without blanks around them.

    Raises DataError when it cannot be read, with what it means and how to get it.
    """
    try:
        lines = [line.strip() for line in decode_text(Path(path).read_bytes()).split("\n")]
    except OSError as error:
        meaning = f", {meaning}" if meaning else ""
        advice = f"; {advice}" if advice else ""
        raise DataError(f"cannot read {path}{meaning}: {reason_of(error)}{advice}") from None
    return [line for line in lines if line]


def reason_of(error: Exception) -> str:
    """Why something failed, on one line: what the system says, or the error's own text."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


def disk_error(path: str | os.PathLike, error: OSError, advice: str = "",
               action: str = "write") -> DiskError:
    """The one form in which a failure of the disk is reported: "cannot write PATH: REASON;
    ADVICE"."""
    reason = error.strerror or str(error)
    return DiskError(f"cannot {action} {path}: {reason}" + (f"; {advice}" if advice else ""))


def _keep(path: Path, spare: Path) -> None:
    """Give the file at `path` the name `spare` as well, so that there is a complete file at every
    moment."""
    link = spare.with_name(spare.name + ".part")
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
        os.replace(link, spare)
    except OSError:  # no hard links (FAT, some network shares)
        # for an instant, `spare` is the only complete file
        os.replace(path, spare)


def _sync_folder(folder: Path) -> None:
    """Bring the name to the disk too, where a folder can be opened and synchronised (not on
    Windows)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _room(path: Path, n_bytes: int) -> str:
    """How much room the file needs, and how much is free, where the system can tell."""
    text = f"it needs {n_bytes / 1e6:.1f} MB"
    with contextlib.suppress(OSError):
        text += f" and {shutil.disk_usage(path.parent).free / 1e6:.1f} MB are free"
    return text
