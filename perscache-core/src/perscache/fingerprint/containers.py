"""How containers and buffers are encoded, and what is taken apart by a function of one's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from marshal import dumps
from operator import countOf
from struct import Struct
from typing import Any

from blake3 import blake3

from ..errors import PluginError, UnkeyableError
from .encoder import COUNT, LONG, Build, Handler, Pass, RaisedByRule, Stream, shown, step, type_name

THREADS = min(4, os.cpu_count() or 1)
_WORTH_THREADS = 1 << 20
_SIZE = Struct("<Q").pack


def buffer(run: Pass, pieces: Iterable[Any]) -> bytes:
    """The encoding of a buffer that comes in C-contiguous pieces, hashed in place and without the GIL."""
    size, hasher = 0, None
    for piece in pieces:
        view = memoryview(piece).cast("B") if memoryview(piece).nbytes else memoryview(b"")
        size += view.nbytes
        if hasher is None:
            # Never blake3.AUTO: its pool is shared, and a child forked after its use waits for ever.
            hasher = blake3(max_threads=THREADS if view.nbytes >= _WORTH_THREADS else 1)
        hasher.update(view)
    run.size += size
    return b"B" + _SIZE(size) + (hasher or blake3()).digest()


def of_stream(run: Pass, value: Stream) -> bytes:
    """A buffer in pieces, which are there only once."""
    return run.node(value, _pieces_of_stream)


def _pieces_of_stream(run: Pass, value: Stream) -> bytes:
    return buffer(run, value.pieces)


class Elements:
    """The elements of an array of objects, in a list."""

    __slots__ = ("values",)

    def __init__(self, values: list[Any]) -> None:
        self.values = values


def of_elements(run: Pass, value: Elements) -> bytes:
    """Elements as a list; mere texts all at once, which takes a third of the time."""
    values = value.values
    if values and run.texts and countOf(map(type, values), str) == len(values):
        text = "\0".join(values)
        if text.count("\0") == len(values) - 1:  # so that it tells where each of them ends
            return b"J" + buffer(run, [text.encode("utf-8", "surrogatepass")])
    return run.encode(values)


def of_long_text(run: Pass, value: str) -> bytes:
    """A text of more than 2 GiB, which `marshal` refuses."""
    return b"U" + buffer(run, [value.encode("utf-8", "surrogatepass")])


def sequence(run: Pass, tag: bytes, values: Any) -> bytes:
    """A tag, the number of ``values``, and each in its turn."""
    parts: list[bytes] = []
    try:
        for value in values:
            parts.append(run.encode(value))  # noqa: PERF401 - how many there are says where it failed
    except UnkeyableError as error:
        step(error, f"[{len(parts)}]")
        raise
    return tag + COUNT(len(parts)) + b"".join(parts)


def of_list(run: Pass, values: list[Any]) -> bytes:
    """A list: at once where it is flat."""
    if run.flat.issuperset(map(type, values)) and (data := _flat(values)):
        return data if len(data) <= LONG else run.digest(data)
    return run.node(values, _items_of_list)


def of_tuple(run: Pass, values: tuple[Any, ...]) -> bytes:
    """A tuple: at once where it is flat."""
    if run.flat.issuperset(map(type, values)) and (data := _flat(values)):
        return data if len(data) <= LONG else run.digest(data)
    return run.node(values, _items_of_tuple)


def _flat(values: Any) -> bytes | None:
    """A flat sequence, or None for one that another thread has changed, or that holds more than 2 GiB of text."""
    try:
        return dumps(values, 2)
    except ValueError:
        return None


def _items_of_list(run: Pass, values: list[Any]) -> bytes:
    return sequence(run, b"[", tuple(values))  # other threads may change it meanwhile


def _items_of_tuple(run: Pass, values: tuple[Any, ...]) -> bytes:
    return sequence(run, b"(", values)


def of_dict(run: Pass, values: dict[Any, Any]) -> bytes:
    """A dict, whatever its order: at once where texts lead to scalars."""
    if run.flat.issuperset(map(type, values.values())) and run.texts.issuperset(map(type, values)):
        data = _flat_dict(values)
        if data is not None:
            return data if len(data) <= LONG else run.digest(data)
    return run.node(values, _items_of_dict)


def _flat_dict(values: dict[Any, Any]) -> bytes | None:
    try:
        # Code points sort as their UTF-8 does, and strings compare faster than their encodings.
        keys = tuple(sorted(values))
        return b"D" + dumps(keys, 2) + dumps(tuple(map(values.__getitem__, keys)), 2)
    except (KeyError, ValueError):  # as in `_flat`
        return None


def _items_of_dict(run: Pass, values: dict[Any, Any]) -> bytes:
    return _of_pairs(run, list(values.items()))  # other threads may change it meanwhile


class Pairs:
    """A dict as its items, for one that cannot be made anew without code of its keys."""

    __slots__ = ("items",)

    def __init__(self, items: Iterable[tuple[Any, Any]]) -> None:
        self.items = list(items)


def of_pairs(run: Pass, value: Pairs) -> bytes:
    """A dict that comes as its items."""
    return run.node(value, _items_of_pairs)


def _items_of_pairs(run: Pass, value: Pairs) -> bytes:
    return _of_pairs(run, value.items)


def _of_pairs(run: Pass, pairs: list[tuple[Any, Any]]) -> bytes:
    texts, label = run.texts.issuperset([type(key) for key, _ in pairs]), run.encoder.label
    if texts:
        pairs.sort(key=_first)
    elif label:
        pairs = [pair for _, pair in sorted([(label(pair[0]), pair) for pair in pairs], key=_first)]
    keys: list[bytes] = []
    values: list[bytes] = []
    place = "a key"
    try:
        for key, _ in pairs:
            keys.append(dumps(key, 2) if texts else run.encode(key))
        for key, value in pairs:
            place = key
            values.append(run.encode(value))
    except UnkeyableError as error:
        step(error, place if len(keys) < len(pairs) else f"[{shown(place)}]")
        raise
    if not texts and not label:
        ordered = sorted(zip(keys, values, strict=True))  # by value too: of keys that are NaN there may be several
        keys, values = [key for key, _ in ordered], [value for _, value in ordered]
    count = COUNT(len(pairs))
    return b"D(" + count + b"".join(keys) + b"(" + count + b"".join(values)


def of_set(run: Pass, values: Any) -> bytes:
    """A set, whatever its order."""
    return run.node(values, _members_of_set)


def _members_of_set(run: Pass, values: Any) -> bytes:
    tag = b"<" if type(values) is set else b">"
    for kind in (str, int):
        if kind in run.flat and {kind}.issuperset(map(type, values)):
            return tag + dumps(tuple(sorted(values)), 2)
    label = run.encoder.label
    try:
        if label:
            ordered = [member for _, member in sorted([(label(member), member) for member in values], key=_first)]
            parts = [run.encode(member) for member in ordered]
        else:
            parts = sorted([run.encode(member) for member in tuple(values)])
    except UnkeyableError as error:
        step(error, "{…}")
        raise
    return tag + b"(" + COUNT(len(parts)) + b"".join(parts)


def _first(pair: tuple[Any, Any]) -> Any:
    return pair[0]


# --- Values that a function takes apart.


def tagged(run: Pass, kind: type, payload: Any) -> bytes:
    """An object: its type's identity and what it holds."""
    return b"O" + run.kind(kind) + run.encode(payload)


def by_handler(handler: Handler, kind: Any = None) -> Build:
    """Encodes values as their type, or ``kind``, and what ``handler`` makes of them."""

    def expanded(run: Pass, value: Any) -> bytes:
        return tagged(run, kind or type(value), run.expand(value, handler))

    def build(run: Pass, value: Any) -> bytes:
        return run.node(value, expanded)

    return build


def by_rule(rule: Handler) -> Build:
    """Like `by_handler`, for a rule of a user's or a plugin's: what it raises goes through unchanged."""
    carrying = _carrying(rule)

    def parts(value: Any) -> Any:
        made = carrying(value)
        if made is value:
            raise UnkeyableError(f"{type_name(type(value))} is given as its own key, which tells it from no other")
        return made

    return by_handler(parts)


def by_plain_rule(rule: Handler, is_its_own: Callable[[type], bool]) -> Build:
    """Like `by_rule`, for a built-in type: the rule may well return a value of its own type, and is not asked again."""
    carrying = _carrying(rule)

    def build(run: Pass, value: Any) -> bytes:
        payload = run.expand(value, carrying)
        data = run.encode_plain(payload) if is_its_own(type(payload)) else run.encode(payload)
        return b"O" + run.kind(type(value)) + data

    return build


def _carrying(rule: Handler) -> Handler:
    def call(value: Any) -> Any:
        try:
            return rule(value)
        except (RecursionError, UnkeyableError):
            raise
        except Exception as error:
            raise RaisedByRule(error) from error

    return call


def guarded(handler: Handler, kind: type) -> Handler:
    """A plugin's handler, whose failure is told apart from a failure of the user's code."""

    def call(value: Any) -> Any:
        try:
            return handler(value)
        except RecursionError:
            raise
        except Exception as error:
            origin = getattr(handler, "__module__", "a plugin")
            raise PluginError(
                f"the fingerprint handler of {origin} failed on a {type_name(kind)}: {error}; "
                "update or disable the plugin, or give hashers= for this type"
            ) from error

    return call
