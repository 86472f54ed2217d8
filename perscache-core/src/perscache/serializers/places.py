"""Where in a nested value something lies: a walk that finds what a format may not carry as it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

SCALARS: frozenset[type] = frozenset({str, int, float, bool, type(None)})
"""The types that every text format carries. Exact types: a subclass would come back as its base."""


class Part(NamedTuple):
    """One part of a nested value."""

    value: Any
    place: str
    """How it is reached from the whole value, as Python would write it: ``[0]['name']``, empty for the whole."""
    is_key: bool = False
    """Whether it is a key of the dict at ``place``, not a value."""

    def __str__(self) -> str:
        """Its type and place, for messages: ``a tuple at [0]``."""
        kind = type_name(type(self.value))
        if self.is_key:
            return f"the {kind} key {_short(self.value)}{self.at}"
        return f"{_article(kind)} {kind}{self.at}"

    @property
    def at(self) -> str:
        """The place as the end of a phrase; nothing for the whole value."""
        return f" at {self.place}" if self.place else ""


def odd_parts(
    value: Any, plain: frozenset[type] = SCALARS, plain_keys: frozenset[type] = frozenset({str})
) -> Iterator[Part]:
    """The parts of ``value`` whose type is not in ``plain``, in the order in which they are written.

    Lists and dicts, and only these, not their subclasses, are entered. Their keys come before their values. Types
    are those of `type`, not of `isinstance`. Each list and dict is entered once, so that cycles end.
    """
    entered: set[int] = set()
    waiting: list[tuple[Any, _Trail]] = [(value, None)]
    while waiting:
        part, trail = waiting.pop()
        kind = type(part)
        if kind in plain:
            continue
        if kind is not list and kind is not dict:
            yield Part(part, _place(trail))
            continue
        if id(part) in entered:
            continue
        entered.add(id(part))
        if kind is dict:
            # Sets of types are made at the speed of C: a long list of numbers costs no loop.
            if not plain_keys.issuperset(map(type, part)):
                place = _place(trail)
                yield from (Part(key, place, is_key=True) for key in part if type(key) not in plain_keys)
            if not plain.issuperset(map(type, part.values())):
                odd = [(item, (trail, key)) for key, item in part.items() if type(item) not in plain]
                waiting += reversed(odd)
        elif not plain.issuperset(map(type, part)):
            odd = [(item, (trail, index)) for index, item in enumerate(part) if type(item) not in plain]
            waiting += reversed(odd)


def type_name(kind: type) -> str:
    """The name of a type as a reader knows it: ``tuple``, ``numpy.float64``."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


# Links to the parent, because places are asked for only where there is something to say.
_Trail = tuple["_Trail", Any] | None


def _place(trail: _Trail) -> str:
    steps: list[str] = []
    while trail is not None:
        steps.append(f"[{_short(trail[1])}]")
        trail = trail[0]
    return "".join(reversed(steps))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _article(noun: str) -> str:
    return "an" if noun[0].lower() in "aeiou" else "a"
