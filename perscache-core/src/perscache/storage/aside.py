"""What was set aside: damaged and edited files, kept for whoever wants them back, as many as there is room for.

Each lies in a folder of its own, ``.state/aside/<token>/<function>/<name>``. When they are more than 256 or 1 GiB,
those that were set aside first are deleted; the last one never is.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import Final

from .layout import Layout

MOST: Final = 256
"""Files that are kept."""

MOST_BYTES: Final = 1 << 30
"""Bytes that they may have together, besides the last one."""

_TOKEN: Final = re.compile(r"[0-9a-f]{8}")


class Aside:
    """Where one local storage puts files that are not what it wrote."""

    def __init__(self, layout: Layout) -> None:
        """Nothing is opened or made yet."""
        self._layout = layout

    def take(self, file: str, path: str, status: os.stat_result) -> str | None:
        """Move ``file``, found as the entry ``path``, unless it was replaced since ``status``; where to, else None."""
        try:
            if not os.path.samestat(status, os.lstat(file)):
                return None
            function, name = path.split("/")
            folder = self._layout.make_state("aside", os.urandom(4).hex(), function)
            aside = folder + os.sep + name
            os.rename(file, aside)
            moved = os.lstat(aside)
        except OSError:
            return None
        if not os.path.samestat(status, moved):
            with suppress(OSError):  # a fresh entry came in between
                os.link(aside, file)
                os.unlink(aside)
            return None
        with suppress(OSError):
            self._make_room(os.path.dirname(folder))
        return aside

    def _make_room(self, last: str) -> None:
        """Delete what was set aside first until there is room, but never the ``last``. Others may do so meanwhile."""
        found: list[tuple[int, str]] = []
        for item in _folders(os.path.dirname(last)):
            if _TOKEN.fullmatch(item.name) and item.path != last:
                with suppress(OSError):
                    found.append((item.stat(follow_symlinks=False).st_mtime_ns, item.path))
        size = 0
        for number, (_, folder) in enumerate(sorted(found, reverse=True), start=2):
            with suppress(OSError):
                size += sum(os.lstat(file).st_size for file in _files(folder))
                if number > MOST or size > MOST_BYTES:
                    _delete(folder)


def _folders(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return [item for item in found if item.is_dir(follow_symlinks=False)]


def _files(folder: str) -> list[str]:
    """The one file that was set aside in ``folder``; none if it was taken back."""
    return [function.path + os.sep + name for function in _folders(folder) for name in os.listdir(function.path)]


def _delete(folder: str) -> None:
    for file in _files(folder):
        os.unlink(file)
    for function in _folders(folder):
        os.rmdir(function.path)
    os.rmdir(folder)
