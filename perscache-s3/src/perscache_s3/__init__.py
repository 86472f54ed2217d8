"""Amazon S3 for perscache: ``Cache(storage="s3://bucket/folder")``."""

from __future__ import annotations

from collections.abc import Iterable

from perscache.plugins import Storage, hookimpl

from .storage import S3Storage

__all__ = ["PERSCACHE_API", "S3Storage", "perscache_storages"]

PERSCACHE_API = 1


@hookimpl
def perscache_storages() -> Iterable[type[Storage]]:
    """What this plugin provides."""
    return [S3Storage]
