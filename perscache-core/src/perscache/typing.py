"""Types that only type checkers meet: what the decorator makes of a function."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, Self, TypeVar, overload

if TYPE_CHECKING:
    from .handle import CacheInfo, Handle

P = ParamSpec("P")
Q = ParamSpec("Q")
V = TypeVar("V")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")


class _Attributes(Protocol[P, R, V]):
    """The attributes of a cached function. On a bound method they are the function's: the instance is an argument."""

    __name__: str
    __qualname__: str
    __wrapped__: Callable[P, R]

    @property
    def cache(self) -> Handle[P, R, V]: ...
    def cache_info(self) -> CacheInfo: ...
    def cache_clear(self) -> None: ...
    def cache_parameters(self) -> dict[str, Any]: ...
    def cache_contains(self, *args: P.args, **kwargs: P.kwargs) -> bool: ...
    def cache_invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool: ...


class CachedFunction(_Attributes[P, R, V], Protocol[P, R, V]):
    """A cached function: ``P`` its parameters, ``R`` what calling it gives, ``V`` the stored value.

    At run time it is a real function.
    """

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    @overload
    def __get__(self, instance: None, owner: type | None = None, /) -> Self: ...
    @overload
    def __get__(
        self: CachedFunction[Concatenate[S, Q], R, V], instance: S, owner: type | None = None, /
    ) -> CachedMethod[Concatenate[S, Q], R, V, Q]: ...
    def __get__(self, instance: Any, owner: type | None = None, /) -> Any: ...


class CachedClassFunction(_Attributes[Concatenate[type[S], P], R, V], Protocol[S, P, R, V]):  # type: ignore[misc]
    """A cached function whose first parameter is a class: what `classmethod` makes a class method of."""

    def __call__(self, cls: type[S], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    def __get__(
        self, instance: Any, owner: type | None = None, /
    ) -> CachedMethod[Concatenate[type[S], P], R, V, P]: ...


class CachedMethod(_Attributes[P, R, V], Protocol[P, R, V, Q]):
    """A cached method of an instance: ``Q`` its parameters without the instance."""

    @property
    def __self__(self) -> Any: ...
    def __call__(self, *args: Q.args, **kwargs: Q.kwargs) -> R: ...


class Decorator(Protocol):
    """What ``@cache(...)`` decorates with."""

    @overload
    def __call__(self, function: classmethod[S, P, R], /) -> classmethod[S, P, R]: ...
    @overload  # A staticmethod is callable itself, hence the overlap.
    def __call__(self, function: staticmethod[P, R], /) -> staticmethod[P, R]: ...  # type: ignore[overload-overlap]
    @overload  # A class method to be: @classmethod stands above @cache.
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[Concatenate[type[S], P], Coroutine[Any, Any, T]], /
    ) -> CachedClassFunction[S, P, Coroutine[Any, Any, T], T]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[type[S], P], R], /) -> CachedClassFunction[S, P, R, R]: ...
    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, T]], /
    ) -> CachedFunction[P, Coroutine[Any, Any, T], T]: ...
    @overload  # A generator is an iterator too, hence the overlap.
    def __call__(  # pyright: ignore[reportOverlappingOverload]
        self, function: Callable[P, Generator[T, S, R]], /
    ) -> CachedFunction[P, Generator[T, S, R], list[T]]: ...
    @overload  # A generator is an iterator too, hence the overlap.
    def __call__(  # pyright: ignore[reportOverlappingOverload]
        self, function: Callable[P, AsyncGenerator[T, S]], /
    ) -> CachedFunction[P, AsyncGenerator[T, S], list[T]]: ...
    @overload
    def __call__(self, function: Callable[P, Iterator[T]], /) -> CachedFunction[P, Iterator[T], list[T]]: ...
    @overload
    def __call__(self, function: Callable[P, AsyncIterator[T]], /) -> CachedFunction[P, AsyncIterator[T], list[T]]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> CachedFunction[P, R, R]: ...
