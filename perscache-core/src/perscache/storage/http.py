"""What stores that are asked over HTTP share: requests that are sent again, and what headers say of times and types."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

T = TypeVar("T")

PAUSE = 0.1
"""Seconds before a request that failed is sent again; twice as long before the third time."""

TRAVEL = 1.0
"""Seconds that an answer is taken to be under way at most, where its time is compared with ours."""


def persist(request: Callable[[], T], timeout: float, passing: Callable[[Exception], bool]) -> T:
    """What ``request`` gives or raises at last.

    After an error that is ``passing`` it is sent again, up to twice, while half of ``timeout`` seconds is not over.
    """
    begun = time.monotonic()
    pause = PAUSE
    while True:
        try:
            return request()
        except Exception as error:
            late = time.monotonic() + pause - begun > timeout / 2
            if late or pause > 2 * PAUSE or not passing(error):
                raise
        time.sleep(pause)
        pause *= 2


def server_clock(date: str | None) -> float:
    """The server's clock as its header ``Date`` tells it; ours where it tells nothing."""
    ours, theirs = time.time(), timestamp(date)
    if theirs is None:
        return ours
    # It is cut to the second, and took a while to come: where our clock agrees with it, ours is the finer one.
    return min(ours, theirs + 1) if 0 <= ours - theirs < 1 + TRAVEL else theirs


def written(last_modified: float, metadata: Mapping[str, str]) -> float:
    """When an object was written that the server says to be of ``last_modified``, a time of whole seconds."""
    # Where the writer's clock agrees with the server's, it is the finer one.
    from datetime import datetime

    try:
        writer = datetime.fromisoformat(metadata.get("created", "")).timestamp()
    except ValueError:
        return last_modified
    return writer if 0 <= writer - last_modified < 1 else last_modified


def timestamp(date: str | None) -> float | None:
    """A date as headers have it, in seconds since the epoch; None for what is none."""
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(date).timestamp() if date else None
    except ValueError:
        return None


def media_type(name: str) -> str:
    """What an object of this name holds, for its ``Content-Type``."""
    import mimetypes

    return mimetypes.guess_type(name)[0] or "application/octet-stream"
