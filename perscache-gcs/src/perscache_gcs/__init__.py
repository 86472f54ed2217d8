"""Google Cloud Storage for perscache: ``Cache(storage="gs://bucket/folder")``."""

from __future__ import annotations

from collections.abc import Iterable

from perscache.plugins import Storage, hookimpl

from .storage import GoogleCloudStorage

__all__ = ["PERSCACHE_API", "GoogleCloudStorage", "perscache_storages"]

PERSCACHE_API = 1


@hookimpl
def perscache_storages() -> Iterable[type[Storage]]:
    """What this plugin provides."""
    return [GoogleCloudStorage]
