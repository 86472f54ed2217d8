"""`Cache`: settings in, decorator out. Names are looked up and values checked here, never on a call."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final, Literal, ParamSpec, TypeAlias, TypeVar, overload

from . import config, isolation, modes
from .cached import cached, require_function
from .counts import Counts
from .entry import Entry
from .errors import ConfigurationError
from .events import Observers
from .key import KeyBuilder
from .modes import Mode, ModeName, ModeSwitch
from .plan import Plan
from .plugins import registry
from .serializers.base import Serializer
from .statistics import totals
from .storage.base import Storage
from .storage.opening import StorageLike, open_storage
from .trouble import OnError
from .units import Duration, Size, seconds

if TYPE_CHECKING:
    from .signature import Signer
    from .typing import CachedFunction, Decorator

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")

SerializerLike: TypeAlias = "str | Serializer | type[Serializer]"
Track: TypeAlias = Literal["deps", "source", "none"]
Reaction: TypeAlias = Literal["warn", "raise", "ignore"]

_EXTENSION: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", re.ASCII)


class Cache:
    """A decorator that keeps what functions return.

        cache = Cache(serializer="json", storage="results")

        @cache(ttl="1d")
        def prices(day): ...

    What is not given comes from the environment (``PERSCACHE_STORAGE``, ``PERSCACHE_SERIALIZER``, ``PERSCACHE_TTL``,
    ``PERSCACHE_MAX_SIZE``), then from ``perscache.toml`` or ``[tool.perscache]`` in the nearest ``pyproject.toml``,
    then from the defaults. ``PERSCACHE_MODE`` is stronger than code.

    Parameters:
        serializer: a name ("json", "parquet", …) or a `Serializer`; default "cloudpickle".
        storage: a path, a URL ("gs://bucket/folder") or a `Storage`; default ".cache". A list of those is tiers, the
            nearest first: read through, filled upward, written to all.
        ttl: how long a result is fresh: timedelta, seconds or "2h30m". Judged when reading: lowering it acts at once.
        track: what of the code is in the key: "deps" (default; own code and what that uses), "source" or "none".
        version: a tag of your own, part of every key.
        max_size: bytes or "20GB", for a storage given by path or URL.
        lock: one computation a key at a time (default).
        on_error: what trouble in storage, serializer or plugin does, besides that the caller gets the result:
            "warn" (default), "raise" or "ignore".
        mode: "normal" (default), "refresh", "bypass", "readonly" or "offline".
        observers: names or plugin objects that are told of hits, misses, stores, evictions and errors.
        signing_key: stored pickles are signed with it, and others refused; also ``PERSCACHE_SIGNING_KEY``.

    Raises ConfigurationError for a setting without meaning, and PluginError for a name without plugin.
    """

    serializer: Serializer
    """What turns results into bytes, unless a function has another."""
    storage: Storage
    """Where results are kept, unless a function has another."""

    def __init__(
        self,
        serializer: SerializerLike | None = None,
        storage: StorageLike | None = None,
        *,
        ttl: Duration | None = None,
        track: Track | None = None,
        version: Any = None,
        max_size: Size | None = None,
        lock: bool | None = None,
        on_error: Reaction | None = None,
        mode: ModeName | None = None,
        observers: Iterable[Any] = (),
        signing_key: bytes | str | None = None,
    ) -> None:
        given = {
            "serializer": serializer,
            "storage": storage,
            "ttl": ttl,
            "track": track,
            "version": version,
            "max_size": max_size,
            "lock": lock,
            "on_error": on_error,
            "mode": mode,
            "observers": ((observers,) if isinstance(observers, str) else tuple(observers)) or None,
        }
        if max_size is not None and isinstance(storage, Storage):
            kind = type(storage).__name__
            raise ConfigurationError(f"max_size is for a storage given by path or URL: write {kind}(…, max_size=…)")
        outside = {name: value for name, (value, _) in config.outside().items()}
        self._settings: Final[dict[str, Any]] = {
            **config.DEFAULTS,
            **outside,
            **{name: value for name, value in given.items() if value is not None},
        }
        self._max_age = _max_age(self._settings["ttl"])
        self._on_error = OnError.named(self._settings["on_error"])
        self._modes = _mode_switch(self._settings["mode"])
        self._observers = Observers(self._settings["observers"])
        self._signer = _signer(signing_key)
        self.serializer = self._make_serializer(self._settings["serializer"])
        self.storage = self._make_storage(self._settings["storage"])
        self._given = storage is not None or isinstance(self.storage, _Nowhere)
        isolation.enroll(self, given=self._given)

    @overload
    def __call__(self, function: classmethod[S, P, R], /) -> classmethod[S, P, R]: ...
    @overload  # A staticmethod is callable itself, hence the overlap.
    def __call__(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
        self, function: staticmethod[P, R], /
    ) -> staticmethod[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> CachedFunction[P, R]: ...
    @overload
    def __call__(
        self,
        function: None = None,
        /,
        *,
        ttl: Duration | None = None,
        serializer: SerializerLike | None = None,
        storage: StorageLike | None = None,
        track: Track | None = None,
        version: Any = None,
        lock: bool | None = None,
        on_error: Reaction | None = None,
        ignore: str | Iterable[str] = (),
        key: Callable[..., Any] | None = None,
        hashers: Mapping[type, Callable[[Any], Any]] | None = None,
        depends: Any = (),
        store_if: Callable[[Any], bool] | None = None,
        name: str | None = None,
        serialization: SerializerLike | None = None,
        ignore_args: str | Iterable[str] | None = None,
    ) -> Decorator: ...
    def __call__(self, function: Any = None, /, **settings: Any) -> Any:
        """Decorate a function: ``@cache``, ``@cache()`` or ``@cache(ttl="1d", …)``.

        Parameters, besides those of `Cache`:
            ignore: names of parameters that are left out of the key.
            key: a function of the same arguments whose result replaces them in the key.
            hashers: by type, functions that give for a value something that can be keyed.
            depends: further parts of the key: functions, values, paths (a file's content), names of packages (version).
            store_if: a function of the result; what it refuses is returned and not stored.
            name: a stable identity across renames and moves; default ``<module>.<qualname>``.

        Raises ConfigurationError for a setting without meaning, and PluginError for a name without plugin.
        """
        _check_settings(settings)
        if function is None:
            return lambda function: self._decorate(function, settings)
        return self._decorate(function, settings)

    @property
    def cache(self) -> Cache:
        """This object, as the original perscache named its decorator: ``@cache.cache(ttl=…)``."""
        return self

    def mode(self, name: ModeName) -> AbstractContextManager[None]:
        """Run a block with this cache in the mode ``name``: ``with cache.mode("refresh"): …``."""
        return modes.switched(Mode.named(name), self._modes.scope)

    def statistics(self) -> dict[str, Counts]:
        """How calls went, by function, as far as `storage` was used for them: in this process and in those before.

        Local files keep such counts; a process adds its own when it ends, unless its mode writes nothing or it is
        killed. Empty for other storages.
        """
        ledger = self.storage.ledger()
        return {} if ledger is None else totals(ledger)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(serializer={self.serializer.identity!r}, storage={self.storage.identity!r})"

    def _decorate(self, function: Any, settings: Mapping[str, Any]) -> Any:
        if isinstance(function, classmethod | staticmethod):
            return type(function)(self._decorate(function.__func__, settings))
        wrapper: Any = cached(*self._plan(require_function(function), settings))
        isolation.enroll(wrapper.cache, given=self._given or settings.get("storage") is not None)
        return wrapper

    def _move(self, place: Callable[[Storage], Storage]) -> Callable[[], None]:
        former, self.storage = self.storage, place(self.storage)
        return partial(setattr, self, "storage", former)

    def _plan(
        self, function: Callable[..., Any], settings: Mapping[str, Any]
    ) -> tuple[Callable[..., Any], Plan, dict[str, Any]]:
        chosen = {name: value for name, value in settings.items() if value is not None}
        both = {**self._settings, **chosen}
        serializer = self._make_serializer(chosen["serializer"]) if "serializer" in chosen else self.serializer
        storage = self._make_storage(chosen["storage"]) if "storage" in chosen else self.storage
        builder = KeyBuilder(
            function,
            name=both.get("name"),
            serializer=serializer.identity,
            ignore=both.get("ignore", ()),
            key=both.get("key"),
            hashers=both.get("hashers"),
            depends=both.get("depends", ()),
            track=both["track"],
            version=both["version"],
            handler_for=registry.fingerprint_handler,
        )
        plan = Plan(
            builder=builder,
            serializer=serializer,
            storage=storage,
            max_age=_max_age(chosen["ttl"]) if "ttl" in chosen else self._max_age,
            lock=both["lock"],
            on_error=OnError.named(both["on_error"]),
            store_if=both.get("store_if"),
            modes=self._modes,
            observers=self._observers,
            signer=self._signer,
            format=serializer.name or type(serializer).__name__,
            suffix="." + _extension(serializer),
        )
        in_force = {
            **both,
            "name": builder.function_name,
            "serializer": plan.format,
            "ttl": plan.max_age,
        }
        return function, plan, in_force

    def _make_serializer(self, serializer: SerializerLike) -> Serializer:
        return _serializer(serializer)

    def _make_storage(self, storage: StorageLike) -> Storage:
        quiet = self._on_error is OnError.IGNORE
        made = open_storage(storage, self._settings["max_size"], quiet=quiet)
        made.listeners += tuple(listener for listener in self._observers.of_evictions if listener not in made.listeners)
        return made


class NoCache(Cache):
    """A Cache that keeps nothing. It takes the same arguments and loads no plugin, to switch caching off.

    cache = NoCache() if debugging else Cache("parquet", "gs://bucket/folder")
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._modes = ModeSwitch(Mode.BYPASS, pinned=True)

    def _make_serializer(self, serializer: SerializerLike) -> Serializer:
        return serializer if isinstance(serializer, Serializer) else _serializer(config.DEFAULTS["serializer"])

    def _make_storage(self, storage: StorageLike) -> Storage:
        return _Nowhere()


class _Nowhere(Storage):
    """Keeps nothing."""

    local = folders = True

    def read(self, path: str, deadline: datetime | None) -> bytes:
        raise FileNotFoundError(f"{path}: caching is switched off")

    def write(self, path: str, data: bytes) -> None:
        pass

    def peek(self, path: str) -> Entry | None:
        return None

    def delete(self, path: str) -> bool:
        return False

    def entries(self, function: str | None = None) -> Iterator[Entry]:
        return iter(())

    def prune(self, max_age: float | None = None) -> int:
        return 0

    @property
    def identity(self) -> str:
        return "nowhere"


_OTHER_NAMES: Final = {"serialization": "serializer", "ignore_args": "ignore"}

_FOR_FUNCTIONS: Final = frozenset(
    [
        "ttl",
        "serializer",
        "storage",
        "track",
        "version",
        "lock",
        "on_error",
        "ignore",
        "key",
        "hashers",
        "depends",
        "store_if",
        "name",
    ]
)


def _check_settings(settings: dict[str, Any]) -> None:
    """Bring a decorator's settings to their own names; raises ConfigurationError for one that is none."""
    for other, name in _OTHER_NAMES.items():
        if other in settings:
            if settings.get(name):
                raise ConfigurationError(f"{other}= is another name of {name}=: give one of the two")
            settings[name] = settings.pop(other)
    for name in settings.keys() - _FOR_FUNCTIONS:
        import difflib

        if name in config.DEFAULTS:
            raise ConfigurationError(f"{name}= is a setting of the whole cache: give it to Cache({name}=…)")
        near = difflib.get_close_matches(name, _FOR_FUNCTIONS, 1)
        hint = f"did you mean {near[0]}=?" if near else f"the settings are {', '.join(sorted(_FOR_FUNCTIONS))}"
        raise ConfigurationError(f"unknown setting {name}=: {hint}")
    store_if = settings.get("store_if")
    if store_if is not None and not callable(store_if):
        raise ConfigurationError(f"store_if={store_if!r}: it takes a function of the result")


def _max_age(ttl: Duration | None) -> float | None:
    age = None if ttl is None else seconds(ttl)
    return None if age == inf else age


def _mode_switch(mode: str) -> ModeSwitch:
    pinned = os.environ.get(config.MODE)
    return ModeSwitch(Mode.named(pinned or mode), pinned=bool(pinned))


def _signer(key: bytes | str | None) -> Signer | None:
    key = key if key is not None else os.environ.get(config.SIGNING_KEY)
    if key is None:
        return None
    from .signature import Signer

    return Signer(key)


def _serializer(serializer: SerializerLike) -> Serializer:
    made: Any = registry.serializer(serializer) if isinstance(serializer, str) else serializer
    if isinstance(made, type):
        made = made()
    if not isinstance(made, Serializer):
        raise ConfigurationError(
            f"serializer={serializer!r}: it takes a name such as 'json', or an instance of a class derived from "
            "perscache.serializers.Serializer"
        )
    return made


def _extension(serializer: Serializer) -> str:
    extension = str(getattr(serializer, "extension", "")).removeprefix(".")
    if not _EXTENSION.fullmatch(extension):
        kind = type(serializer).__name__
        raise ConfigurationError(
            f"{kind}.extension is {extension!r}: set it to the ending of the files, such as 'json'"
        )
    return extension
