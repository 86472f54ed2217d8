"""The storages by class: the contract, the built-in ones, and those of plugins, looked up when they are named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..errors import CacheExpired
from .base import Storage

if TYPE_CHECKING:
    # Typed for those who have the plugin; nobody needs it.
    from perscache_gcs import GoogleCloudStorage as GoogleCloudStorage  # type: ignore[import-not-found, unused-ignore]

    from .file import FileStorage
    from .local import LocalFileStorage
    from .memory import MemoryStorage
    from .opening import configured_storage

__all__ = ["CacheExpired", "FileStorage", "LocalFileStorage", "MemoryStorage", "Storage", "configured_storage"]

_BUILT_IN: Final = {
    "FileStorage": "file",
    "LocalFileStorage": "local",
    "MemoryStorage": "memory",
    "configured_storage": "opening",
}
_PLUGINS: Final = {"GoogleCloudStorage": "gs"}


if not TYPE_CHECKING:  # Checkers are to find a name that nobody gives.

    def __getattr__(name: str) -> Any:
        if name in _BUILT_IN:
            from importlib import import_module

            return getattr(import_module(f"{__name__}.{_BUILT_IN[name]}"), name)
        if name in _PLUGINS:
            from ..plugins import registry

            return registry.storage_class(_PLUGINS[name])
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_BUILT_IN, *_PLUGINS})
