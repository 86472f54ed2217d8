"""The ledger of a local storage: how calls went, one JSON line for each function and process.

Like a journal's, a line begins with its own checksum, and whatever is torn or foreign is passed over. When the file
has doubled, the lines of each function become one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from ..counts import Counts
from . import journal
from .base import Ledger
from .layout import NONBLOCK, SAFE, Layout, is_folder
from .locked_file import LockedFile

COMPACT_FROM: Final = 64 * 1024
"""Bytes below which a ledger is left alone."""

_NAME: Final = "statistics.jsonl"


@dataclass(frozen=True, slots=True)
class LocalLedger(Ledger):
    """The ledger of the local storage at ``location``, in its ``.state``."""

    location: str
    shared: bool

    def add(self, counts: Mapping[str, Counts]) -> None:
        """Append ``counts``. Where nothing was ever stored nothing is made."""
        layout = Layout(self.location, shared=self.shared)
        if not is_folder(layout.state()):
            if next(layout.functions(), None) is None:
                return
            layout.make_state()
        # The line feed in front ends what another process may have left torn.
        lines = b"\n" + b"".join([_line(name, of_name) for name, of_name in counts.items()])
        with LockedFile(layout, "statistics.lock").locked() as locked:
            fd = os.open(
                layout.state(_NAME), os.O_WRONLY | os.O_APPEND | os.O_CREAT | NONBLOCK | SAFE, layout.file_mode
            )
            try:
                os.write(fd, lines)
                size = os.lseek(fd, 0, os.SEEK_CUR)
            finally:
                os.close(fd)
            doubled = size > COMPACT_FROM and size.bit_length() != (size - len(lines)).bit_length()
            if doubled and locked is not None:
                self._compact(layout)

    def read(self) -> dict[str, Counts]:
        """The sum of the lines of each function; nothing where there is no ledger."""
        try:
            return _sums(Layout(self.location, shared=self.shared).state(_NAME))
        except OSError:
            return {}

    def _compact(self, layout: Layout) -> None:
        """Write one line for each function, by way of a fresh file. Nobody adds meanwhile: all who do hold the lock."""
        layout.sweep(layout.state(), os.listdir(layout.state()))
        sums = _sums(layout.state(_NAME))
        fresh = layout.temporary(layout.state())
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE, layout.file_mode)
        try:
            with open(fd, "wb") as out:
                out.writelines(_line(name, counts) for name, counts in sums.items())
            os.replace(fresh, layout.state(_NAME))
        except OSError:
            with suppress(OSError):
                os.unlink(fresh)
            raise


def _sums(file: str) -> dict[str, Counts]:
    counts: dict[str, Counts] = {}
    with open(file, "rb", opener=lambda name, _: os.open(name, os.O_RDONLY | NONBLOCK | SAFE)) as lines:
        for line in lines:
            known = journal.parse(line.rstrip(b"\n"))
            with suppress(TypeError, KeyError):
                name = known.pop("function")
                counts[name] = counts.get(name, Counts()).plus(Counts(**known))
    return counts


def _line(name: str, counts: Counts) -> bytes:
    return journal.line({"function": name, **counts._asdict()})
