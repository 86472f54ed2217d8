"""The walk from a function or class to all that it uses, and the guards that tell when to walk again."""

from __future__ import annotations

import builtins
import functools
import importlib
import importlib.util
import sys
import types
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from marshal import dumps
from typing import Any, NamedTuple

from blake3 import blake3

from .. import trouble
from ..fingerprint.encoder import Encoder, Handler, type_name
from ..parsing import again
from . import origin
from .changes import changed_by, is_changed
from .classes import class_items
from .guards import Guards
from .names import Chain, Uses, uses
from .naming import cached_function, file_of, is_foreign, is_users, leaf, library_name, name_of_kind
from .source import identity
from .views import (
    Without,
    address,
    handler_of,
    is_constant,
    label_of,
    name_of_module,
    refuse_by_address,
    refuse_by_type,
    relative,
    typed,
)

_KEPT = 512


class Part(NamedTuple):
    """One thing that a key depends on: "function app.load", "global app.LIMIT"; and its digest."""

    name: str
    digest: bytes


class Code:
    """The identity of a function or class at one moment: what it runs and uses.

    ``digest`` is 32 bytes, ``parts`` says for each thing walked what it was. `holds` says, in microseconds, whether
    a new walk would find the same.
    """

    __slots__ = ("digest", "holds", "parts")

    def __init__(self, digest: bytes, parts: tuple[Part, ...], guards: Guards) -> None:
        self.digest, self.parts = digest, parts
        self.holds = guards.hold


def walk(
    target: Callable[..., Any] | type,
    *,
    track: str = "deps",
    extras: Iterable[tuple[str, Any]] = (),
    defaults: bool = True,
    handler_for: Callable[[type], Handler | None] | None = None,
) -> Code:
    """Find what ``target`` is now.

    ``track`` is "deps", "source" (own code and closure only) or "none" (closure only); ``extras`` are named values that
    belong to it, ``defaults`` whether those of its parameters do.
    """
    known = _Known()
    while True:
        step = _Walk(track, known, handler_for=handler_for)
        found = step.run(target, tuple(extras), defaults=defaults)
        if step.learned.within(known):
            step.warn()
            return found
        known = known.joined(step.learned)


_known: OrderedDict[int, tuple[Any, Code]] = OrderedDict()


def code_of(target: Callable[..., Any] | type) -> Code:
    """The identity of a function or class, walked anew only if something has changed since the last time."""
    known = _known.get(id(target))
    if known is not None and known[0] is target and known[1].holds():
        return known[1]
    code = walk(target)
    _known[id(target)] = (target, code)
    while len(_known) > _KEPT:
        _known.popitem(last=False)
    return code


def identify(value: Any) -> bytes:
    """The identity of a function or class that is an argument: its name and its code."""
    cached = cached_function(value)
    if cached is not None:
        value = cached.function
    if isinstance(value, type):
        return kind_of(value)
    known = leaf(value)
    if known is not None:
        return known
    name = value.__name__ if isinstance(value, types.FunctionType) else type_name(type(value))
    return dumps(name, 2) + code_of(value).digest


def kind_of(kind: type) -> bytes:
    """The identity of a type: its name, and for a class of the user's all that it is made of."""
    return name_of_kind(kind) + code_of(kind).digest if is_users(kind) else name_of_kind(kind)


@dataclass(slots=True)
class _Known:
    """What one walk finds late that it needed early: the next one starts with it."""

    changed: set[tuple[int, str]] = field(default_factory=set)
    """Namespaces or objects, by address, and the names in them that the code itself assigns or fills."""
    words: set[str] = field(default_factory=set)
    """What code reads from modules that are passed around."""
    texts: bool = False
    """Whether code reads docstrings and annotations."""

    def within(self, other: _Known) -> bool:
        return self.changed <= other.changed and self.words <= other.words and self.texts <= other.texts

    def joined(self, other: _Known) -> _Known:
        return _Known(self.changed | other.changed, self.words | other.words, self.texts or other.texts)


class _Walk:
    """One walk, breadth first. Functions and classes are numbered as they are found, which ends recursion."""

    def __init__(self, track: str, known: _Known, *, handler_for: Any) -> None:
        self.track = track
        self.known = known
        self.learned = _Known()
        self.words: set[str] = set()
        self.open: set[int] = set()
        self.within: set[int] = set()
        self.numbers: dict[int, int] = {}
        self.queue: list[Any] = []
        self.annotated: set[int] = set()
        self.parts: list[Part] = []
        self.guards = Guards()
        self.refused: list[tuple[str, Any]] = []
        self.place = ""
        self.quiet = False
        self.extras: dict[int, tuple[tuple[str, Any], ...]] = {}
        special = functools.partial(handler_of, handler_for, self._passed_module)
        by_name = functools.partial(handler_of, handler_for, name_of_module)
        kind: Callable[[type], bytes] = self.edge if track == "deps" else name_of_kind
        self.encoder = Encoder(
            self.edge, kind=kind, label=self._label, refuse=self._refuse, whole=is_foreign, handler_for=special
        )
        self.strict = Encoder(self.edge, kind=kind, label=self._label, handler_for=handler_for)
        self.labels = Encoder(label_of, kind=name_of_kind, refuse=refuse_by_type, whole=is_foreign, handler_for=by_name)
        self.watch = Encoder(address, kind=address, refuse=refuse_by_address, whole=is_foreign, handler_for=by_name)

    def run(self, target: Any, extras: tuple[tuple[str, Any], ...], *, defaults: bool) -> Code:
        self.numbers[id(target)] = 0
        self.queue.append(target)
        self.extras[id(target)] = extras
        nodes: list[bytes] = []
        for position, found in enumerate(self.queue):  # grows while it is read
            if isinstance(found, type):
                nodes.append(self._class(found))
            elif isinstance(found, types.FunctionType):
                nodes.append(self._function(found, defaults=defaults or position > 0))
            else:
                nodes.append(self._value("callable", found) + self._extras(found))
        if self.open:  # a module was passed around: any code that was walked may read it
            self.learned.words = self.words
        self.guards.close()
        return Code(blake3(dumps(tuple(nodes), 2)).digest(), tuple(self.parts), self.guards)

    def warn(self) -> None:
        for place, value in self.refused:
            _warn_once(place, type_name(type(value)))

    # --- Edges.

    def edge(self, value: Any) -> bytes:
        """The number of a function or class, or its name and release if it is not the user's."""
        builder = cached_function(value)
        if builder is not None:
            value = builder.function
            self.extras.setdefault(id(value), builder.extras)
        if id(value) not in self.numbers:
            known = leaf(value)
            if known is not None:
                return b"L" + known
            self.numbers[id(value)] = len(self.queue)
            self.queue.append(value)
        return b"E%d;" % self.numbers[id(value)]

    def _label(self, value: Any) -> bytes:
        return self.labels.encode(value)

    def _refuse(self, value: Any, why: str) -> bytes:
        if not self.quiet:
            self.refused.append((self.place, value))
        return typed(value)

    # --- Nodes.

    def _function(self, function: types.FunctionType, *, defaults: bool) -> bytes:
        code, namespace = function.__code__, function.__globals__
        module = origin.module_name(function.__module__, code.co_filename)
        title = f"{module}.{function.__qualname__}"
        self.guards.function(function)
        users = origin.of_code(code, namespace) == origin.USER
        found = uses(code)
        items: list[Any] = []
        if not users:
            items.append(library_name(namespace.get("__name__"), code.co_qualname))
        elif self.track != "none":
            self.words |= found.words
            self.learned.texts = self.learned.texts or (found.texts and self.track == "deps")
            own = identity(code, namespace, texts=self.known.texts or id(function) in self.annotated)
            items.append(own)
            self.parts.append(Part(f"function {title}", blake3(own).digest()))
        if registry := _dispatch_registry(function):
            return dumps((*items, self._value(f"registry of {title}", registry)), 2)
        if users and self.track == "deps":
            self.learned.changed.update(changed_by(found, namespace))
            items += self._globals(found, namespace, module)
        self.quiet = not users
        items += self._closure(function, found, title)
        self.quiet = False
        if defaults:
            for name, value in (("defaults", function.__defaults__), ("keyword defaults", function.__kwdefaults__)):
                if value:
                    items.append((name, self._value(f"{name} of {title}", value)))
        wrapped = function.__dict__.get("__wrapped__")
        if wrapped is not None:
            if not users and isinstance(wrapped, types.FunctionType):
                self.annotated.add(id(wrapped))  # a library's decorator may read annotations, as validators do
            items.append(("wrapped", self._value(f"__wrapped__ of {title}", wrapped)))
        return dumps((*items, self._extras(function)), 2)

    def _extras(self, function: Any) -> bytes:
        """What was added by hand. Here a value without identity is the caller's mistake."""
        items: list[tuple[str, bytes]] = []
        for name, value in self.extras.get(id(function), ()):
            items.append((name, data := self.strict.encode(value)))
            self.parts.append(Part(name, blake3(data).digest()))
            if not is_constant(value):
                self.guards.value(self.watch, value)
        return dumps(tuple(items), 2)

    def _closure(self, function: types.FunctionType, found: Uses, title: str) -> list[Any]:
        items: list[Any] = []
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                value = cell.cell_contents
            except ValueError:
                items.append((name, "empty"))
                continue
            if is_changed(name, value, found.changed_free, found.called_free):
                items.append((name, "changed"))
                continue
            self.guards.cell(cell, value)
            if isinstance(value, types.ModuleType):
                chains = sorted(chain for chain in found.free if chain[0] == name)
                items.append((name, tuple([self._module(value, chain[1:], found, frozenset()) for chain in chains])))
                continue
            items.append((name, self._value(f"closure {name} of {title}", value)))
        return items

    def _class(self, kind: type) -> bytes:
        users = origin.of_module(kind.__module__) == origin.USER
        module = origin.module_name(kind.__module__, file_of(kind))
        title = f"{module}.{kind.__qualname__}"
        self.guards.kind(kind)
        items: list[Any] = [kind.__name__ if users else (kind.__module__, kind.__qualname__)]
        items.append(tuple([self.edge(base) for base in kind.__bases__]))
        items.append(self.edge(type(kind)))
        own: list[Any] = []
        if self.track != "none":
            for name, value in class_items(kind):
                if (id(kind), name) not in self.known.changed:
                    own.append((name, self._value(f"class {title}.{name}", value, part=False)))
        items.append(tuple(own))
        node = dumps(tuple(items), 2)
        self.parts.append(Part(f"class {title}", blake3(node).digest()))
        return node

    # --- What code names.

    def _globals(self, found: Uses, namespace: dict[str, Any], module: str) -> list[Any]:
        items: list[Any] = []
        chains = found.chains
        if ("globals",) in chains:  # what it may read by names that are written out, globals()["LIMIT"]
            chains = chains | {(word,) for word in found.words & namespace.keys()}
        for chain in sorted(chains):
            item = self._chain(chain, namespace, found, module, frozenset())
            if item is not None:
                items.append((chain, item))
        for name, level, wanted in sorted(found.imports):
            items.append((name, self._import(name, level, wanted, namespace, found)))
        return items

    def _chain(self, chain: Chain, namespace: dict[str, Any], found: Uses, module: str, seen: frozenset[int]) -> Any:
        """What a name and the attributes behind it lead to, as something that `marshal` frames; None for nothing."""
        name = chain[0]
        if name in _OF_THE_MODULE:
            return module if name == "__name__" else None
        if name not in namespace:
            value = self._lazy(namespace, name)
            self.guards.absent(namespace, name)
            if value is None:
                return None if hasattr(builtins, name) else "absent"
        else:
            value = namespace[name]
            if (id(namespace), name) in self.known.changed:
                return "changed"
            self.guards.name(namespace, name, value)
        if isinstance(value, types.ModuleType):
            return self._module(value, chain[1:], found, seen)
        item: Any = self._value(f"global {module}.{name}", self._kept(relative(value, namespace)))
        if isinstance(value, types.FunctionType) and len(chain) > 1 and chain[1] in value.__dict__:
            item = (item, self._attribute(value, chain[1], f"global {module}.{name}.{chain[1]}"))
        return item

    def _kept(self, value: Any) -> Any:
        """An object without the fields that methods called on it set."""
        fields = getattr(value, "__dict__", None)
        if not isinstance(fields, dict) or isinstance(value, type | types.FunctionType):
            return value
        changed = frozenset(name for name in fields if (id(value), name) in self.known.changed)
        return Without(value, changed) if changed else value

    def _attribute(self, function: types.FunctionType, name: str, title: str) -> Any:
        value = function.__dict__[name]
        if name in {"cache", "__wrapped__"} or (id(function), name) in self.known.changed or callable(value):
            return "changed"
        self.guards.name(function.__dict__, name, value)
        return self._value(title, value)

    def _lazy(self, namespace: dict[str, Any], name: str) -> Any:
        if "__getattr__" in namespace:
            try:
                return namespace["__getattr__"](name)
            except AttributeError:
                return None
        return None

    def _module(self, module: types.ModuleType, attributes: Chain, found: Uses, seen: frozenset[int]) -> Any:
        whose = origin.of_module(module.__name__)
        if whose == origin.LIBRARY:
            release = origin.release(module.__name__)
            name, _, version = release.rpartition(" ")
            self.parts.append(Part(f"library {name or release}", blake3(version.encode()).digest()))
            return (module.__name__, release)
        if whose == origin.STANDARD:
            return module.__name__
        namespace = vars(module)
        if attributes:
            return self._chain(attributes, namespace, found, module.__name__, seen)
        if id(module) in seen:
            return None
        self.open.add(id(module))
        items: list[Any] = []
        for word in sorted((found.words | self.known.words) & namespace.keys()):
            item = self._chain((word,), namespace, found, module.__name__, seen | {id(module)})
            if item is not None:
                items.append((word, item))
        return tuple(items)

    def _passed_module(self, module: types.ModuleType) -> Any:
        """A module that is a value among others. One that is met inside of itself is known by its name."""
        if id(module) in self.within:
            return module.__name__
        self.within.add(id(module))
        try:
            return self._module(module, (), Uses(), frozenset())
        finally:
            self.within.discard(id(module))

    def _import(self, name: str, level: int, wanted: Chain, namespace: dict[str, Any], found: Uses) -> Any:
        """An import inside code.

        A user's module is imported, as the call would do: a key must not hang on whether it has been already.
        """
        top = name.partition(".")[0]
        if not level and top in sys.stdlib_module_names:
            return None
        try:
            if level:
                name = importlib.util.resolve_name("." * level + name, namespace.get("__package__") or "")
            if name not in sys.modules and not level and _is_library(top):
                return origin.release_of_spec(top)
            module = again(functools.partial(importlib.import_module, name))
        except Exception:  # noqa: BLE001 - the call will show it, or expects it
            return "absent"
        if origin.of_module(name) != origin.USER:
            return self._module(module, (), found, frozenset())
        if not wanted:
            top_module = module if level else sys.modules.get(top, module)
            found_there = self._module(module, (), found, frozenset())
            return (
                (found_there, self._module(top_module, (), found, frozenset()))
                if top_module is not module
                else found_there
            )
        items: list[Any] = []
        for word in wanted:
            if not hasattr(module, word):
                try:
                    again(functools.partial(importlib.import_module, f"{name}.{word}"))
                except Exception:  # noqa: BLE001 - as above
                    items.append((word, "absent"))
                    continue
            items.append((word, self._chain((word,), vars(module), found, name, frozenset())))
        return tuple(items)

    # --- Values.

    def _value(self, place: str, value: Any, *, part: bool = True) -> bytes:
        outer, self.place = self.place, place
        try:
            data = self.encoder.encode(value)
        except RecursionError:
            raise  # The caller has left too little of the stack.
        except Exception as error:  # noqa: BLE001 - a global must never make a call fail
            data = self._refuse(value, str(error))
        finally:
            self.place = outer
        if part and not isinstance(value, type | types.FunctionType):
            self.parts.append(Part(place, blake3(data).digest()))
        if not is_constant(value):
            self.guards.value(self.watch, value)
        return data


_OF_THE_MODULE = frozenset({
    "__name__", "__file__", "__package__", "__spec__", "__loader__", "__path__", "__cached__", "__builtins__",
})  # fmt: skip


def _dispatch_registry(function: types.FunctionType) -> Mapping[Any, Any] | None:
    registry = function.__dict__.get("registry")
    return registry if isinstance(registry, types.MappingProxyType) and "dispatch" in function.__dict__ else None


@functools.lru_cache(maxsize=1024)
def _is_library(top: str) -> bool:
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None and origin.of_file(spec.origin) == origin.LIBRARY


def _warn_once(place: str, kind: str) -> None:
    trouble.warn(
        f"{place} is or holds a {kind}, which has no value that a key could be made of: only its type is in the key. "
        "Pass it as an argument with ignore=, give its class a __cache_key__, or name what matters of it in depends=",
        once=(place, kind),
    )
