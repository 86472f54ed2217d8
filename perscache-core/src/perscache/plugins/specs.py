"""The hooks of perscache: what a plugin may implement, and when each is called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from ..entry import Entry
    from ..events import Call
    from ..fingerprint import Handler
    from ..serializers.base import Serializer
    from ..storage.base import Storage

API = 1
"""The version of these hooks. A plugin module says which it was written for: ``PERSCACHE_API = 1``."""

PROJECT = "perscache"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


# --- Registration: called once a plugin, also for plugins that were registered before anyone asked.


@hookspec(historic=True)
def perscache_serializers() -> Iterable[type[Serializer]]:  # type: ignore[empty-body]
    """The `Serializer` classes that the plugin provides, each with ``name`` and ``extension``."""


@hookspec(historic=True)
def perscache_storages() -> Iterable[type[Storage]]:  # type: ignore[empty-body]
    """The `Storage` classes that the plugin provides, each with ``schemes`` and ``from_url``."""


@hookspec(historic=True)
def perscache_fingerprints() -> Mapping[type | str, Handler]:  # type: ignore[empty-body]
    """Handlers by type, or by dotted type name (``"numpy.ndarray"``) so that nothing need be imported."""


# --- Events: called aside of a call, only where someone listens. What they raise is logged once and survived.


@hookspec
def perscache_hit(call: Call, entry: Entry, seconds: float) -> None:
    """A value came from storage, in ``seconds``."""


@hookspec
def perscache_miss(call: Call, reason: str) -> None:
    """The function is about to run: "absent", "expired", "unreadable" or "forced"."""


@hookspec
def perscache_store(call: Call, entry: Entry, seconds: float) -> None:
    """A result was written, in ``seconds`` (the function's own time is ``entry.compute_time``)."""


@hookspec
def perscache_evict(storage: Storage, entry: Entry, reason: str) -> None:
    """An entry was removed: "expired", "limit", "cleared" or "invalidated"."""


@hookspec
def perscache_error(call: Call, stage: str, error: BaseException) -> None:
    """Something failed and was survived: in "key", "read", "loads", "dumps", "write", "evict" or "lock"."""
