"""The plugin that provides the storages of the core."""

from __future__ import annotations

from collections.abc import Iterable

from ..plugins.specs import hookimpl
from .base import Storage

PERSCACHE_API = 1


@hookimpl
def perscache_storages() -> Iterable[type[Storage]]:
    """Local files and memory."""
    from .local import LocalFileStorage
    from .memory import MemoryStorage

    return (LocalFileStorage, MemoryStorage)
