"""What of a class can change what its instances do."""

from __future__ import annotations

import enum
import types
from collections.abc import Iterator
from typing import Any

from . import origin

_MADE_BY_NAMEDTUPLE = frozenset(
    {"_make", "_replace", "_asdict", "__new__", "__repr__", "__getnewargs__", "__replace__"}
)
_SLOTS = (types.MemberDescriptorType, types.GetSetDescriptorType)
_BOOKKEEPING = frozenset({"_abc_impl", "_is_protocol", "_is_runtime_protocol"})
_DATACLASS_OPTIONS = ("init", "repr", "eq", "order", "unsafe_hash", "frozen")
_DATACLASS_FIELD = ("name", "default", "default_factory", "init", "repr", "hash", "compare", "metadata", "kw_only")
_ATTRS_FIELD = (
    "name",
    "default",
    "validator",
    "converter",
    "init",
    "kw_only",
    "alias",
    "on_setattr",
    "eq",
    "order",
    "metadata",
)


def class_items(kind: type) -> list[tuple[str, Any]]:
    """Named things to encode: methods, properties, fields with their defaults, class attributes, enum members."""
    items = dict(_members(kind))
    if issubclass(kind, enum.Enum):
        items["<members>"] = [(name, member._value_) for name, member in kind.__members__.items()]
    own = vars(kind)
    if "__dataclass_fields__" in own and "__dataclass_params__" in own:
        items["<dataclass>"] = [getattr(own["__dataclass_params__"], name) for name in _DATACLASS_OPTIONS]
        items["<fields>"] = [_described(field, _DATACLASS_FIELD) for field in own["__dataclass_fields__"].values()]
    if "__attrs_attrs__" in own:
        items["<fields>"] = [_described(field, _ATTRS_FIELD) for field in own["__attrs_attrs__"]]
    if "__pydantic_decorators__" in own:
        items.update(_of_pydantic(kind))
    if any(_reads_annotations(base) for base in (*kind.__mro__[1:], type(kind))):
        items["<annotations>"] = dict(getattr(kind, "__annotations__", {}) if "__annotations__" in own else {})
    return sorted(items.items())


def _members(kind: type) -> Iterator[tuple[str, Any]]:
    generated = _generated_names(kind)
    data = not issubclass(kind, enum.Enum)
    filled = _filled_attributes(kind)
    for name, value in vars(kind).items():
        dunder = name.startswith("__") and name.endswith("__")
        if name in generated or name in _BOOKKEEPING:
            continue
        if isinstance(value, types.FunctionType | classmethod | staticmethod | property):
            function = _function_of(value)
            if function is not None and _is_written(function, dunder=dunder or name == "_generate_next_value_"):
                yield name, value
        elif isinstance(value, _SLOTS) or type(value).__name__ == "_tuplegetter":
            continue
        elif data and name not in filled and (not dunder or name == "__slots__"):
            yield name, value


def _function_of(value: Any) -> Any:
    function = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
    while hasattr(function, "__func__"):
        function = function.__func__
    return function


def _is_written(function: Any, *, dunder: bool) -> bool:
    """Whether someone wrote it, rather than a decorator or Python itself, which differ between versions."""
    code = getattr(function, "__code__", None)
    if code is None:
        return True
    if code.co_filename.startswith("<attrs generated"):
        return False
    return not dunder or origin.of_code(code, function.__globals__) == origin.USER or "__wrapped__" in function.__dict__


def _generated_names(kind: type) -> frozenset[str]:
    if issubclass(kind, tuple) and "_fields" in vars(kind):
        return _MADE_BY_NAMEDTUPLE
    if "__dataclass_params__" in vars(kind):
        return frozenset(
            name
            for name, value in vars(kind).items()
            if isinstance(value, types.FunctionType)
            and (value.__code__.co_filename == "<string>" or value.__dict__.get("__wrapped__") is not None)
            and name in _MADE_BY_DATACLASS
        )
    if hasattr(kind, "__pydantic_validator__"):
        return frozenset(
            name for name in vars(kind) if name.startswith(("__pydantic_", "_abc_", "model_fields", "model_computed"))
        )
    return frozenset()


_MADE_BY_DATACLASS = frozenset({
    "__init__", "__repr__", "__eq__", "__lt__", "__le__", "__gt__", "__ge__", "__hash__", "__setattr__", "__delattr__",
    "__getstate__", "__setstate__", "__replace__",
})  # fmt: skip


def _filled_attributes(kind: type) -> set[str]:
    """Class attributes that the class itself fills: registries, counters."""
    from .names import uses

    filled: set[str] = set()
    for value in vars(kind).values():
        function = _function_of(value) if isinstance(value, types.FunctionType | classmethod) else None
        code = getattr(function, "__code__", None)
        if code is None or not code.co_argcount:
            continue
        first = code.co_varnames[0]
        found = uses(code)
        chains = set(found.filled_local)
        if isinstance(value, classmethod):
            chains |= found.assigned_local
        filled.update(chain[1] for chain in chains if chain[0] == first and len(chain) > 1)
    return {name for name in filled if not callable(vars(kind).get(name))}


def _described(field: Any, names: tuple[str, ...]) -> list[Any]:
    return [(name, _absent_is_none(getattr(field, name, None))) for name in names]


def _absent_is_none(value: Any) -> Any:
    return None if type(value).__name__ in {"_MISSING_TYPE", "_KW_ONLY_TYPE", "_Nothing"} else value


def _reads_annotations(base: type) -> bool:
    return origin.of_module(base.__module__) == origin.LIBRARY and base.__module__.partition(".")[0] != "attr"


def _of_pydantic(kind: Any) -> dict[str, Any]:
    fields = {
        name: {
            slot: getattr(field, slot, None)
            for slot in (
                "annotation",
                "default",
                "default_factory",
                "alias",
                "validation_alias",
                "metadata",
                "frozen",
                "init",
            )
        }
        for name, field in getattr(kind, "__pydantic_fields__", {}).items()
    }
    decorators = {
        group: {name: _slots_of(entry.info) for name, entry in entries.items()}
        for group, entries in _slots_of(kind.__pydantic_decorators__).items()
        if isinstance(entries, dict)
    }
    return {"<fields>": fields, "<decorators>": decorators, "<config>": dict(kind.model_config)}


def _slots_of(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name, None) for name in getattr(type(value), "__dataclass_fields__", ())}
