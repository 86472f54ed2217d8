"""All that the author of a plugin imports. A plugin is a module (or an object) with hooks:

    # perscache_ini/__init__.py
    from perscache.plugins import Serializer, hookimpl

    PERSCACHE_API = 1

    class IniSerializer(Serializer):
        name = "ini"
        extension = "ini"

        def dumps(self, data): ...

        def loads(self, data): ...

    @hookimpl
    def perscache_serializers():
        return [IniSerializer]

An entry point makes it known by name to whoever installs it, `register` to the running process:

    # pyproject.toml
    [project.entry-points."perscache.serializers"]
    ini = "perscache_ini"

The other groups are ``perscache.storages`` (URL schemes), ``perscache.fingerprints`` (top-level modules of arguments'
types) and ``perscache.observers``. The hooks are those of `perscache.plugins.specs`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..buffers import Buffer, Form, Pieces
from ..entry import Entry, Stored
from ..serializers.base import Serializer
from ..storage.base import Storage
from .registry import register, unregister
from .specs import API, hookimpl

if TYPE_CHECKING:
    from ..events import Call

__all__ = [
    "API",
    "Buffer",
    "Call",
    "Entry",
    "Form",
    "Pieces",
    "Serializer",
    "Storage",
    "Stored",
    "hookimpl",
    "register",
    "unregister",
]


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        # Events stand above plugins; importing them here would go in a circle.
        if name == "Call":
            from ..events import Call

            return Call
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
