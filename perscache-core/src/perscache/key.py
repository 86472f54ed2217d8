"""A call to its key: the function's name and identity, the serializer, and the arguments as Python binds them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from marshal import dumps
from pathlib import Path
from types import FunctionType
from typing import Any

from blake3 import blake3

from .annotations import HashBy, Ignore, marks
from .binding import Binder, Parameters
from .code import Code, identify, kind_of, walk
from .code.naming import name_of_kind
from .code.origin import distribution_version, module_name
from .errors import ConfigurationError, UnkeyableError
from .fingerprint import SCHEMA, Encoder, Handler
from .summary import summary

_TRACKS = ("deps", "source", "none")
_LENGTH = 20  # bytes of a key: 40 hex digits
_SHORT = 6  # bytes of a part's digest
_PARTS = 24


@dataclass(slots=True, eq=False, repr=False)
class _Ready:
    """What is known of a function as it is now."""

    code: Code
    prefix: bytes
    bind: Callable[..., tuple[Any, ...]]
    whole: int
    names: tuple[str, ...]
    labels: tuple[str, ...]
    """What the values are called in an error and in an explanation."""
    parts: dict[str, str]
    """Digests of what all its keys share, by name."""


class KeyBuilder:
    """The keys of one function. Cheap to make: the code is read at the first call, when all that it uses is defined.

    ``function_name`` is its stable name, ``folder`` the folder of its entries, ``extras`` what was added by hand
    to its identity.
    Raises ConfigurationError for settings without meaning.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        serializer: str = "",
        ignore: Iterable[str] | str = (),
        key: Callable[..., Any] | None = None,
        hashers: Mapping[type, Handler] | None = None,
        depends: Any = (),
        track: str = "deps",
        version: Any = None,
        handler_for: Callable[[type], Handler | None] | None = None,
    ) -> None:
        if track not in _TRACKS:
            raise ConfigurationError(f"track={track!r} has no meaning: give one of {', '.join(map(repr, _TRACKS))}")
        _check_hashers(hashers)
        if key is not None and not callable(key):
            raise ConfigurationError(f"key={key!r} cannot be called: give a function of the arguments")
        self.function = function
        self.function_name = name or _stable_name(function)
        self.folder = _folder(self.function_name)
        self.extras = tuple(_extras(version, depends))
        self.parameters = Parameters(function)
        self._ignored = self.parameters.check(
            (ignore,) if isinstance(ignore, str) else tuple(ignore), self.function_name
        )
        self._serializer = serializer
        self._key = key
        self._track = track
        self._handler_for = handler_for
        kind = kind_of if track == "deps" else name_of_kind
        self._encoder = Encoder(identify, kind=kind, hashers=hashers, handler_for=handler_for)
        self._flat = self._encoder.flat
        self._ready: _Ready | None = None
        self._accepted: Mapping[str, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Without what is known of the function as it is here and now: that leads to all of its module."""
        return {**vars(self), "_ready": None}

    @property
    def code(self) -> str:
        """The digest of the function's code as it is now, hex."""
        return self._current().code.digest.hex()

    @property
    def adopted(self) -> str:
        """The digest of the version as which the code counts, hex: its own, unless an edit was accepted."""
        return self._accepted.get(self.code, self.code)

    def adopt(self, accepted: Mapping[str, str]) -> bool:
        """Let code count as the former version that ``accepted`` says; whether keys are others now."""
        if accepted == self._accepted:
            return False  # Without a look at the code.
        before = self.adopted
        self._accepted = dict(accepted)
        self._ready = None
        return self.adopted != before

    def digest(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """The key of a call, 40 hex digits.

        Raises UnkeyableError with the path to the culprit, and the function's own TypeError for a call that does not
        fit.
        """
        ready = self._ready
        if ready is None or not ready.code.holds():
            ready = self._renew()
        values = args if len(args) == ready.whole and not kwargs else ready.bind(*args, **kwargs)
        if self._key is not None:
            values = (self._key(*args, **kwargs),)
        flat = self._flat
        try:
            for value in values:
                if type(value) not in flat:
                    break
            else:
                return blake3(ready.prefix + dumps(values, 2)).digest(_LENGTH).hex()
        except TypeError:  # a type without a hash, which is for the encoder to refuse
            pass
        try:
            data = self._encoder.encode_items(values, ready.labels)
        except UnkeyableError as error:
            raise self._with_ways_out(error) from error.__cause__
        return blake3(ready.prefix + data).hexdigest(_LENGTH)

    def describe(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
        """A short readable summary of the arguments, and digests of the key's parts by name. Never raises."""
        try:
            ready = self._current()
            parts = ready.parts.copy()
            values = ready.bind(*args, **kwargs)
            if self._key is not None:
                shown = self.parameters.binder(self.function, self._ignored, {}, self._encoder)
                text = summary(shown.names, shown.bind(*args, **kwargs))
                values = (self._key(*args, **kwargs),)
            else:
                text = summary(ready.names, values)
            for label, value in zip(ready.labels, values, strict=True):
                parts[label] = blake3(self._encoder.encode(value)).hexdigest(_SHORT)
        except Exception:  # noqa: BLE001 - an explanation must not cost a result
            return "", {}
        return text, parts

    def _current(self) -> _Ready:
        ready = self._ready
        return ready if ready is not None and ready.code.holds() else self._renew()

    def _renew(self) -> _Ready:
        function = self.function
        code = walk(
            function,
            track=self._track,
            extras=self.extras,
            defaults=self._key is not None,
            handler_for=self._handler_for,
        )
        binder = self._binder()
        names = ("key",) if self._key is not None else binder.names
        shape = (SCHEMA, self.function_name, self._serializer, names, self._key is not None)
        own = code.digest.hex()
        adopted = self._accepted.get(own, own)
        prefix = blake3(dumps(shape, 2) + bytes.fromhex(adopted)).digest()
        labels = ("key=",) if self._key is not None else tuple(f"argument {name!r}" for name in names)
        parts = {"code": adopted, "serializer": blake3(self._serializer.encode()).hexdigest(_SHORT)}
        self._ready = ready = _Ready(code, prefix, binder.bind, binder.whole, names, labels, parts | _code_parts(code))
        return ready

    def _binder(self) -> Binder:
        marked = marks(self.function) if isinstance(self.function, FunctionType) else {}
        ignored = self._ignored | {name for name, mark in marked.items() if mark is Ignore}
        by = {name: mark.by for name, mark in marked.items() if isinstance(mark, HashBy)}
        return self.parameters.binder(self.function, ignored, by, self._encoder)

    def _with_ways_out(self, error: UnkeyableError) -> UnkeyableError:
        found = re.match(r"argument '(\w+)'", str(error))
        leave_out = (
            f"leave it out (ignore={found[1]!r}, or Annotated[..., Ignore] on the parameter)" if found else "give key="
        )
        return UnkeyableError(
            f"{self.function_name}: {error}; {leave_out}, or say what counts of it (hashers={{its type: function}}, "
            "or a __cache_key__ method of its class)",
            path=error.path,
            reason=error.reason,
        )


def _check_hashers(hashers: Mapping[type, Handler] | None) -> None:
    for kind, hasher in (hashers or {}).items():
        if not isinstance(kind, type):
            raise ConfigurationError(f"hashers= has the key {kind!r}, which is no type: give {{type: function}}")
        if not callable(hasher):
            raise ConfigurationError(f"hashers= has no function for {kind.__qualname__}, but {hasher!r}")


def _stable_name(function: Any) -> str:
    code = getattr(function, "__code__", None)
    module = module_name(getattr(function, "__module__", None), code.co_filename if code else "")
    qualname = getattr(function, "__qualname__", None) or type(function).__qualname__
    return f"{module}.{qualname}"


_LONGEST_FOLDER = 80  # bytes
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def _folder(name: str) -> str:
    """A name as a folder: what is unsafe anywhere is replaced, and then told apart by 8 hex digits."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", name).strip(".") or "_"
    if _RESERVED.fullmatch(safe):  # with whatever stands behind a dot
        safe = f"_{safe}"
    if safe == name and len(safe) <= _LONGEST_FOLDER:
        return safe
    return f"{safe[: _LONGEST_FOLDER - 9]}-{blake3(name.encode('utf-8', 'surrogatepass')).hexdigest(4)}"


# --- What is added by hand.


def _extras(version: Any, depends: Any) -> Iterable[tuple[str, Any]]:
    if version is not None:
        yield "setting version", version
    several = depends if isinstance(depends, list | tuple) else (depends,)
    for position, value in enumerate(several):
        name = f"setting depends[{position}]"
        if isinstance(value, str):
            yield name, Package(value)
        elif isinstance(value, Path):
            yield name, FileContent(value)
        else:
            yield name, value


class Package:
    """An installed distribution, which is its version."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __cache_key__(self) -> tuple[str, str]:
        return self.name, _installed(self.name)


@lru_cache(maxsize=256)
def _installed(name: str) -> str:
    version = distribution_version(name)
    if version is None:
        raise ConfigurationError(
            f"depends={name!r} names no installed distribution; install it, "
            "or give a Path for a file and version= for a tag"
        )
    return version


class FileContent:
    """A file, or all files below a folder, by content. One that is missing is missing, whatever its name."""

    __slots__ = ("path",)

    def __init__(self, path: Path) -> None:
        self.path = path

    def __cache_key__(self) -> Any:
        if self.path.is_dir():
            files = sorted(file for file in self.path.rglob("*") if file.is_file())
            return [(file.relative_to(self.path).as_posix(), _content(file)) for file in files]
        return _content(self.path)


def _content(file: Path) -> bytes | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return _content_of_version(file.absolute(), found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)


@lru_cache(maxsize=4096)
def _content_of_version(file: Path, *version: int) -> bytes:  # noqa: ARG001 - which state of the file is meant
    with file.open("rb") as opened:
        hasher = blake3()
        while piece := opened.read(1 << 20):
            hasher.update(piece)
    return hasher.digest()


def _code_parts(code: Code) -> dict[str, str]:
    """Digests of what the function uses by name; by kind where there are very many."""
    if len(code.parts) <= _PARTS:
        return {part.name: part.digest.hex()[: 2 * _SHORT] for part in code.parts}
    settings = {part.name: part.digest.hex()[: 2 * _SHORT] for part in code.parts if part.name.startswith("setting")}
    grouped: dict[str, list[bytes]] = {}
    for part in code.parts:
        if part.name not in settings:
            kind, _, name = part.name.partition(" ")
            where = name.rpartition(".")[0]
            grouped.setdefault(f"{kind} {where or name}" if len(code.parts) < 8 * _PARTS else f"{kind}", []).append(
                part.digest
            )
    return settings | {name: blake3(b"".join(digests)).hexdigest(_SHORT) for name, digests in grouped.items()}
