"""Downloads of official files. pooch checks, names and keeps them; this module resumes interrupted
downloads."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
"""Seconds to connect, and to wait for a byte."""
BLOCK_BYTES = 2**18
TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}
"""Status codes of temporary failures."""


class Interrupted(Exception):
    """A download that is worth another try."""


class Refused(Exception):
    """An address that does not have the file."""


def download_folder() -> Path:
    """Return the folder of downloads: ``VAEPIPE_DATA_DIR`` (``data_dir`` in the config), or the user's
    cache."""
    return Path(os.environ.get("VAEPIPE_DATA_DIR") or pooch.os_cache("vaepipe"))


def fetch(name: str, folder: Path, file: str, checksum: str | None, addresses: list[str]) -> Path:
    """Return a checked file of a data set: from the folder, or else from the first address that has it.

    Args:
        name: the data set, for messages.
        checksum: such as ``"md5:…"`` or ``"sha256:…"``; None if none is published.
        addresses: the official one and its mirrors.

    Raises:
        DataError: no address has the file, or it cannot be written.
    """
    path = folder / file
    if _is_there(path, checksum):
        return path
    failures = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{file}.lock"):  # a second job waits and then uses the file
            for address in addresses:
                if _is_there(path, checksum):
                    return path
                try:
                    _retrieve(address, path, checksum)
                except (Refused, Interrupted) as error:
                    failures.append(f"{address}: {' '.join(str(error).split())}")
                except ValueError:  # from pooch
                    failures.append(f"{address}: wrong checksum, expected {checksum}")
            if _is_there(path, checksum):
                return path
    except OSError as error:
        advice = "free some room or set data_dir; the downloaded part is kept"
        raise DataError(f"{error.filename or path}: {error.strerror or error}; {advice}") from error
    where = f"datasets.{name}.path takes a file or folder you already have"
    raise DataError(f"{name}: could not fetch {'; '.join(failures)}; {where}")


def verify_checksum(path: Path, checksum: str | None, what: str) -> None:
    """Compare a user's own file with the checksum in the config.

    Args:
        what: the setting or data set, for the error message.

    Raises:
        DataError: they differ.
    """
    if checksum is not None:
        if not path.is_file():
            raise DataError(f"{what}: {path} is not a file; a checksum needs one")
        if not _is_there(path, checksum):
            digest = pooch.file_hash(str(path), alg=checksum.partition(":")[0])
            raise DataError(f"{path}: wrong checksum {digest}, expected {checksum} ({what})")


def _is_there(path: Path, checksum: str | None) -> bool:
    """Return whether a file exists and has this checksum."""
    if not path.is_file():
        return False
    kind, _, digest = (checksum or "").partition(":")
    return checksum is None or pooch.file_hash(str(path), alg=kind) == digest.lower()


def _retrieve(address: str, path: Path, checksum: str | None) -> None:
    pooch.get_logger().setLevel("ERROR")
    pooch.retrieve(address, checksum, fname=path.name, path=path.parent, downloader=_downloader(path))


def _downloader(path: Path) -> Callable[..., None]:
    """Return a pooch downloader that keeps an incomplete file as ``path``.part."""
    part = path.with_name(path.name + ".part")

    def download(address: str, output: str, _pooch: object, check_only: bool = False) -> None:
        with_retries = tenacity.retry(
            retry=tenacity.retry_if_exception_type(Interrupted),
            stop=tenacity.stop_after_attempt(TRIES),
            wait=WAIT,
            reraise=True,
        )
        with_retries(_resume)(address, part)
        with open(part, "rb") as file:
            start = file.read(512).lstrip().lower()
        if start.startswith((b"<!doctype html", b"<html")):
            part.unlink()
            raise Refused("a web page instead of the file (a quota or a login?)")
        os.replace(part, output)

    return download


def _resume(address: str, part: Path) -> None:
    """Append the missing bytes to ``part``."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with requests.get(address, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            if answer.status_code == 416:  # no bytes after ours: complete, or another file
                if answer.headers.get("Content-Range") == f"bytes */{have}":
                    return
                part.unlink()
                raise Interrupted("the partial file does not fit, starting again")
            if answer.status_code in TRY_AGAIN:
                raise Interrupted(f"{answer.status_code} {answer.reason}")
            if answer.status_code not in (200, 206):
                raise Refused(f"{answer.status_code} {answer.reason}")
            if answer.status_code == 200:
                have = 0  # the server cannot resume
            _save(answer, part, have)
    except (requests.RequestException, HTTPError) as error:
        raise Interrupted(_innermost_reason(error)) from error


def _save(answer: requests.Response, part: Path, have: int) -> None:
    """Append the body of an answer to the first ``have`` bytes of ``part``, with a progress bar."""
    length = answer.headers.get("Content-Length")
    total = have + int(length) if length else None
    # in a log file: few lines, and none for short downloads
    bar_options: dict[str, Any] = {} if sys.stderr.isatty() else {"delay": 5, "mininterval": 10, "ncols": 100}
    with (
        open(part, "ab" if have else "wb") as file,
        tqdm(
            desc=part.stem,
            total=total,
            initial=have,
            unit="B",
            unit_scale=True,
            unit_divisor=1024,
            **bar_options,
        ) as bar,
    ):
        for block in answer.raw.stream(BLOCK_BYTES, decode_content=False):
            file.write(block)
            bar.update(len(block))
    if total is not None and (size := part.stat().st_size) < total:
        raise Interrupted(f"cut off after {size} of {total} bytes")


def _innermost_reason(error: BaseException) -> str:
    """Return the innermost reason, which the libraries wrap in much internal state."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    text = str(error)
    if "object at 0x" in text:
        return re.sub(r"^.*?>?: ", "", text)
    return text or type(error).__name__
