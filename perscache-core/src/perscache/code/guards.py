"""Guards: what was seen on a walk, and whether it is still so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter, is_, itemgetter
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
        self.cells: list[CellType] = []
        self.contents: list[Any] = []
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
        self.cells.append(cell)
        self.contents.append(value)

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
        self.others = self.functions[1:]
        # One alone is compared faster in the open than by iterators, as many are.
        self.first: tuple[Any, Any, Any] = (None, None, None)
        for first in self.functions[:1]:
            self.first = (first.__code__, first.__defaults__, first.__kwdefaults__)
        self.codes = [*map(_code, self.others)]
        self.defaults = [*map(_defaults, self.others)]
        self.keywords = [*map(_keywords, self.others)]
        self.looks = [
            (namespace, _getter(expected), tuple(expected.values())) for namespace, expected in self.names.values()
        ]
        self.gaps = [(namespace, frozenset(names)) for namespace, names in self.missing.values()]

    def hold(self) -> bool:
        code, defaults, keywords = self.first
        function = self.functions[0] if self.functions else None
        if function is not None and (
            function.__code__ is not code
            or function.__defaults__ is not defaults
            or function.__kwdefaults__ is not keywords
        ):
            return False
        functions = self.others
        if functions and not (
            all(map(is_, map(_code, functions), self.codes))
            and all(map(is_, map(_defaults, functions), self.defaults))
            and all(map(is_, map(_keywords, functions), self.keywords))
        ):
            return False
        try:
            for namespace, getter, expected in self.looks:
                if not all(map(is_, getter(namespace), expected)):
                    return False
        except KeyError:
            return False
        for namespace, names in self.gaps:
            if not names.isdisjoint(namespace):
                return False
        try:
            if self.cells and not all(map(is_, map(_contents, self.cells), self.contents)):
                return False
        except ValueError:
            return False
        for kind, values, bases in self.kinds:
            now = vars(kind).values()
            if kind.__bases__ != bases or len(now) != len(values) or not all(map(is_, now, values)):
                return False
        return not self.values or all(encoder.encode(value) == data for encoder, value, data in self.values)


_contents = attrgetter("cell_contents")
_code = attrgetter("__code__")
_defaults = attrgetter("__defaults__")
_keywords = attrgetter("__kwdefaults__")


def _getter(names: Mapping[str, Any]) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    if len(names) == 1:
        (only,) = names
        return lambda namespace: (namespace[only],)
    return itemgetter(*names)
