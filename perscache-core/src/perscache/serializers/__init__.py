"""The serializers by class: the contract, the built-in ones, and those of plugins, looked up when they are named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .base import Serializer, make_serializer

if TYPE_CHECKING:
    # Typed for those who have the plugin; nobody needs it.
    from perscache_csv import CSVSerializer as CSVSerializer  # type: ignore[import-not-found, unused-ignore]
    from perscache_numpy import NumpySerializer as NumpySerializer  # type: ignore[import-not-found, unused-ignore]
    from perscache_parquet import ParquetSerializer as ParquetSerializer  # type: ignore[import-not-found, unused-ignore]
    from perscache_yaml import YAMLSerializer as YAMLSerializer  # type: ignore[import-not-found, unused-ignore]

    from .builtin import CloudPickleSerializer, JSONSerializer, PickleSerializer

__all__ = ["CloudPickleSerializer", "JSONSerializer", "PickleSerializer", "Serializer", "make_serializer"]

_BUILT_IN: Final = frozenset(__all__) - {"Serializer", "make_serializer"}
_PLUGINS: Final = {
    "CSVSerializer": "csv",
    "NumpySerializer": "numpy",
    "ParquetSerializer": "parquet",
    "YAMLSerializer": "yaml",
}


if not TYPE_CHECKING:  # Checkers are to find a name that nobody gives.

    def __getattr__(name: str) -> Any:
        if name in _BUILT_IN:
            from . import builtin

            return getattr(builtin, name)
        if name in _PLUGINS:
            from ..plugins import registry

            return registry.serializer(_PLUGINS[name])
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_BUILT_IN, *_PLUGINS})
