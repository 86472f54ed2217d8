"""The joint lock: the locks that several tiers have on one entry, held together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from .base import Lock, Storage
from .failures import Failures
from .twins import Step, Steps, arun, run


class JointLock(Lock):
    """The locks of tiers on the entry under ``path``, taken one after the other: processes first, then machines.

    So of all processes on a machine only one asks for what machines share, and the others wake up at once. A lock that
    cannot be had is done without as long as another is held; ``survived`` is told why.
    """

    __slots__ = ("_held", "_locks", "_survived")

    def __init__(self, locks: Sequence[tuple[Storage, Lock]], survived: Callable[[Failures], None]) -> None:
        # All who share several are to take them in one order.
        self._locks: Final = sorted(locks, key=lambda pair: (not pair[0].local, pair[0].identity))
        self._survived = survived
        self._held: list[Lock] = []

    def acquire(self, held: Sequence[str]) -> bool:
        """Hold what can be had. It does not return in between, the first ones held: see `Lock.acquire`."""
        return run(self._take(held))

    async def aacquire(self, held: Sequence[str]) -> bool:
        """`acquire` without holding up the event loop."""
        return await arun(self._take(held))

    def _take(self, held: Sequence[str]) -> Steps[bool]:
        refused = Failures()
        try:
            for tier, lock in self._locks:
                try:
                    turn: bool | None = None
                    while turn is None:
                        turn = yield Step(lock, "acquire", (held,))
                except Exception as error:  # noqa: BLE001  # Locks save work, nothing depends on them.
                    refused.add(tier, error)
                else:
                    if turn:
                        self._held.append(lock)
        except BaseException:
            self.release()
            raise
        if refused:
            if not self._held:
                raise refused.first
            self._survived(refused)
        return bool(self._held)

    def release(self) -> None:
        """Give them back, the last one first."""
        while self._held:
            self._held.pop().release()
