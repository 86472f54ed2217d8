"""The trash of a local storage: folders of functions that were cleared, on their way out.

Clearing is one rename, the deletion comes after it and may be interrupted: the next process goes on with it. What is
not ours among the files goes back to where it was.
"""

from __future__ import annotations

import os
from contextlib import suppress

from .layout import Layout, is_folder


class Trash:
    """What `throw` takes out of sight and `empty` deletes."""

    def __init__(self, layout: Layout) -> None:
        """Nothing is opened or made yet."""
        self._layout = layout
        self._folder = layout.state("trash")

    def throw(self, function: str) -> None:
        """Move the folder of ``function`` into the trash, at once for every reader; FileNotFoundError if none."""
        if not next(self._layout.folders(function), None):
            raise FileNotFoundError(function)
        token = self._layout.make_state("trash", os.urandom(8).hex())
        os.rename(self._layout.root + function, token + os.sep + function)

    def full(self) -> bool:
        """Whether there is anything."""
        return bool(self._folders())

    def empty(self) -> None:
        """Delete what is ours and put back what is not. Others may do the same meanwhile."""
        for above in self._folders():
            with suppress(OSError):
                for function in os.listdir(above):
                    if is_folder(above + os.sep + function):
                        self._delete(above + os.sep + function, function, self._layout.root + function)
                os.rmdir(above)

    def _folders(self) -> list[str]:
        """Those that `throw` made. What else lies there is somebody else's, and symlinks are not followed."""
        if not is_folder(self._folder):
            return []
        try:
            found = os.listdir(self._folder)
        except OSError:
            return []
        return [path for name in found if is_folder(path := self._folder + os.sep + name)]

    def _delete(self, folder: str, function: str, origin: str) -> None:
        with suppress(OSError):
            with os.scandir(folder) as found:
                items = list(found)
            for item in items:
                with suppress(OSError):
                    if item.is_dir(follow_symlinks=False):
                        self._delete(item.path, function, origin + os.sep + item.name)
                    elif self._ours(item, function):
                        os.unlink(item.path)
                    else:
                        self._put_back(item, origin)
            os.rmdir(folder)

    def _ours(self, item: os.DirEntry[str], function: str) -> bool:
        if item.name[0] == ".":
            return self._layout.litter(item.name)
        return self._layout.ours(item.path, item.stat(follow_symlinks=False), f"{function}/{item.name}")

    def _put_back(self, item: os.DirEntry[str], origin: str) -> None:
        target = origin + os.sep + item.name
        self._layout.make_folder_of(target)
        if not os.path.lexists(target):
            os.rename(item.path, target)
