"""What the decorator returns: a real function in place of another, with a handle on its cache."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from enum import Enum
from typing import Any

from .calls import AsyncCalls, Calls
from .errors import ConfigurationError
from .handle import Handle
from .iterations import AsyncIterations, Iterations
from .plan import Plan


class Colour(Enum):
    """What calling a function gives; each with the class that answers such calls."""

    SYNC = Calls
    ASYNC = AsyncCalls
    GENERATOR = Iterations
    ASYNC_GENERATOR = AsyncIterations

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Colour:
        """The colour of ``function``."""
        if inspect.iscoroutinefunction(function):
            return cls.ASYNC
        if inspect.isasyncgenfunction(function):
            return cls.ASYNC_GENERATOR
        return cls.GENERATOR if inspect.isgeneratorfunction(function) else cls.SYNC


def cached(function: Callable[..., Any], plan: Plan, settings: dict[str, Any]) -> Callable[..., Any]:
    """``function`` with its calls answered by ``plan``: same colour, name, signature and docstring."""
    calls = Colour.of(function).value(function, plan)
    wrapper: Any = functools.update_wrapper(calls.wrapper(), function)
    handle: Handle[..., Any, Any] = Handle(calls, settings)
    wrapper.cache = handle
    wrapper.__dask_tokenize__ = handle.__dask_tokenize__
    wrapper.cache_info = handle.info
    wrapper.cache_clear = handle.clear
    wrapper.cache_parameters = handle.parameters
    wrapper.cache_contains = handle.contains
    wrapper.cache_invalidate = handle.invalidate
    return wrapper  # type: ignore[no-any-return]


def require_function(candidate: Any) -> Callable[..., Any]:
    """``candidate`` if it can be decorated; raises ConfigurationError that says what to decorate instead."""
    if isinstance(candidate, property):
        raise ConfigurationError("a property cannot be cached from outside: put @property above @cache")
    if isinstance(candidate, type):
        raise ConfigurationError(f"{candidate.__qualname__} is a class: decorate the function or method that computes")
    if not callable(candidate):
        kind = type(candidate).__name__
        raise ConfigurationError(f"@cache takes a function, not {kind}: settings are given by name, @cache(ttl='1d')")
    if not hasattr(candidate, "__name__"):
        kind = type(candidate).__name__
        raise ConfigurationError(
            f"a {kind} object has no name and no code to make keys of: "
            "define a function that calls it, and decorate that"
        )
    return candidate  # type: ignore[no-any-return]
