"""Fetching official files: pooch checks, names and keeps them; here is the downloader that it lacks, which takes up again
where a download broke off."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pooch
import requests
import tenacity
from filelock import FileLock
from tqdm import tqdm
from urllib3.exceptions import HTTPError

from vaepipe.storage.errors import DataError

TRIES = 6
WAIT = tenacity.wait_exponential(multiplier=1, max=30)
"""Seconds between tries: 1, 2, 4, …"""
TIMEOUT = (10, 60)
"""Seconds to connect, and without a byte."""
CHUNK = 2**18
AGAIN = {408, 425, 429, 500, 502, 503, 504}
"""Answers of a server that may be better in a moment."""


class Interrupted(Exception):
    """A download that is worth another try."""


class Refused(Exception):
    """An address that does not have the file."""


def download_folder() -> Path:
    """Where fetched files are kept, for all studies: ``VAEPIPE_DATA_DIR`` (the config's ``data_dir``), else the user's cache."""
    return Path(os.environ.get("VAEPIPE_DATA_DIR") or pooch.os_cache("vaepipe"))


def fetch(name: str, folder: Path, file: str, checksum: str | None, addresses: list[str]) -> Path:
    """A file of a data set, checked; from the folder where it is there, else from the first address that has it.

    Args:
        name: the data set, for messages.
        checksum: such as ``"md5:…"`` or ``"sha256:…"``; None where nobody published one.
        addresses: the official one and its mirrors.

    Raises:
        DataError: no address gave the file, or it cannot be written.
    """
    path = folder / file
    if _is_there(path, checksum):
        return path
    failures = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{file}.lock"):  # a second job waits, then finds the file
            for address in addresses:
                if _is_there(path, checksum):
                    return path
                try:
                    _retrieve(address, path, checksum)
                except (
                    Refused,
                    Interrupted,
                    ValueError,
                ) as error:  # ValueError: pooch found another checksum
                    wrong = (
                        f"wrong checksum, expected {checksum}"
                        if isinstance(error, ValueError)
                        else str(error)
                    )
                    failures.append(f"{address}: {' '.join(wrong.split())}")
            if _is_there(path, checksum):
                return path
    except OSError as error:
        raise DataError(
            f"{error.filename or path}: {error.strerror or error}; free some room or set data_dir, what was fetched is kept"
        ) from error
    where = f"datasets.{name}.path takes a file or folder you already have"
    raise DataError(f"{name}: could not fetch {'; '.join(failures)}; {where}")


def verify_checksum(path: Path, checksum: str | None, what: str) -> None:
    """Compare a user's own file with the checksum that the config gives.

    Raises:
        DataError: they differ, or the checksum's kind is unknown.
    """
    if checksum is not None:
        if not path.is_file():
            raise DataError(f"{what}: {path} is not a file; a checksum needs one")
        if not _is_there(path, checksum):
            found = pooch.file_hash(str(path), alg=checksum.partition(":")[0])
            raise DataError(f"{path}: wrong checksum {found}, expected {checksum} ({what})")


def _is_there(path: Path, checksum: str | None) -> bool:
    if not path.is_file():
        return False
    kind, _, digest = (checksum or "").partition(":")
    return checksum is None or pooch.file_hash(str(path), alg=kind) == digest.lower()


def _retrieve(address: str, path: Path, checksum: str | None) -> None:
    pooch.get_logger().setLevel("ERROR")
    pooch.retrieve(address, checksum, fname=path.name, path=path.parent, downloader=_downloader(path))


def _downloader(path: Path):
    """A pooch downloader that keeps what it has in ``path``.part until all is there."""
    part = path.with_name(path.name + ".part")

    def download(address: str, output: str, _pooch, check_only: bool = False) -> None:
        again = tenacity.retry(
            retry=tenacity.retry_if_exception_type(Interrupted),
            stop=tenacity.stop_after_attempt(TRIES),
            wait=WAIT,
            reraise=True,
        )
        again(_continue)(address, part)
        with open(part, "rb") as file:
            start = file.read(512).lstrip().lower()
        if start.startswith((b"<!doctype html", b"<html")):
            part.unlink()
            raise Refused("a web page instead of the file (a quota or a login?)")
        os.replace(part, output)

    return download


def _continue(address: str, part: Path) -> None:
    """Append what is missing to ``part``."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with requests.get(address, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            if answer.status_code == 416:  # nothing after what we have: complete, or not the same file
                if answer.headers.get("Content-Range") == f"bytes */{have}":
                    return
                part.unlink()
                raise Interrupted("the partial file does not fit, starting anew")
            if answer.status_code in AGAIN:
                raise Interrupted(f"{answer.status_code} {answer.reason}")
            if answer.status_code not in (200, 206):
                raise Refused(f"{answer.status_code} {answer.reason}")
            if answer.status_code == 200:
                have = 0  # the server cannot continue
            _save(answer, part, have)
    except (requests.RequestException, HTTPError) as error:
        raise Interrupted(_reason(error)) from error


def _save(answer: requests.Response, part: Path, have: int) -> None:
    length = answer.headers.get("Content-Length")
    total = have + int(length) if length else None
    # in a log a line now and then, and none for what takes no time
    calm = {} if sys.stderr.isatty() else {"delay": 5, "mininterval": 10, "ncols": 100}
    with (
        open(part, "ab" if have else "wb") as file,
        tqdm(
            desc=part.stem, total=total, initial=have, unit="B", unit_scale=True, unit_divisor=1024, **calm
        ) as bar,
    ):
        for block in answer.raw.stream(CHUNK, decode_content=False):
            file.write(block)
            bar.update(len(block))
    if total is not None and (size := part.stat().st_size) < total:
        raise Interrupted(f"cut off after {size} of {total} bytes")


def _reason(error: Exception) -> str:
    """The innermost reason: the libraries wrap it in pages of their own state."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return (
        re.sub(r"^.*?>?: ", "", str(error))
        if "object at 0x" in str(error)
        else str(error) or type(error).__name__
    )
