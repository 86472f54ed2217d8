"""Every file system of fsspec for perscache: ``Cache(storage="sftp://host/folder")``."""

from __future__ import annotations

from collections.abc import Iterable

from perscache.plugins import Storage, hookimpl

from .storage import FsspecStorage

__all__ = ["PERSCACHE_API", "FsspecStorage", "perscache_storages"]

PERSCACHE_API = 1


@hookimpl
def perscache_storages() -> Iterable[type[Storage]]:
    """What this plugin provides."""
    return [FsspecStorage]
