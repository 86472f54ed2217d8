"""Redis and Valkey for perscache: ``Cache(storage="redis://localhost:6379/0/team")``."""

from __future__ import annotations

from collections.abc import Iterable

from perscache.plugins import Storage, hookimpl

from .storage import RedisStorage

__all__ = ["PERSCACHE_API", "RedisStorage", "perscache_storages"]

PERSCACHE_API = 1


@hookimpl
def perscache_storages() -> Iterable[type[Storage]]:
    """What this plugin provides."""
    return [RedisStorage]
