"""User-facing errors, printed as one line. The workflow reads this file without HDF5."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable


class DataError(ValueError):
    """A file or a value that a stage cannot work with. Its text is one line that names the file or value."""


def run_stage(main: Callable[[], None]) -> None:
    """Run the main function of a stage or tool; print user-facing errors as one line and exit with code 1.

    A letter that the terminal or the log cannot show is printed as an escape such as ``\\u03b2``.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        main()
    except DataError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error.filename or 'file'}: {error.strerror or error}")
