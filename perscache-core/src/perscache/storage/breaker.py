"""A circuit breaker: a server that failed is not asked again for a while."""

from __future__ import annotations

import time

from ..errors import StorageError


class Refused(StorageError):
    """The server answered, and will not do this: a permission, a credential, a setting is wrong."""


class Breaker:
    """Keeps calls from a server in trouble: after each failure for ``cooldown`` seconds, but for one trial then."""

    def __init__(self, cooldown: float) -> None:
        self._cooldown = cooldown
        self._kind: type[StorageError] | None = None
        self._reason = ""
        self._until = 0.0

    def admit(self) -> None:
        """Let a call through, or raise what the last failure was."""
        if self._kind is None:
            return
        if (wait := self._until - time.monotonic()) > 0:
            raise self._kind(f"{self._reason} (left alone for another {wait:.0f} s)")
        # This call is the trial; the others go on failing until it is over.
        self._until = time.monotonic() + self._cooldown

    def trip(self, error: StorageError) -> None:
        """Remember a failure: its text only, the error itself would keep a call's data alive."""
        self._kind, self._reason = type(error), str(error)
        self._until = time.monotonic() + self._cooldown

    def reset(self) -> None:
        """Forget it: the server answered."""
        self._kind = None
