"""Waking: who waits for a lease is told by the server that it was given back, and need not find out by asking.

One thread of a process listens, as long as somebody waits. Nothing depends on it: where it hears nothing, whoever waits
asks again, less and less often.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from perscache.storage.lease import Lease

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("perscache")

LISTEN: Final = 1.0
"""Seconds between two looks whether anybody waits."""


class WokenLease(Lease):
    """A `Lease` whose pauses end when the one before it gives it back."""

    alarm: Alarm | None = None
    """Set once it waits: what is told while it asks is not missed."""

    def pause(self, seconds: float) -> None:
        """Wait so long, or until it is given back."""
        if seconds:
            self._set_alarm().wait(seconds)

    async def apause(self, seconds: float) -> None:
        """`pause` without holding up the event loop."""
        if seconds:
            await self._set_alarm().await_(seconds)

    def _set_alarm(self) -> Alarm:
        if self.alarm is None:
            self.alarm = Alarm(self._name(self.path))
        storage: Any = self._storage
        storage._client().bell.listen(self.alarm)
        return self.alarm


class Alarm:
    """Goes off when the key that it is for is given back."""

    def __init__(self, key: str) -> None:
        self.key: Final = key
        self._rung = threading.Event()
        self._wake: Callable[[], object] | None = None

    def ring(self) -> None:
        """Wake who waits, or who will wait next."""
        self._rung.set()
        if (wake := self._wake) is not None:
            with suppress(RuntimeError):  # its event loop has ended
                wake()

    def wait(self, seconds: float) -> None:
        """Come back after so long, or when it rings; at once if it rang since the last time."""
        self._rung.wait(seconds)
        self._rung.clear()

    async def await_(self, seconds: float) -> None:
        """`wait` without holding up the event loop."""
        import asyncio

        loop, rings = asyncio.get_running_loop(), asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(rings.set)
        try:
            if not self._rung.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(rings.wait(), seconds)
        finally:
            self._wake = None
        self._rung.clear()


class Bell:
    """Listens, for the alarms of one process, to what is said on a channel."""

    def __init__(self, client: Any, channel: str) -> None:
        """Nothing is asked yet."""
        self._client = client
        self._channel = channel
        self._lock = threading.Lock()
        # Weak, since whoever finds its result while it waits just forgets its lease.
        self._alarms: WeakSet[Alarm] = WeakSet()
        self._thread: threading.Thread | None = None

    def listen(self, alarm: Alarm) -> None:
        """Let ``alarm`` ring as long as there is one."""
        with self._lock:
            self._alarms.add(alarm)
            if self._thread is None:
                self._thread = threading.Thread(target=self._listen, name="perscache-bell", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:
                    self._thread = None  # The interpreter ends.

    def _listen(self) -> None:
        try:
            with self._client.pubsub(ignore_subscribe_messages=True) as heard:
                heard.subscribe(self._channel)
                while self._wanted():
                    if message := heard.get_message(timeout=LISTEN):
                        self._ring(message["data"].decode("utf-8", "replace"))
        except Exception as error:  # noqa: BLE001  # Who waits asks, then.
            log.debug("nobody is told of leases given back: %s", error)
            with self._lock:
                self._thread = None

    def _wanted(self) -> bool:
        with self._lock:
            if not self._alarms:
                self._thread = None
            return self._thread is not None

    def _ring(self, key: str) -> None:
        with self._lock:
            rung = [alarm for alarm in self._alarms if alarm.key == key]
        for alarm in rung:
            alarm.ring()
