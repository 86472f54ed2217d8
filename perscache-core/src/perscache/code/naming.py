"""What of functions and classes is known from outside: their names, whose they are, and the releases of libraries."""

from __future__ import annotations

import functools
import os
import sys
import types
from marshal import dumps
from typing import Any

from ..fingerprint.encoder import type_name
from . import origin


@functools.lru_cache(maxsize=4096)
def name_of_kind(kind: type) -> bytes:
    """The identity of a type by its name only."""
    return dumps((origin.public(origin.module_name(kind.__module__, file_of(kind))), kind.__qualname__), 2)


@functools.lru_cache(maxsize=1024)
def file_of(kind: type) -> str:
    """Where a class of the file that was started was read, which tells its module's lasting name; else ""."""
    if kind.__module__ not in {"__main__", "__mp_main__"}:
        return ""
    for value in vars(kind).values():
        code = getattr(getattr(value, "__func__", value), "__code__", None)
        file = code.co_filename if isinstance(code, types.CodeType) else ""
        if os.path.isfile(file) and origin.of_file(file) == origin.USER:  # noqa: PTH113
            return file
    return str(getattr(sys.modules.get(kind.__module__), "__file__", ""))


@functools.lru_cache(maxsize=4096)
def is_users(kind: type) -> bool:
    """Whether a class is the user's own, or was made by the user's code with a library's help."""
    heap_type = 1 << 9
    if not kind.__flags__ & heap_type:
        return False
    if origin.of_module(kind.__module__) == origin.USER:
        return True
    found: Any = sys.modules.get(kind.__module__)
    for name in kind.__qualname__.split("."):
        found = getattr(found, name, None)
    # Not found under its own name: made on the fly, unless it comes out of an extension.
    return found is None and any(isinstance(value, types.FunctionType) for value in vars(kind).values())


def is_foreign(kind: type) -> bool:
    """Whether a type is Python's or a library's: what its instances keep for themselves is not ours to read."""
    return not is_users(kind)


def cached_function(value: Any) -> Any:
    """The key builder of a function that is itself cached, else None."""
    if isinstance(value, types.FunctionType) and "cache" in value.__dict__:
        return getattr(value.__dict__["cache"], "builder", None)
    return None


def leaf(value: Any) -> bytes | None:
    """What is known by name and release: builtins, and functions of libraries that lie where they say."""
    if isinstance(value, types.FunctionType):
        if origin.of_code(value.__code__, value.__globals__) == origin.USER or not _is_at_home(value):
            return None
        return library_name(value.__module__, value.__qualname__)
    if isinstance(value, type):
        return None if is_users(value) else library_name(value.__module__, value.__qualname__)
    owner = getattr(value, "__objclass__", None)
    module = getattr(owner, "__module__", None) or getattr(value, "__module__", None)
    return library_name(module, getattr(value, "__qualname__", None) or type_name(type(value)))


def _is_at_home(function: types.FunctionType) -> bool:
    """Whether a library's function is what its library offers, rather than made with it from the user's code."""
    if function.__closure__ is None and "__wrapped__" not in function.__dict__:
        return True
    if origin.of_module(function.__module__) == origin.USER:
        return False
    found: Any = sys.modules.get(function.__module__)
    for name in function.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is function


@functools.lru_cache(maxsize=4096)
def library_name(module: str | None, name: str) -> bytes:
    """A name in a library and the library's release, or a name in Python itself."""
    if module and origin.of_module(module) == origin.LIBRARY:
        return dumps((name, origin.release(module)), 2)
    return dumps((origin.public(module or ""), name), 2)
