"""The canonical encoding of values: typed, prefix-free, frozen under `SCHEMA`.

Every encoding opens with a tag that fixes how it goes on, so that no encoding is the beginning of another and values
of different types never meet:

    N T F i l g y u s . [ (   exact scalars, lists and tuples, as `marshal` version 2 writes them
    D                         a dict: its keys and its values as two tuples, sorted by key
    < >                       a set, a frozenset: sorted members
    B                         a buffer: length and BLAKE3 digest
    O                         an object: its type's identity and its payload
    C E                       functions and classes: their identity, or their number in a walk
    #                         whatever would take more than a kilobyte: its BLAKE3 digest
    R @                       a value with cycles: its members, by digests of their unfolding
    X                         a value that has no identity, in a global: its type
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from marshal import dumps
from struct import Struct
from typing import Any, TypeAlias

from blake3 import blake3

from ..errors import PluginError, UnkeyableError

SCHEMA = 1
"""The number of this format, part of every key. A change to any byte below raises it."""

Handler: TypeAlias = Callable[[Any], Any]
"""A value of one type to anything that can be keyed: scalars, containers, buffers such as memoryview, a `Stream`."""

Build: TypeAlias = "Callable[[Pass, Any], bytes]"

SCALARS = frozenset({type(None), bool, int, float, complex, str, type(...)})
"""The types that `marshal` writes typed and framed, whole sequences of them at once."""

_LONG = 1024
_THREADS = min(4, os.cpu_count() or 1)
_WORTH_THREADS = 1 << 20
_COUNT = Struct("<I").pack
_SIZE = Struct("<Q").pack


class Stream:
    """A long buffer in pieces; how it is cut leaves no trace in the key."""

    __slots__ = ("pieces",)

    def __init__(self, pieces: Iterable[Any]) -> None:
        self.pieces = pieces


class Encoder:
    """Turns values into bytes under one set of rules.

    ``identify`` names functions and classes, ``kind`` the type of an instance; ``label`` gives what members of sets and
    keys of dicts are sorted by, if not their encoding. ``hashers`` are a user's own rules by type, ``handler_for`` asks
    plugins for one. ``refuse`` is told of a value without identity and may give bytes in its stead; of
    the types that ``whole`` says, an object that holds such a value is refused itself.
    """

    def __init__(
        self,
        identify: Callable[[Any], bytes],
        *,
        kind: Callable[[type], bytes] | None = None,
        label: Callable[[Any], bytes] | None = None,
        hashers: Mapping[type, Handler] | None = None,
        handler_for: Callable[[type], Handler | None] | None = None,
        refuse: Callable[[Any, str], bytes] | None = None,
        whole: Callable[[type], bool] | None = None,
    ) -> None:
        self.identify = identify
        self.kind = kind or identify
        self.label = label
        self.refuse = refuse or refuse_value
        self.whole = whole
        self._hashers = hashers or {}
        self.handler_for = handler_for
        self.flat = frozenset(kind for kind in SCALARS if not self._hasher(kind))
        self.texts = self.flat & {str}
        self.builds: dict[type, Build] = {}

    def encode(self, value: Any) -> bytes:
        """The canonical bytes of ``value``. Raises UnkeyableError, with the path to the culprit, if it has none."""
        return self._encode(value, Pass.encode)

    def encode_items(self, values: tuple[Any, ...], names: tuple[str, ...]) -> bytes:
        """The bytes of a tuple, whose members an error calls by ``names``."""
        if self.flat.issuperset(map(type, values)):
            return dumps(values, 2)

        def encode(run: Pass, values: tuple[Any, ...]) -> bytes:
            parts: list[bytes] = []
            try:
                for value in values:
                    parts.append(run.encode(value))  # noqa: PERF401 - how many there are says where it failed
            except UnkeyableError as error:
                step(error, names[len(parts)])
                raise
            return b"(" + _COUNT(len(values)) + b"".join(parts)

        return self._encode(values, encode)

    def encode_sized(self, value: Any) -> tuple[bytes, int]:
        """The bytes of ``value``, and about how many bytes went into them."""
        run = Pass(self)
        return run.encode(value), run.size

    def _encode(self, value: Any, encode: Build) -> bytes:
        try:
            return encode(Pass(self), value)
        except _CycleFound:
            return _Unfolding(self).run(value, encode)
        except RecursionError as error:
            raise UnkeyableError("a value is nested too deep to be keyed: pass it flatter") from error

    def build_for(self, kind: type) -> Build:
        """How values of exactly this type are encoded. Looked up once a type."""
        if len(self.builds) > 4096:  # classes made on the fly must not pile up
            self.builds.clear()
        build = self._choose(kind)
        self.builds[kind] = build
        return build

    def _choose(self, kind: type) -> Build:
        from .standard import BUILDS, build_for_family

        if hasher := self._hasher(kind):
            return by_handler(hasher) if kind not in SCALARS | BUILDS.keys() else _by_plain_hasher(hasher)
        if kind in BUILDS:
            return BUILDS[kind]
        if self.handler_for and (handler := self.handler_for(kind)):
            return by_handler(_guarded(handler, kind))
        return build_for_family(kind)

    def _hasher(self, kind: type) -> Handler | None:
        for base in kind.__mro__ if self._hashers else ():
            if base in self._hashers:
                return self._hashers[base]
        return None


class Pass:
    """One encoding of one value. Knows what it has met: what is shared is encoded once, and cycles are seen."""

    __slots__ = ("builds", "encoder", "flat", "inside", "kept", "kinds", "met", "size", "texts")

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.builds = encoder.builds
        self.flat = encoder.flat
        self.texts = encoder.texts
        self.met: dict[int, bytes | None] = {}
        self.kept: list[Any] = []
        self.kinds: dict[type, bytes] = {}
        self.size = 0
        self.inside = 0

    def encode(self, value: Any) -> bytes:
        kind = type(value)
        if kind in self.flat:
            data = dumps(value, 2)
            return data if len(data) <= _LONG else self.digest(data)
        build = self.builds.get(kind) or self.encoder.build_for(kind)
        return build(self, value)

    def node(self, value: Any, build: Build) -> bytes:
        """The bytes of a value that holds others."""
        identity = id(value)
        data = self.met.get(identity, b"")
        if data:
            return data
        if data is None:
            raise _CycleFound
        self.met[identity] = None
        try:
            data = build(self, value)
        except UnkeyableError:
            del self.met[identity]  # The pass may go on, without what this was a part of.
            raise
        if len(data) > _LONG:
            data = self.digest(data)
        self.met[identity] = data
        return data

    def refuse(self, value: Any, why: str) -> bytes:
        """What stands for a value without identity; raises UnkeyableError where nothing may."""
        return refuse_value(value, why) if self.inside else self.encoder.refuse(value, why)

    def encode_whole(self, value: Any, build: Build) -> bytes:
        """An object of a type that the encoder wants whole: all of it, or refused itself."""
        self.inside += 1
        try:
            return build(self, value)
        except UnkeyableError:
            if self.inside > 1:
                raise
        finally:
            self.inside -= 1
        return self.refuse(value, "holds what has no value")

    def digest(self, data: bytes) -> bytes:
        """What stands for an encoding that would be long."""
        self.size += len(data)
        return b"#" + blake3(data).digest()

    def expand(self, value: Any, parts: Handler) -> Any:
        """What a value is made of. Kept as long as the pass, since an address may not be given anew meanwhile."""
        made = parts(value)
        self.kept.append(made)
        return made

    def kind(self, kind: type) -> bytes:
        """The identity of a type, asked for once."""
        known = self.kinds.get(kind)
        if known is None:
            known = self.kinds[kind] = self.encoder.kind(kind)
        return known

    def order(self, value: Any) -> bytes:
        """What members of a set and keys of a dict are sorted by."""
        label = self.encoder.label
        return self.encode(value) if label is None else label(value)


class _CycleFound(Exception):
    """The value contains itself."""


class _Unfolding(Pass):
    """The encoding of values that contain themselves.

    Such a value is its infinite unfolding. Members get digests of their unfolding to depth 0, 1, 2, …, until no more of
    them can be told apart; the encoding is what each kind of member is made of (partition refinement, as in Hopcroft,
    "An n log n algorithm for minimizing states in a finite automaton", 1971).
    """

    __slots__ = ("digests", "members", "parts")

    def __init__(self, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.members: dict[int, tuple[Any, Build]] = {}
        self.digests: dict[int, bytes] = {}
        self.parts: dict[int, Any] = {}

    def run(self, value: Any, encode: Build) -> bytes:
        encode(self, value)
        known = -1
        while known != len(self.members):
            known = len(self.members)
            for member, build in list(self.members.values()):
                build(self, member)
        classes = 0
        while True:
            forms = {identity: build(self, member) for identity, (member, build) in self.members.items()}
            # A form, and what its members are known by: together they say all, however far apart the members are.
            pairs = {self.digests.get(identity, b"") + form for identity, form in forms.items()}
            if len(pairs) == classes:
                return b"R" + encode(self, value) + blake3(b"".join(sorted(map(_framed, pairs)))).digest()
            classes = len(pairs)
            self.digests = {identity: blake3(form).digest() for identity, form in forms.items()}

    def node(self, value: Any, build: Build) -> bytes:
        self.members.setdefault(id(value), (value, build))
        return b"@" + self.digests.get(id(value), bytes(32))

    def expand(self, value: Any, parts: Handler) -> Any:
        if id(value) not in self.parts:
            self.parts[id(value)] = super().expand(value, parts)
        return self.parts[id(value)]


def _framed(data: bytes) -> bytes:
    return dumps(data, 2)


# --- Pieces that the builds of all types share.


def buffer(run: Pass, pieces: Iterable[Any]) -> bytes:
    """The encoding of a buffer that comes in C-contiguous pieces, hashed in place and without the GIL."""
    size, hasher = 0, None
    for piece in pieces:
        view = memoryview(piece).cast("B") if memoryview(piece).nbytes else memoryview(b"")
        size += view.nbytes
        if hasher is None:
            # Never blake3.AUTO: its pool is shared, and a child forked after its use waits for ever.
            hasher = blake3(max_threads=_THREADS if view.nbytes >= _WORTH_THREADS else 1)
        hasher.update(view)
    run.size += size
    return b"B" + _SIZE(size) + (hasher or blake3()).digest()


def sequence(run: Pass, tag: bytes, values: Any) -> bytes:
    """A tag, the number of ``values``, and each in its turn."""
    parts: list[bytes] = []
    try:
        for value in values:
            parts.append(run.encode(value))  # noqa: PERF401 - how many there are says where it failed
    except UnkeyableError as error:
        step(error, f"[{len(parts)}]")
        raise
    return tag + _COUNT(len(parts)) + b"".join(parts)


def of_list(run: Pass, values: Any) -> bytes:
    """A list: at once where it is flat."""
    if run.flat.issuperset(map(type, values)):
        data = dumps(values, 2)
        return data if len(data) <= _LONG else run.digest(data)
    return run.node(values, _items_of_list)


def of_tuple(run: Pass, values: Any) -> bytes:
    """A tuple: at once where it is flat."""
    if run.flat.issuperset(map(type, values)):
        data = dumps(values, 2)
        return data if len(data) <= _LONG else run.digest(data)
    return run.node(values, _items_of_tuple)


def _items_of_list(run: Pass, values: Any) -> bytes:
    return sequence(run, b"[", values)


def _items_of_tuple(run: Pass, values: Any) -> bytes:
    return sequence(run, b"(", values)


def of_dict(run: Pass, values: Any) -> bytes:
    """A dict, whatever its order: at once where texts lead to scalars."""
    if run.flat.issuperset(map(type, values.values())) and run.texts.issuperset(map(type, values)):
        # Code points sort as their UTF-8 does, and strings compare faster than their encodings.
        keys = tuple(sorted(values))
        data = b"D" + dumps(keys, 2) + dumps(tuple(map(values.__getitem__, keys)), 2)
        return data if len(data) <= _LONG else run.digest(data)
    return run.node(values, _items_of_dict)


def _items_of_dict(run: Pass, values: Any) -> bytes:
    if run.texts.issuperset(map(type, values)):
        keys = tuple(sorted(values))
        data = b"D" + dumps(keys, 2)
    else:
        try:
            pairs = sorted(((run.order(key), key) for key in values), key=_first)
        except UnkeyableError as error:
            step(error, "a key")
            raise
        keys = tuple(key for _, key in pairs)
        data = b"D" + sequence(run, b"(", keys)
    parts: list[bytes] = []
    encode = run.encode
    try:
        for key in keys:
            parts.append(encode(values[key]))  # noqa: PERF401 - how many there are says where it failed
    except UnkeyableError as error:
        step(error, f"[{shown(keys[len(parts)])}]")
        raise
    return data + b"(" + _COUNT(len(parts)) + b"".join(parts)


def of_set(run: Pass, values: Any) -> bytes:
    """A set, whatever its order."""
    return run.node(values, _members_of_set)


def _members_of_set(run: Pass, values: Any) -> bytes:
    tag = b"<" if isinstance(values, set) else b">"
    for kind in (str, int):
        if kind in run.flat and {kind}.issuperset(map(type, values)):
            return tag + dumps(tuple(sorted(values)), 2)
    try:
        ordered = [member for _, member in sorted(((run.order(member), member) for member in values), key=_first)]
    except UnkeyableError as error:
        step(error, "{…}")
        raise
    return tag + sequence(run, b"(", ordered)


def _first(pair: tuple[bytes, Any]) -> bytes:
    return pair[0]


def tagged(run: Pass, kind: type, payload: Any) -> bytes:
    """An object: its type's identity and what it holds."""
    return b"O" + run.kind(kind) + run.encode(payload)


def by_handler(handler: Handler) -> Build:
    """Encodes values as their type and what ``handler`` makes of them."""

    def expanded(run: Pass, value: Any) -> bytes:
        return tagged(run, type(value), run.expand(value, handler))

    def build(run: Pass, value: Any) -> bytes:
        return run.node(value, expanded)

    return build


def _by_plain_hasher(hasher: Handler) -> Build:
    """Like `by_handler`, for a built-in type: the hasher may well return the same type, and is not asked again."""

    def build(run: Pass, value: Any) -> bytes:
        plain = Encoder(run.encoder.identify, kind=run.encoder.kind, handler_for=run.encoder.handler_for)
        return b"O" + run.kind(type(value)) + plain.encode(hasher(value))

    return build


def _guarded(handler: Handler, kind: type) -> Handler:
    """A plugin's handler, whose failure is told apart from a failure of the user's code."""

    def call(value: Any) -> Any:
        try:
            return handler(value)
        except Exception as error:
            origin = getattr(handler, "__module__", "a plugin")
            raise PluginError(
                f"the fingerprint handler of {origin} failed on a {type_name(kind)}: {error}; "
                "update or disable the plugin, or give hashers= for this type"
            ) from error

    return call


# --- Refusals.


def type_name(kind: type) -> str:
    """What a type is called in messages."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def shown(key: Any) -> str:
    """A dict's key in a path: short, and never by a repr that is not the built-in one."""
    if type(key) in {str, bytes}:
        return repr(key[:40])
    if type(key) in SCALARS and not (type(key) is int and key.bit_length() > 128):
        return repr(key)
    return f"<{type_name(type(key))}>"


def refuse_value(value: Any, why: str) -> bytes:
    """Raise the refusal of a value that has no identity."""
    raise UnkeyableError(f"{type_name(type(value))} {why}")


def step(error: UnkeyableError, place: str) -> None:
    """Let a refusal say where it happened, as seen from one level higher; "" for no change of place."""
    if place:
        error.path.insert(0, place)
    error.args = (f"{' → '.join(error.path)}: {error.reason}" if error.path else error.reason,)
