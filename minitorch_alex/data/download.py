"""Downloading one large file: resumed where it broke off, from several sources, checked by md5."""
import errno
import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path

from tqdm import tqdm

from ..errors import DataError
from ..files import writing

ADVICE = "free some room, or choose a folder that you may write to with --data-dir"
ATTEMPTS = 5  # at one source, as long as each attempt gets further than the one before
BLOCK = 1 << 18  # bytes that are read and written at a time


def md5_of(path: Path) -> str:
    """The md5 of a file, 32 hex digits: what the owners of the data publish, against damage (not
    malice)."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def download(urls: Sequence[str], path: str | Path, md5: str, timeout: float = 30.0) -> Path:
    """Download the file with this md5 to `path` from the first of `urls` that delivers it, and
    return the path.

    The bytes go to `<path>.part`, and what an earlier try left there is not fetched again. Only a
    file with the right md5 is renamed to `path`, in one step: it is there whole or not at all.
    `timeout` is in seconds without a byte.

    Raises DataError when no source delivers, listing what happened at each; what has arrived is
    kept for the next try. Raises DiskError when the disk is full or not writable, and removes the
    part file.
    """
    path = Path(path)
    if path.is_file() and md5_of(path) == md5:
        return path
    part = path.with_name(path.name + ".part")
    with writing(part, ADVICE):
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
    failures = []
    for url in urls:
        problem = _try_source(url, part, md5, timeout)
        if problem is None:
            with writing(part, ADVICE):
                os.replace(part, path)
            return path
        failures.append(f"  {url}\n    {problem}")
    if part.stat().st_size == 0:
        part.unlink()
    raise DataError(f"could not download {path.name}:\n" + "\n".join(failures))


def _try_source(url: str, part: Path, md5: str, timeout: float) -> str | None:
    """Complete the part file from one source. Returns None, or what went wrong; a part file that
    became a wrong file is emptied."""
    for _ in range(2):
        resumed = part.stat().st_size > 0
        problem = _complete(url, part, timeout)
        if problem is not None:
            return problem
        digest = md5_of(part)
        if digest == md5:
            return None
        os.truncate(part, 0)
        if not resumed:
            break
        # The older part of the file may have been the bad one: try this source from the start.
    return f"wrong file: md5 {digest}, expected {md5}"


def _complete(url: str, part: Path, timeout: float) -> str | None:
    """Append what is missing to the part file, resuming after interruptions. Returns None, or what
    went wrong."""
    problem = None
    for _ in range(ATTEMPTS):
        before = part.stat().st_size
        try:
            _fetch(url, part, timeout)
            return None
        except (OSError, HTTPException) as error:
            problem = str(getattr(error, "reason", None) or error) or type(error).__name__
            if part.stat().st_size <= before:
                break
    return problem


def _fetch(url: str, part: Path, timeout: float) -> None:
    """One request for the rest of the file. Raises OSError or HTTPException when it breaks off."""
    have = part.stat().st_size
    request = urllib.request.Request(url, headers={"User-Agent": "minitorch_alex"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:  # nothing follows what we have; the md5 is checked later
            return
        raise OSError(f"HTTP {error.code} {error.reason}") from error
    with response:
        if response.status != 206:  # a server without Range sends everything from the start
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length and length.isdigit() else None
        with writing(part, ADVICE):
            file = open(part, "ab" if have else "wb", buffering=0)
        # disable=None: no bar where the output is not a terminal.
        bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=part.stem,
                   disable=None)
        with file, bar:
            while chunk := response.read(BLOCK):
                with writing(part, ADVICE):
                    if file.write(chunk) != len(chunk):  # a disk that fills up takes a part
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                have += len(chunk)
                bar.update(len(chunk))
    if total is not None and have < total:  # read() ends quietly when the other side hangs up
        raise ConnectionError(f"connection closed after {have:,} of {total:,} bytes")
