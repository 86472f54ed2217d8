"""Opening a storage: from what a user wrote, a path, a URL, an object or a list of those, to a storage."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Final, TypeAlias

from .. import config
from ..errors import ConfigurationError
from ..plugins import registry
from ..plugins.known import KNOWN, Kind
from ..units import Size, size_in_bytes
from .base import Storage
from .options import masked

Place: TypeAlias = "str | PathLike[str] | Storage | type[Storage]"

StorageLike: TypeAlias = "Place | Sequence[Place]"
"""One place, or several: the tiers, the nearest first."""

_SCHEMES: Final = frozenset({"file", "memory", *KNOWN[Kind.STORAGE]})


def configured_storage(storage: StorageLike | None = None) -> Storage:
    """The storage that ``Cache(storage=storage)`` uses: given here, by the environment, by a file, or ``.cache``.

    Raises ConfigurationError for a setting without meaning, and PluginError for a URL without plugin.
    """
    settings = {name: value for name, (value, _) in config.outside().items()}
    chosen = settings.get("storage", config.DEFAULTS["storage"]) if storage is None else storage
    return open_storage(chosen, settings.get("max_size"))


def open_storage(storage: StorageLike, max_size: Size | None, *, quiet: bool = False) -> Storage:
    """The storage that ``storage`` means; ``max_size`` is for one given by path or URL, ``quiet`` for tiers."""
    if isinstance(storage, list | tuple):
        return _open_tiers(storage, max_size, quiet=quiet)
    if isinstance(storage, type) and issubclass(storage, Storage):
        storage = storage()
    if isinstance(storage, Storage):
        return storage
    options: dict[str, Any] = {} if max_size is None else {"max_size": size_in_bytes(max_size)}
    if isinstance(storage, str) and (scheme := re.match(r"([a-z0-9]{2,}):(?!//)", storage)) and scheme[1] in _SCHEMES:
        url_meant = masked(f"{scheme[1]}://{storage[scheme.end() :]}")
        raise ConfigurationError(f"storage={scheme[0]!r}…: a URL has two slashes, {url_meant}")
    if isinstance(storage, str) and re.match(r"[a-z][a-z0-9+.-]+::", storage):
        raise ConfigurationError(
            f"storage={masked(storage)!r} is a chain of file systems, whose copies and listings grow stale: name the "
            f"last of them, and give a list for tiers: storage=['.cache', {masked(storage.rpartition('::')[2])!r}]"
        )
    if isinstance(storage, str) and (url := re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", storage)):
        return registry.storage_class(url[1].lower()).from_url(storage, **options)
    if isinstance(storage, str | PathLike):
        from .local import LocalFileStorage

        if os.fspath(storage):
            return LocalFileStorage(Path(storage).expanduser(), **options)
    raise ConfigurationError(
        f"storage={storage!r}: it takes a path, a URL such as 'gs://bucket/folder', an instance of a class derived "
        "from perscache.storage.Storage, or a list of those"
    )


def _open_tiers(storages: Sequence[Place], max_size: Size | None, *, quiet: bool) -> Storage:
    from .tiers import TieredStorage

    if any(isinstance(storage, list | tuple) for storage in storages):
        raise ConfigurationError(f"storage={masked(storages)!r}: a list of tiers holds no lists: write one list")
    if len(storages) == 1:
        return open_storage(storages[0], max_size)
    if max_size is not None:
        raise ConfigurationError(
            f"max_size={max_size!r} does not say which tier of storage={masked(storages)!r} it is for: give it to that "
            f"tier, such as 'memory://?max_size={max_size}'"
        )
    tiers: list[Storage] = []
    for storage in storages:
        opened = open_storage(storage, None)
        tiers += opened.tiers if isinstance(opened, TieredStorage) else (opened,)
    return TieredStorage(tiers, quiet=quiet)
