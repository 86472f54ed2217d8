"""How objects are taken apart: the fields that a class declares, else the state that pickle would take."""

from __future__ import annotations

import copyreg
import io
import sys
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import UnkeyableError
from .containers import Pairs, tagged
from .encoder import Build, Pass, step

_NO_VALUE = "has no value that a key could be made of"
_NEW_OBJECT = object().__reduce_ex__(4)[0]


def build_for_objects(kind: type) -> Build:
    """How instances of a class without a rule of its own are encoded."""
    if _is_handle(kind):
        return _without_value
    if (fields := _declared_fields(kind)) is not None:
        return by_parts(lambda value: (fields(value),), ".")
    return _of_state


def by_parts(parts: Callable[[Any], tuple[Any, ...]], *names: str) -> Build:
    """Encodes values as type and parts; a refusal calls these by ``names``: "" the value itself, "." its fields."""
    places = {f"[{position}]": name for position, name in enumerate(names)}

    def expanded(run: Pass, value: Any) -> bytes:
        try:
            payload = run.expand(value, parts)
        except UnkeyableError as error:
            return run.refuse(value, str(error), error.__cause__)
        try:
            return tagged(run, type(value), payload)
        except UnkeyableError as error:
            path = error.path
            if path and path[0] in places:
                name = places[path.pop(0)]
                if name == "." and path and path[0].startswith("['"):
                    name = f".{path.pop(0)[2:-2]}"
                step(error, name.rstrip("."))
            raise

    def build(run: Pass, value: Any) -> bytes:
        return run.node(value, expanded)

    return build


def without_computed(kind: type, fields: dict[str, Any]) -> dict[str, Any]:
    """Fields without those that a cached property has filled: whether it was asked for is no part of a value."""
    for name in [name for name in fields if _is_computed(kind, name)]:
        del fields[name]
    return fields


def _is_computed(kind: type, name: str) -> bool:
    """Whether a class has something under this name that computes a field when it is missing, and then keeps it."""
    for base in kind.__mro__:
        if name in vars(base):
            found = type(vars(base)[name])
            return hasattr(found, "__get__") and not hasattr(found, "__set__") and found not in _METHODS
    return False


_METHODS = {
    types.FunctionType,
    classmethod,
    staticmethod,
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.ClassMethodDescriptorType,
}


def slots_of(base: type, value: Any) -> Iterator[tuple[str, Any]]:
    """What the slots hold that one of its classes declares."""
    if "__slots__" not in vars(base):
        return
    for name, slot in vars(base).items():
        if isinstance(slot, types.MemberDescriptorType) and slot.__objclass__ is base:
            try:
                yield name, slot.__get__(value)
            except AttributeError:  # nothing was put there
                continue


def state_of(value: Any) -> tuple[Any, ...]:
    """How pickle would rebuild a value: with which function from which arguments, state and items."""
    kind: Any = type(value)
    if kind is object:
        raise UnkeyableError("is a bare object: nothing but its address tells it from another")
    reduced = _reduced(value)
    if isinstance(reduced, str):
        return (reduced,)
    parts: tuple[Any, ...] = (*reduced, None, None, None)
    function, arguments, state, items, pairs = parts[:5]
    if function is _NEW_OBJECT and arguments[0] is kind:
        arguments = arguments[1:]
    if type(state) is tuple and len(state) == 2 and kind.__getstate__ is object.__getstate__:
        state = {**(state[0] or {}), **state[1]}  # fields and slots
    if isinstance(state, dict):
        state = without_computed(kind, dict(state)) or None
    named = getattr(function, "__qualname__", None) or function
    items, pairs = None if items is None else list(items), None if pairs is None else Pairs(pairs)
    return (named, arguments, state, items, pairs)


def _reduced(value: Any) -> Any:
    try:
        return value.__reduce_ex__(4)
    except RecursionError:
        raise
    except Exception as error:
        # Not asked first, as pickle does: for what pickles anyway, what is registered hangs on the libraries at hand.
        if reduce := copyreg.dispatch_table.get(type(value)):
            return reduce(value)
        raise UnkeyableError(_NO_VALUE) from error


def _is_handle(kind: type) -> bool:
    """Whether instances are consumed by use, or stand for something outside: iterators, files, awaitables."""
    if any(hasattr(kind, name) for name in ("__next__", "__anext__", "__await__", "fileno")):
        return True
    if any(base.__module__.startswith(_OUTSIDE) for base in kind.__mro__) and not issubclass(kind, BaseException):
        return True
    return issubclass(kind, (io.IOBase, types.ModuleType, types.FrameType, types.TracebackType, weakref.finalize))


# Locks and queues that would pickle, as if no one could be waiting; cookies, which know what time it is.
_OUTSIDE = ("asyncio.", "http.cookiejar")


def _without_value(run: Pass, value: Any) -> bytes:
    return run.refuse(value, _NO_VALUE)


def _declared_fields(kind: type) -> Callable[[Any], Any] | None:
    """For classes that list their fields (dataclasses, attrs) or keep them apart (pydantic): those."""
    if hasattr(kind, "__pydantic_validator__") and hasattr(kind, "__pydantic_fields_set__"):
        return _pydantic_state
    declared = getattr(kind, "__attrs_attrs__", None)
    if declared is not None:
        names = [attribute.name for attribute in declared]
    elif hasattr(kind, "__dataclass_fields__") and not _says_its_state(kind):
        names = [field.name for field in sys.modules["dataclasses"].fields(kind)]
    else:
        return None
    # attrs keeps hashes and cached properties in slots.
    bases = [base for base in kind.__mro__ if "__attrs_attrs__" not in vars(base)]

    def fields(value: Any) -> dict[str, Any]:
        found = dict(getattr(value, "__dict__", ()))
        found.pop("_attrs_cached_hash", None)
        for name in names:
            if hasattr(value, name):
                found[name] = getattr(value, name)
        for base in bases:
            found.update(slots_of(base, value))
        return without_computed(kind, found)

    return fields


def _says_its_state(kind: Any) -> bool:
    """Whether a dataclass was given a state for pickling, other than the one that is made for slots."""
    own = (kind.__getstate__, object.__getstate__), (kind.__reduce__, object.__reduce__)
    changed = [method for method, inherited in own if method is not inherited]
    return kind.__reduce_ex__ is not object.__reduce_ex__ or any(
        getattr(method, "__module__", None) != "dataclasses" for method in changed
    )


def _pydantic_state(value: Any) -> Any:
    fields = without_computed(type(value), dict(value.__dict__))
    extra = getattr(value, "__pydantic_extra__", None)
    private = getattr(value, "__pydantic_private__", None)
    given = getattr(value, "__pydantic_fields_set__", None)
    return {**fields, "": (extra, private, given)}


_by_state = by_parts(state_of, "", "", ".", "", "")


def _of_state(run: Pass, value: Any) -> bytes:
    whole = run.encoder.whole
    return run.encode_whole(value, _by_state) if whole is not None and whole(type(value)) else _by_state(run, value)
