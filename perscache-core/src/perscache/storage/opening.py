"""Opening a storage: from what a user wrote, a path, a URL or an object, to a storage."""

from __future__ import annotations

import os
import re
from os import PathLike
from pathlib import Path
from typing import Any, Final, TypeAlias

from .. import config
from ..errors import ConfigurationError
from ..plugins import registry
from ..plugins.known import KNOWN, Kind
from ..units import Size, size_in_bytes
from .base import Storage

StorageLike: TypeAlias = "str | PathLike[str] | Storage | type[Storage]"

_SCHEMES: Final = frozenset({"file", "memory", *KNOWN[Kind.STORAGE]})

DEFAULT: Final = ".cache"
"""Where results lie when nobody says otherwise."""


def configured_storage(storage: StorageLike | None = None) -> Storage:
    """The storage that ``Cache(storage=storage)`` uses: given here, by the environment, by a file, or ``.cache``.

    Raises ConfigurationError for a setting without meaning, and PluginError for a URL without plugin.
    """
    settings = {name: value for name, (value, _) in config.outside().items()}
    chosen = settings.get("storage", DEFAULT) if storage is None else storage
    return open_storage(chosen, settings.get("max_size"))


def open_storage(storage: StorageLike, max_size: Size | None) -> Storage:
    """The storage that ``storage`` means; ``max_size`` is for one given by path or URL."""
    if isinstance(storage, type) and issubclass(storage, Storage):
        storage = storage()
    if isinstance(storage, Storage):
        return storage
    options: dict[str, Any] = {} if max_size is None else {"max_size": size_in_bytes(max_size)}
    if isinstance(storage, str) and (scheme := re.match(r"([a-z0-9]{2,}):(?!//)", storage)) and scheme[1] in _SCHEMES:
        raise ConfigurationError(f"storage={storage!r}: a URL has two slashes, {scheme[1]}://{storage[scheme.end() :]}")
    if isinstance(storage, str) and (url := re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", storage)):
        return registry.storage_class(url[1].lower()).from_url(storage, **options)
    if isinstance(storage, str | PathLike):
        from .local import LocalFileStorage

        if os.fspath(storage):
            return LocalFileStorage(Path(storage).expanduser(), **options)
    raise ConfigurationError(
        f"storage={storage!r}: it takes a path, a URL such as 'gs://bucket/folder', or an instance of a class derived "
        "from perscache.storage.Storage"
    )
