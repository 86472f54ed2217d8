"""Types that only type checkers meet: what the decorator makes of a function."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, overload

if TYPE_CHECKING:
    from .handle import CacheInfo, Handle

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")
S_contra = TypeVar("S_contra", contravariant=True)
T = TypeVar("T")


class HandleOf:
    """The attribute ``cache``: what is stored follows from what a call gives.

    It is told apart here and not at the decorator, so that a function without annotations, which would fit anything, is
    called as it was.
    """

    @overload
    def __get__(
        self, function: Attributes[P, Coroutine[Any, Any, T]], owner: type | None = None, /
    ) -> Handle[P, Coroutine[Any, Any, T], T]: ...
    @overload  # A generator is an iterator too, hence the overlap.
    def __get__(
        self, function: Attributes[P, Generator[T, S, R]], owner: type | None = None, /
    ) -> Handle[P, Generator[T, S, R], list[T]]: ...
    @overload
    def __get__(
        self, function: Attributes[P, AsyncGenerator[T, S]], owner: type | None = None, /
    ) -> Handle[P, AsyncGenerator[T, S], list[T]]: ...
    @overload
    def __get__(
        self, function: Attributes[P, Iterator[T]], owner: type | None = None, /
    ) -> Handle[P, Iterator[T], list[T]]: ...
    @overload
    def __get__(
        self, function: Attributes[P, AsyncIterator[T]], owner: type | None = None, /
    ) -> Handle[P, AsyncIterator[T], list[T]]: ...
    @overload
    def __get__(self, function: Attributes[P, R], owner: type | None = None, /) -> Handle[P, R, R]: ...
    def __get__(self, function: Any, owner: type | None = None, /) -> Any:
        raise NotImplementedError


class Attributes(Generic[P, R_co]):
    """The attributes of a cached function. On a bound method they are the function's: the instance is an argument."""

    # Not a protocol: checkers would compare it with itself without end.

    __name__: str
    __qualname__: str
    __wrapped__: Callable[P, R_co]
    cache: ClassVar[HandleOf]
    cache_info: Callable[[], CacheInfo]
    cache_clear: Callable[[], None]
    cache_parameters: Callable[[], dict[str, Any]]
    cache_contains: Callable[P, bool]
    cache_invalidate: Callable[P, bool]


class CachedFunction(Attributes[P, R_co]):
    """A cached function: ``P`` its parameters, ``R_co`` what calling it gives. At run time it is a real function."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        raise NotImplementedError

    @overload  # A class method: @classmethod stands above @cache.
    def __get__(
        self: TakesClass[S, Q, R], instance: Any, owner: type[S], /
    ) -> CachedMethod[Concatenate[type[S], Q], R, Q]: ...
    @overload
    def __get__(self, instance: None, owner: type | None = None, /) -> Self: ...
    @overload
    def __get__(
        self: CachedFunction[Concatenate[S, Q], R], instance: S, owner: type | None = None, /
    ) -> CachedMethod[Concatenate[S, Q], R, Q]: ...
    def __get__(self, instance: Any, owner: type | None = None, /) -> Any:
        raise NotImplementedError


class CachedMethod(Attributes[P, R_co], Generic[P, R_co, Q]):
    """A cached method of an instance or class: ``Q`` its parameters without that."""

    __self__: Any

    def __call__(self, *args: Q.args, **kwargs: Q.kwargs) -> R_co:
        raise NotImplementedError


class TakesClass(Protocol[S_contra, P, R_co]):
    """What can be called with a class first."""

    def __call__(self, cls: type[S_contra], /, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


class Decorator(Protocol):
    """What ``@cache(...)`` decorates with."""

    @overload
    def __call__(self, function: classmethod[S, P, R], /) -> classmethod[S, P, R]: ...
    @overload  # A staticmethod is callable itself, hence the overlap.
    def __call__(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
        self, function: staticmethod[P, R], /
    ) -> staticmethod[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> CachedFunction[P, R]: ...
