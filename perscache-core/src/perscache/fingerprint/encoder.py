"""The canonical encoding of values: typed, prefix-free, frozen under `SCHEMA`.

Every encoding opens with a tag that fixes how it goes on, so that no encoding is the beginning of another and values
of different types never meet:

    N T F i l g y u s . [ (   exact scalars, lists and tuples, as `marshal` version 2 writes them
    U b                       a text of more than 2 GiB, bytes of more than 4 KiB: as a buffer
    D                         a dict: its keys and its values as two tuples, sorted by key
    < >                       a set, a frozenset: sorted members
    B                         a buffer: length and BLAKE3 digest
    J                         texts of an array, with NUL between them, as a buffer
    O                         an object: its type's identity and its payload
    C E L                     functions and classes: their identity, or their number or name in a walk
    #                         whatever would take more than a kilobyte: its BLAKE3 digest
    R @                       a value with cycles, and a member of one: see `graph`
    X                         a value that has no identity, in a global: its type
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import import_module
from marshal import dumps
from struct import Struct
from typing import Any, TypeAlias

from blake3 import blake3

from ..errors import PerscacheError, UnkeyableError
from ..parsing import again

SCHEMA = 2
"""The number of this format, part of every key. A change to any byte below raises it."""

Handler: TypeAlias = Callable[[Any], Any]
"""A value of one type to anything that can be keyed: scalars, containers, buffers such as memoryview, a `Stream`."""

Build: TypeAlias = "Callable[[Pass, Any], bytes]"

SCALARS = frozenset({type(None), bool, int, float, complex, str, type(...)})
"""The types that `marshal` writes typed and framed, whole sequences of them at once."""

LONG = 1024
_DEEP = 64  # what is nested deeper needs no stack: some five frames a level, of the thousand that Python gives
COUNT = Struct("<I").pack


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
        try:
            if type(value) in self.flat and len(data := dumps(value, 2)) <= LONG:
                return data  # as the pass would, without the modules that it needs for others
        except (TypeError, ValueError):  # a type without a hash, a text too long for marshal
            pass
        return self._encode(value, Pass.encode)[0]

    def encode_items(self, values: tuple[Any, ...], names: tuple[str, ...]) -> bytes:
        """The bytes of a tuple, whose members an error calls by ``names``."""

        def encode(run: Pass, values: tuple[Any, ...]) -> bytes:
            parts: list[bytes] = []
            try:
                for value in values:
                    parts.append(run.encode(value))  # noqa: PERF401 - how many there are says where it failed
            except UnkeyableError as error:
                step(error, names[len(parts)])
                raise
            return b"(" + COUNT(len(values)) + b"".join(parts)

        return self._encode(values, encode)[0]

    def encode_sized(self, value: Any) -> tuple[bytes, int]:
        """The bytes of ``value``, and about how many bytes went into them."""
        return self._encode(value, Pass.encode)

    def _encode(self, value: Any, encode: Build) -> tuple[bytes, int]:
        _load()
        run = Pass(self)
        try:
            try:
                return encode(run, value), run.size
            except (_Entangled, RecursionError):
                from .graph import Graph

                run = Graph(self)
                return run.run(value, encode), run.size
        except RaisedByRule as carrier:
            error = carrier.error
        raise error

    def build_for(self, kind: type) -> Build:
        """How values of exactly this type are encoded. Looked up once a type."""
        if len(self.builds) > 4096:  # classes made on the fly must not pile up
            self.builds.clear()
        build = again(lambda: self._choose(kind))
        self.builds[kind] = build
        return build

    def _choose(self, kind: type) -> Build:
        from .containers import by_plain_rule, by_rule, guarded
        from .standard import BUILDS, build_for_family

        if hasher := self._hasher(kind):
            if kind in SCALARS or kind in BUILDS:
                return by_plain_rule(hasher, lambda other: self._hasher(other) is hasher)
            return by_rule(hasher)
        if kind in BUILDS:
            return BUILDS[kind]
        if self.handler_for and (handler := self.handler_for(kind)):
            return by_rule(guarded(handler, kind))
        return build_for_family(kind)

    def _hasher(self, kind: type) -> Handler | None:
        for base in kind.__mro__ if self._hashers else ():
            if base in self._hashers:
                return self._hashers[base]
        return None


@cache
def _load() -> None:
    """Import what most values need: an import that fails in the midst of an encoding would seem the value's fault."""
    again(lambda: [import_module(f".{name}", __package__) for name in ("containers", "graph", "standard")])


class Pass:
    """One encoding of one value. Knows what it has met: what is shared is encoded once, and cycles are seen."""

    __slots__ = ("builds", "depth", "encoder", "flat", "inside", "kept", "kinds", "met", "size", "texts")

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.builds = encoder.builds
        self.flat = encoder.flat
        self.texts = encoder.texts
        self.met: dict[int, bytes | None] = {}
        self.kept: list[Any] = []
        self.kinds: dict[type, bytes] = {}
        self.size = 0
        self.depth = 0
        self.inside = 0

    def encode(self, value: Any) -> bytes:
        """The bytes of a value of any type. Whatever fails on the way is a refusal of the value it failed on."""
        kind = type(value)
        try:
            if kind in self.flat:
                data = dumps(value, 2)
                return data if len(data) <= LONG else self.digest(data)
            build = self.builds.get(kind) or self.encoder.build_for(kind)
            return build(self, value)
        except (PerscacheError, RaisedByRule, _Entangled):
            raise
        except Exception as error:  # noqa: BLE001 - code of users' and libraries' classes has run
            return self.failed(value, error)

    def encode_plain(self, value: Any) -> bytes:
        """The bytes of a value for which no rule is asked again."""
        from .standard import BUILDS, build_for_family

        kind = type(value)
        if kind in SCALARS:
            data = dumps(value, 2)
            return data if len(data) <= LONG else self.digest(data)
        return (BUILDS.get(kind) or build_for_family(kind))(self, value)

    def failed(self, value: Any, error: Exception) -> bytes:
        """What becomes of a failure on ``value``."""
        if isinstance(error, RecursionError):
            raise error  # perhaps for want of stack, and then another way is tried
        if type(value) is str and isinstance(error, ValueError):
            from .containers import of_long_text

            return of_long_text(self, value)
        return self.refuse(value, why_unreadable(error), error)

    def node(self, value: Any, build: Build) -> bytes:
        """The bytes of a value that holds others."""
        identity = id(value)
        data = self.met.get(identity, b"")
        if data:
            return data
        if data is None or self.depth >= _DEEP:
            raise _Entangled
        self.met[identity] = None
        self.depth += 1
        try:
            data = build(self, value)
        except UnkeyableError:
            del self.met[identity]  # The pass may go on, without what this was a part of.
            raise
        finally:
            self.depth -= 1
        if len(data) > LONG:
            data = self.digest(data)
        self.met[identity] = data
        self.kept.append(value)  # An address may not be given anew meanwhile.
        return data

    def refuse(self, value: Any, why: str, cause: BaseException | None = None) -> bytes:
        """What stands for a value without identity; raises UnkeyableError where nothing may."""
        try:
            return refuse_value(value, why) if self.inside else self.encoder.refuse(value, why)
        except UnkeyableError as error:
            raise error from cause

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
        """What a value is made of."""
        return parts(value)

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


class _Entangled(Exception):
    """The value contains itself, or is nested deep: its members are to be encoded one by one."""


class RaisedByRule(Exception):
    """Carries what a user's own rule, or a plugin's, has raised: it goes through unchanged."""

    def __init__(self, error: Exception) -> None:
        self.error = error


# --- Refusals.


def type_name(kind: type) -> str:
    """What a type is called in messages, whatever its metaclass says."""
    try:
        module = _MODULE(kind)
    except AttributeError:
        module = None
    name = _QUALNAME(kind)
    return f"{module}.{name}" if isinstance(module, str) and module != "builtins" else name


_MODULE: Callable[[type], Any] = vars(type)["__module__"].__get__
_QUALNAME: Callable[[type], str] = vars(type)["__qualname__"].__get__


def shown(key: Any) -> str:
    """A dict's key in a path: short, and never by a repr that is not the built-in one."""
    if type(key) in {str, bytes}:
        return repr(key[:40])
    if type(key) in SCALARS and not (type(key) is int and key.bit_length() > 128):
        return repr(key)
    return f"<{type_name(type(key))}>"


def why_unreadable(error: Exception) -> str:
    """Why a value is refused whose own code has failed."""
    try:
        text = str(error)[:200]
    except Exception:  # noqa: BLE001 - it is the exception's own code that fails now
        text = ""
    return f"cannot be read for a key: {type_name(type(error))}{': ' if text else ''}{text}"


def refuse_value(value: Any, why: str) -> bytes:
    """Raise the refusal of a value that has no identity."""
    raise UnkeyableError(f"{type_name(type(value))} {why}")


def step(error: UnkeyableError, place: str) -> None:
    """Let a refusal say where it happened, as seen from one level higher; "" for no change of place."""
    if place:
        error.path.insert(0, place)
        if len(error.path) > _LONGEST_PATH:
            error.path[_LONGEST_PATH // 2 : 2 - _LONGEST_PATH // 2] = ["…"]
    error.args = (f"{' → '.join(error.path)}: {error.reason}" if error.path else error.reason,)


_LONGEST_PATH = 20
