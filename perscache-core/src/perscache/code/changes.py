"""What code changes of what it uses: state, which enters its key by name only, and no configuration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping, MutableSequence, MutableSet
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from .names import Chain, Uses, uses
from .naming import is_users

Place = tuple[int, str]
"""A namespace or an object, by its address, and a name in it."""


class _Reach(NamedTuple):
    """Where a chain of names leads, behind the modules that it goes through."""

    namespace: dict[str, Any]
    name: str
    value: Any
    attributes: Chain
    """What is read from the value."""


def changed_by(found: Uses, namespace: dict[str, Any]) -> Iterator[Place]:
    """The globals that the code of ``found`` assigns or fills, and the fields that methods called on globals set."""
    for chain in found.changed:
        yield _place(_reach(chain, namespace))
    for chain in found.called:
        reach = _reach(chain, namespace)
        if _is_container(_follow(reach.value, reach.attributes)):
            yield _place(reach)
    for chain in found.chains:
        yield from _set_by_method(_reach(chain, namespace))


def is_changed(name: str, value: Any, changed: set[Chain], called: set[Chain]) -> bool:
    """Whether code changes the ``value`` of the free variable ``name``, given the chains that it sets and calls."""
    if isinstance(value, type | FunctionType | ModuleType):
        return (name,) in changed
    if any(chain[0] == name for chain in changed):
        return True
    return any(chain[0] == name and _is_container(_follow(value, chain[1:])) for chain in called)


def _reach(chain: Chain, namespace: dict[str, Any]) -> _Reach:
    name, *rest = chain
    value = namespace.get(name)
    while rest and isinstance(value, ModuleType):
        namespace, (name, *rest) = vars(value), rest
        value = namespace.get(name)
    return _Reach(namespace, name, value, tuple(rest))


def _place(reach: _Reach) -> Place:
    """What a change counts for: an attribute of a class or function, else the name in its module."""
    if reach.attributes and isinstance(reach.value, type | FunctionType):
        return id(reach.value), reach.attributes[0]
    return id(reach.namespace), reach.name


def _set_by_method(reach: _Reach) -> Iterator[Place]:
    """Fields of a user's object that the method sets which is called on it."""
    value = reach.value
    kind: type = type(value)
    if len(reach.attributes) != 1 or isinstance(value, type | FunctionType) or not is_users(kind):
        return
    method = getattr(kind, reach.attributes[0], None)
    if isinstance(method, FunctionType) and method.__code__.co_argcount:
        own = method.__code__.co_varnames[0]
        inside = uses(method.__code__)
        for chain in inside.assigned_local | inside.filled_local:
            if chain[0] == own and len(chain) > 1:
                yield id(value), chain[1]


def _follow(value: Any, attributes: Iterable[str]) -> Any:
    for name in attributes:
        value = getattr(value, "__dict__", {}).get(name)
    return value


def _is_container(value: Any) -> bool:
    return isinstance(value, MutableMapping | MutableSequence | MutableSet) or type(value).__name__ == "deque"
