"""Finding entries: by the name of a function, by age and size, by path or file."""

from __future__ import annotations

import argparse
import os
import re
import time
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from ..entry import ACCEPTED, Entry
from ..errors import ConfigurationError
from ..storage import LocalFileStorage, Storage, configured_storage

_ONE_FOLDER: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", re.ASCII)


def entries_of(storage: Storage, pattern: str | None, *, records: bool = False) -> Iterator[Entry]:
    """The entries of the functions that ``pattern`` names; all for None, and then perhaps ``records`` of edits too."""
    if pattern is not None and _ONE_FOLDER.fullmatch(pattern):
        # Most functions are their folder's name: the others' entries need not be looked at.
        own = iter(storage.entries(pattern))
        if (first := next(own, None)) is not None:
            yield first
            yield from own
            return
    for entry in storage.entries():
        folder = folder_of(entry)
        if folder == ACCEPTED:
            if records:
                yield entry
        elif pattern is None or fnmatchcase(entry.function, pattern) or fnmatchcase(folder, pattern):
            yield entry


def chosen(storage: Storage, options: argparse.Namespace) -> Iterator[Entry]:
    """The entries that ``options`` ask for: ``function``, ``older_than``, ``younger_than``, ``larger_than``."""
    now = time.time()
    for entry in entries_of(storage, options.function):
        age = now - entry.created.timestamp()
        if (
            (options.older_than is None or age > options.older_than)
            and (options.younger_than is None or age < options.younger_than)
            and (options.larger_than is None or entry.size > options.larger_than)
        ):
            yield entry


def folder_of(entry: Entry) -> str:
    """The folder of an entry, or what stands for it in a flat storage."""
    return entry.path.rpartition("/")[0] or entry.path.rpartition("-")[0]


def locate(name: str, storage: str | None) -> tuple[Storage, str]:
    """The storage and the path of the entry called ``name``: a path as listed, or a file."""
    around = storage_around(name, storage)
    if isinstance(around, LocalFileStorage):
        parts = Path(os.path.relpath(name, around.location)).parts
        if parts[0] == ".state":
            raise ConfigurationError(f"{name} is set aside and no entry: `perscache seal {name}` makes it one again")
        if parts[0] != os.pardir and len(parts) > 1 and os.path.lexists(name):
            return around, f"{parts[0]}/{parts[-1]}"
    return around, name


def storage_around(name: str, storage: str | None) -> Storage:
    """The storage that was asked for; else the one that the file ``name`` lies in; else the configured one."""
    configured = configured_storage(storage)
    if storage is None and os.path.lexists(name):
        for folder in Path(name).absolute().parents:
            for own in local_tiers(configured):
                if own.location == folder:
                    return own
            if (folder / ".state").is_dir():
                return LocalFileStorage(folder)
    return configured


def file_of(storage: Storage, path: str) -> str | None:
    """The file of an entry, where there is one that other tools can open."""
    for tier in local_tiers(storage):
        function, name = path.split("/")
        folder = tier.location / function
        for file in (folder / name, folder / name[:2] / name):
            if os.path.lexists(file):
                return str(file)
    return None


def local_tiers(storage: Storage) -> Iterator[LocalFileStorage]:
    """The storage if it is of local files; of tiers, those that are."""
    for tier in getattr(storage, "tiers", (storage,)):
        if isinstance(tier, LocalFileStorage):
            yield tier
