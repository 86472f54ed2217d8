"""Types that only type checkers meet: what the decorator makes of a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

if TYPE_CHECKING:
    from .handle import CacheInfo, Handle

P = ParamSpec("P")
Q = ParamSpec("Q")
R_co = TypeVar("R_co", covariant=True)
V = TypeVar("V")
S = TypeVar("S")


class _Attributes(Generic[P, R_co, V]):
    """The attributes of a cached function; a bound method has them of the function, the instance being the first argument."""

    __name__: str
    __qualname__: str
    __wrapped__: Callable[P, R_co]

    @property
    def cache(self) -> Handle[P, R_co, V]: ...
    def cache_info(self) -> CacheInfo: ...
    def cache_clear(self) -> None: ...
    def cache_parameters(self) -> dict[str, Any]: ...
    def cache_contains(self, *args: P.args, **kwargs: P.kwargs) -> bool: ...
    def cache_invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool: ...


class CachedFunction(_Attributes[P, R_co, V]):
    """A cached function: ``P`` its parameters, ``R_co`` what calling it gives, ``V`` the stored value.

    At run time it is a real function.
    """

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

    @overload
    def __get__(self, instance: None, owner: type | None = None, /) -> Self: ...
    @overload
    def __get__(
        self: CachedFunction[Concatenate[S, Q], R_co, V], instance: S, owner: type | None = None, /
    ) -> CachedMethod[Concatenate[S, Q], R_co, V, Q]: ...
    def __get__(self, instance: Any, owner: type | None = None, /) -> Any: ...


class CachedMethod(_Attributes[P, R_co, V], Generic[P, R_co, V, Q]):
    """A cached method of an instance: ``Q`` its parameters without the instance."""

    @property
    def __self__(self) -> Any: ...
    def __call__(self, *args: Q.args, **kwargs: Q.kwargs) -> R_co: ...
