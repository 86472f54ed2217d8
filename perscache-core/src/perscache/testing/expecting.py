"""Failures of the kit's checks: each says whose fault it is, what happened, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def raising(*expected: type[Exception], remedy: str) -> Iterator[None]:
    """The block must raise one of ``expected``; else the test fails with ``remedy`` and with what happened."""
    __tracebackhide__ = True
    try:
        yield
    except expected:
        return
    except Exception as error:
        raise AssertionError(f"{remedy}. It raised {type(error).__name__}: {error}") from error
    pytest.fail(f"{remedy}. It raised nothing")


def shown(data: object, longest: int = 60) -> str:
    """``data`` in a message, not all of it where it is long."""
    text = repr(data[: longest + 1] if isinstance(data, (bytes, str)) else data)
    size = f" ({len(data):,} bytes)" if isinstance(data, bytes) and len(data) > longest else ""
    return f"{text[:longest]}…{size}" if len(text) > longest else text
