"""Parsing and importing among threads, which Python 3.11 does not always survive."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

_TRIES: Final = 20
_PAUSE: Final = 0.001  # seconds


def again(action: Callable[[], T]) -> T:
    """What ``action`` gives, which parses or imports; asked again where it failed by the parsing of another thread.

    Python 3.11 miscounts its depth when two threads parse at once (gh-106905), and raises SystemError. Under pytest
    imports parse too: one that fails so leaves an ImportError to whoever waited for it.
    """
    for _ in range(_TRIES):
        try:
            return action()
        except ModuleNotFoundError:
            raise  # It would not be there a moment later either.
        except (SystemError, ImportError):
            time.sleep(_PAUSE)
    return action()
