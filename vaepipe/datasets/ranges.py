"""The range of the values of images: what is white, and when it is not what the type of a file says."""

from __future__ import annotations

import threading

from vaepipe.storage.errors import DataError

USUAL_WHITES = (1, 3, 7, 15, 16, 31, 63, 100, 127, 255, 1023, 4095, 16383, 32767)
"""White in images of 1 to 8, 10, 12, 14 and 15 bits, in percent, and in digits of 17 levels."""
NEARLY_BLACK = 16
"""Image files of 8 bits whose values do not exceed it were meant otherwise, as were arrays that never use the
highest bit."""


class SeenRange:
    """The lowest and highest value, collected by several threads."""

    def __init__(self) -> None:
        self.low: float | None = None
        self.high: float | None = None
        self._lock = threading.Lock()

    def add(self, low: float, high: float) -> None:
        with self._lock:
            self.low = low if self.low is None else min(self.low, low)
            self.high = high if self.high is None else max(self.high, high)


def check_range(name: str, what: str, white: int, low: float, high: float, limit: int | None = None) -> None:
    """Refuse values that all lie far below white: the images would be nearly black.

    Args:
        name: the user's name of the data set.
        what: file and type of the images, for the message.
        white: value of white by the type.
        low, high: lowest and highest value that was seen.
        limit: values that do not exceed it are refused; None: half of white.
    """
    if high > (white // 2 if limit is None else limit):
        return
    guess = next((value for value in USUAL_WHITES if value >= high > 0), white)
    either = f"{guess}, or {white} if they are as dark as that" if guess != white else f"{white}"
    raise DataError(
        f"{what} have values from {low} to {high}, far below {white}; "
        f"set datasets.{name}.maximum to the value of white: {either}"
    )
