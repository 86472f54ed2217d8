"""How perscache speaks up: one logger, and one warning for each kind of trouble.

Hits are logged at DEBUG, misses at INFO, trouble at WARNING. Trouble is also a `PerscacheWarning`, for those who
have set up no logging; the same trouble again is logged at DEBUG only. Values of arguments are never logged.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
from collections.abc import Hashable
from enum import Enum
from types import FrameType
from typing import Final

from .errors import ConfigurationError, PerscacheWarning

logger: Final = logging.getLogger("perscache")
# The warning already reaches the terminal where nobody has set up logging.
logger.addHandler(logging.NullHandler())


class OnError(Enum):
    """What happens when a storage, a serializer or a plugin fails, besides that the caller gets the result."""

    WARN = "warn"
    RAISE = "raise"
    IGNORE = "ignore"

    @classmethod
    def named(cls, name: str) -> OnError:
        """The reaction called ``name``; raises ConfigurationError for another."""
        try:
            return cls(name)
        except ValueError:
            raise ConfigurationError(f"on_error={name!r} has no meaning: use 'warn', 'raise' or 'ignore'") from None


def warn(message: str, *, once: Hashable) -> None:
    """Log ``message`` and warn of it, the first time that this process meets ``once``; later only log it at DEBUG."""
    with _lock:
        known = once in _seen
        _seen.add(once)
    if known:
        logger.debug(message)
        return
    logger.warning(message)
    try:
        warnings.warn(message, PerscacheWarning, stacklevel=_caller_level())
    except PerscacheWarning:
        # A filter turns warnings into errors; the caller's result is worth more. on_error="raise" is there to raise.
        return


def forget() -> None:
    """Warn again of what was warned of before. For tests, and for long-lived processes that want a reminder."""
    with _lock:
        _seen.clear()


_lock = threading.Lock()
_seen: set[Hashable] = set()


def _forget_parents() -> None:
    global _lock
    _lock = threading.Lock()  # A thread of the parent may have held it.


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents)


def _caller_level() -> int:
    """The stack level of the first frame outside this package, so that the warning points at the user's line."""
    level = 1
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == "perscache":
        level += 1
        frame = frame.f_back
    return level
