"""Recency: when entries were last used, for a store that has no times of access: told by a change of their metadata."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .remote import Found, RemoteStorage

log = logging.getLogger("perscache")

DAY: Final = 86400.0
"""Seconds for which one touch is enough."""

_MOST: Final = 10_000


class Recency:
    """The touches of one storage in one process: at most one a day an entry, awaited by nobody, errors dropped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._touched: dict[str, float] = {}
        self._ahead: deque[tuple[str, str]] = deque()
        self._busy = False

    def used(self, storage: RemoteStorage, name: str, found: Found) -> None:
        """Touch the object ``name``, as it was just read, unless that was done within a day."""
        if found.touched is None or found.now - found.touched < DAY:
            return
        now = time.monotonic()
        with self._lock:
            if now - self._touched.get(name, -DAY) < DAY:
                return
            if len(self._touched) >= _MOST:
                self._touched.clear()
            self._touched[name] = now
            self._ahead.append((name, found.generation))
            if self._busy:
                return
            self._busy = True
        try:
            threading.Thread(target=self._touch, args=(storage,), name="perscache-touch", daemon=True).start()
        except RuntimeError:
            self._busy = False

    def _touch(self, storage: RemoteStorage) -> None:
        while True:
            with self._lock:
                if not self._ahead:
                    self._busy = False
                    return
                name, generation = self._ahead.popleft()
            try:
                storage._wait(partial(storage._touch, name, generation))
            except Exception as error:  # noqa: BLE001  # It only seems to be older than it is.
                log.debug("%s: %s is not touched: %s", storage.url, name, error)
