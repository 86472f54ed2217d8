"""Azure Blob Storage for perscache: ``Cache(storage="az://container/folder")``."""

from __future__ import annotations

from collections.abc import Iterable

from perscache.plugins import Storage, hookimpl

from .storage import AzureStorage

__all__ = ["PERSCACHE_API", "AzureStorage", "perscache_storages"]

PERSCACHE_API = 1


@hookimpl
def perscache_storages() -> Iterable[type[Storage]]:
    """What this plugin provides."""
    return [AzureStorage]
