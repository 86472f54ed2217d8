"""Guards: what was seen on a walk, and whether it is still so."""

from __future__ import annotations

from operator import is_
from types import CellType, FunctionType
from typing import Any

from ..fingerprint.encoder import Encoder

_GUARDED_SIZE = 4 << 20  # bytes of encoding: larger globals are watched by identity only


class Guards:
    """What was seen on a walk, compared by identity, and small mutable values by value."""

    def __init__(self) -> None:
        self.functions: list[FunctionType] = []
        self.names: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}
        self.missing: dict[int, tuple[dict[str, Any], set[str]]] = {}
        self.cells: list[tuple[CellType, Any]] = []
        self.kinds: list[tuple[type, tuple[Any, ...], tuple[type, ...]]] = []
        self.values: list[tuple[Encoder, Any, bytes]] = []
        self.watched: dict[int, Any] = {}

    def function(self, function: FunctionType) -> None:
        self.functions.append(function)

    def name(self, namespace: dict[str, Any], name: str, value: Any) -> None:
        self.names.setdefault(id(namespace), (namespace, {}))[1][name] = value

    def absent(self, namespace: dict[str, Any], name: str) -> None:
        self.missing.setdefault(id(namespace), (namespace, set()))[1].add(name)

    def cell(self, cell: CellType, value: Any) -> None:
        self.cells.append((cell, value))

    def kind(self, kind: type) -> None:
        self.kinds.append((kind, tuple(vars(kind).values()), kind.__bases__))

    def value(self, encoder: Encoder, value: Any) -> None:
        if id(value) in self.watched:
            return
        self.watched[id(value)] = value
        try:
            data, size = encoder.encode_sized(value)
        except RecursionError:
            raise  # The caller has left too little of the stack.
        except Exception:  # noqa: BLE001 - what cannot be read is watched by identity
            return
        if size <= _GUARDED_SIZE:
            self.values.append((encoder, value, data))

    def close(self) -> None:
        self.codes = [(it, it.__code__, it.__defaults__, it.__kwdefaults__) for it in self.functions]
        self.looks = [
            (namespace, name, value) for namespace, seen in self.names.values() for name, value in seen.items()
        ]
        self.gaps = [(namespace, frozenset(names)) for namespace, names in self.missing.values()]

    def hold(self) -> bool:
        # Loops in the open: iterators of the standard library take longer at any number, for being set up and asked.
        try:
            for function, code, defaults, keywords in self.codes:
                if (
                    function.__code__ is not code
                    or function.__defaults__ is not defaults
                    or function.__kwdefaults__ is not keywords
                ):
                    return False
            for namespace, name, value in self.looks:
                if namespace[name] is not value:
                    return False
            for namespace, names in self.gaps:
                if not names.isdisjoint(namespace):
                    return False
            for cell, content in self.cells:
                if cell.cell_contents is not content:
                    return False
        except (KeyError, ValueError):  # a name that is gone, an empty cell
            return False
        for kind, values, bases in self.kinds:
            now = vars(kind).values()
            if kind.__bases__ != bases or len(now) != len(values) or not all(map(is_, now, values)):
                return False
        return not self.values or all(encoder.encode(value) == data for encoder, value, data in self.values)
