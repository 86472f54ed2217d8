"""Harmless edits: a record in the storage that the present version of a function counts as a former one.

The record maps digests of a function's code. It lies in a folder for all such records and is looked for at the first
miss of a process, so that a hit costs nothing. Without it, whatever the reason, every version has results of its own.
"""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from typing import Any, Final

from blake3 import blake3

from .entry import ACCEPTED, Entry, moment
from .errors import TierError, Unsupported
from .key import KeyBuilder
from .storage.base import Storage
from .trouble import logger

_SCHEMA: Final = 1
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class Acceptance:
    """The accepted edits of one function."""

    __slots__ = ("_builder", "_path", "_storage", "known")

    def __init__(self, builder: KeyBuilder, storage: Storage) -> None:
        self._builder: Final = builder
        self._storage: Final = storage
        separator = "/" if storage.folders else "-"
        name = blake3(f"accepted {builder.function_name}".encode("utf-8", "surrogatepass")).hexdigest(20)
        self._path: Final = f"{ACCEPTED}{separator}{name}.json"
        self.known = False
        """Whether the record has been looked for."""

    def recall(self) -> bool:
        """Look for the record, once; whether keys are others now. Trouble counts as no record."""
        if self.known:
            return False
        self.known = True
        accepted = self._read() if self._storage.may_hold(self._path) else {}
        return bool(accepted) and self._builder.adopt(accepted)

    def record(self) -> int:
        """Let the present version count as the one that was stored last; how many results that keeps.

        Raises what the storage raises, and Unsupported where it cannot list.
        """
        self.recall()
        present = self._builder.code
        versions: dict[str, list[Entry]] = {}
        for entry in self._storage.entries(self._builder.folder):
            if code := entry.parts.get("code"):
                versions.setdefault(code, []).append(entry)
        former = max(versions.keys() - {present}, key=lambda code: max(e.created for e in versions[code]), default=None)
        if former is None:
            return 0
        self._write({**self._read(), present: former})
        return len(versions[former])

    def undo(self) -> bool:
        """Let the present version count as itself again; whether it did not."""
        self.recall()
        accepted = self._read()
        undone = accepted.pop(self._builder.code, None) is not None
        if undone:
            self._write(accepted)
        return undone

    def forget(self) -> None:
        """The entries are gone, and the record goes with them."""
        self.recall()
        if self._builder.adopt({}):
            with suppress(Unsupported, OSError):
                self._storage.delete(self._path)

    def reset(self) -> None:
        """Know nothing of the record, as before it was looked for."""
        self.known = False
        self._builder.adopt({})

    def _read(self) -> dict[str, str]:
        try:
            found: Any = json.loads(bytes(self._storage.latest(self._path).data))
            if found["schema"] == _SCHEMA:
                pairs = found["accepted"].items()
                return {new: old for new, old in pairs if _DIGEST.fullmatch(new) and _DIGEST.fullmatch(old)}
        except FileNotFoundError:
            return {}
        except Exception as error:  # noqa: BLE001  # The record saves work; nothing depends on it.
            logger.debug("%s: no accepted edits: %r", self._builder.function_name, error)
        return {}

    def _write(self, accepted: dict[str, str]) -> None:
        data = json.dumps({"schema": _SCHEMA, "accepted": accepted}, indent=1).encode()
        name = self._builder.function_name
        try:
            self._storage.store(Entry(self._path, moment(time.time()), len(data), format="json", function=name), data)
        except TierError:  # Whoever shares the other tiers goes by it.
            self._builder.adopt(accepted)
            raise
        self._builder.adopt(accepted)
