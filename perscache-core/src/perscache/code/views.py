"""How values that code uses are seen on a walk: paths from the project, loggers by name, locks by type."""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass
from marshal import dumps
from operator import attrgetter
from pathlib import PurePath
from typing import Any

from ..fingerprint.encoder import SCALARS, Handler
from . import origin
from .naming import name_of_kind
from .source import identity


def is_constant(value: Any) -> bool:
    """Whether its identity alone says that a value has not changed."""
    if isinstance(value, tuple | frozenset):
        return all(is_constant(item) for item in value)
    return type(value) in SCALARS or isinstance(
        value, type | types.FunctionType | types.BuiltinFunctionType | bytes | PurePath
    )


def relative(value: Any, namespace: Mapping[str, Any]) -> Any:
    """A path into the project, as seen from there: a project may be moved."""
    if type(value) is not str and not isinstance(value, PurePath):
        return value
    folder = origin.project_folder(dict(namespace)) if _may_be_path(str(value)) else None
    if folder is None or not PurePath(str(value)).is_relative_to(folder):
        return value
    return ("text" if type(value) is str else "path", "project", PurePath(str(value)).relative_to(folder).as_posix())


def _may_be_path(text: str) -> bool:
    return len(text) < 4096 and PurePath(text).is_absolute()


def handler_of(handler_for: Any, of_module: Handler, kind: type) -> Handler | None:
    """How globals are seen: loggers and modules by name, the rest as plugins say."""
    if issubclass(kind, types.ModuleType):
        return of_module
    if (
        kind.__name__ == "ValidateCallWrapper"
    ):  # pydantic's validators are made of the function, which __wrapped__ gives
        return lambda value: (getattr(value, "validate_return", None), getattr(value, "_validate_return", None))
    logging = sys.modules.get("logging")
    if logging is not None and issubclass(kind, logging.Logger):
        return attrgetter("name")
    found: Handler | None = handler_for(kind) if handler_for else None
    return found


@dataclass(frozen=True, slots=True)
class Without:
    """An object, seen without some of its fields."""

    value: Any
    left_out: frozenset[str]

    def __cache_key__(self) -> Any:
        fields = {name: value for name, value in vars(self.value).items() if name not in self.left_out}
        return (type(self.value), fields)


def name_of_module(module: types.ModuleType) -> str:
    """A module's name, with its release if it is a library's."""
    name = module.__name__
    return origin.release(name) if origin.of_module(name) == origin.LIBRARY else name


def label_of(value: Any) -> bytes:
    """What a function or class is sorted by among others: its name and its own code, not what that uses."""
    if isinstance(value, types.FunctionType):
        return dumps(value.__qualname__, 2) + identity(value.__code__, value.__globals__)
    return dumps(f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}", 2)


def typed(value: Any) -> bytes:
    """What stands for a value that has no identity: its type."""
    kind: type = type(value)
    return b"X" + name_of_kind(kind)


def refuse_by_type(value: Any, why: str) -> bytes:  # noqa: ARG001
    """The same, where an `Encoder` refuses it."""
    return typed(value)


def address(value: Any) -> bytes:
    """What tells a function or class from all others within the process, for guards."""
    return b"%x;" % id(value)


def refuse_by_address(value: Any, why: str) -> bytes:  # noqa: ARG001
    """The same, where an `Encoder` refuses it."""
    return b"X" + address(value)
