"""Events: what observers are told of a call, and telling them so that none can harm it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .errors import PluginContractError
from .plugins import registry
from .plugins.contract import EVENTS, Plugin
from .trouble import logger

if TYPE_CHECKING:
    from .entry import Entry
    from .storage.base import Storage


@dataclass(frozen=True, slots=True)
class Call:
    """The call that an event is about. It carries no values of arguments."""

    function: str
    """The function's stable name, ``<module>.<qualname>`` unless it was given another."""
    path: str
    """The storage path of the call; empty where trouble came before there was one."""
    mode: str
    """The mode in force: "normal", "refresh", "bypass", "readonly" or "offline"."""


class Observers:
    """Those that hear the events of one cache: its own, and every registered plugin with event hooks.

    ``observers`` are names of installed plugins, or modules or objects with event hooks. Raises a PluginError for a
    name that nobody offers and for what implements no event hook. What an observer raises is logged once and survived.
    """

    __slots__ = ("_given", "_own", "_registered")

    def __init__(self, observers: Iterable[object] = ()) -> None:
        self._given: Final = (observers,) if isinstance(observers, str) else tuple(observers)
        self._own: Final = [_plugin(observer) for observer in self._given]
        self._registered: Final = registry.listeners()

    def __reduce__(self) -> tuple[type[Observers], tuple[tuple[object, ...]]]:
        return Observers, (self._given,)

    @property
    def active(self) -> bool:
        """Whether anybody listens."""
        return bool(self._registered or self._own)

    def hit(self, call: Call, entry: Entry, seconds: float) -> None:
        """A value came from storage, in ``seconds``."""
        self._tell("perscache_hit", call=call, entry=entry, seconds=seconds)

    def miss(self, call: Call, reason: str) -> None:
        """The function is about to run: "absent", "expired", "unreadable" or "forced"."""
        self._tell("perscache_miss", call=call, reason=reason)

    def store(self, call: Call, entry: Entry, seconds: float) -> None:
        """A result was written, in ``seconds``."""
        self._tell("perscache_store", call=call, entry=entry, seconds=seconds)

    @property
    def of_evictions(self) -> tuple[Callable[[Storage, Entry, str], None], ...]:
        """What a storage is to call when an entry goes. Equal ones are the same: caches may share a storage."""
        return (_registered, *(EvictionListener(plugin) for plugin in self._own))

    def error(self, call: Call, stage: str, error: BaseException) -> None:
        """Something failed in ``stage`` and was survived."""
        self._tell("perscache_error", call=call, stage=stage, error=error)

    def _tell(self, event: str, **facts: Any) -> None:
        # A registered plugin that a cache names as well hears an event once.
        hearers = {id(plugin.source): plugin for plugin in (*self._own, *self._registered)}
        _tell(hearers.values(), event, **facts)


class EvictionListener:
    """Tells one plugin of evictions, unless it is registered and told anyway."""

    __slots__ = ("_plugin",)

    def __init__(self, plugin: Plugin) -> None:
        self._plugin: Final = plugin

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EvictionListener) and other._plugin.source is self._plugin.source

    def __hash__(self) -> int:
        return id(self._plugin.source)

    def __call__(self, storage: Storage, entry: Entry, reason: str) -> None:
        """An entry was removed: "expired", "limit", "cleared" or "invalidated"."""
        if all(plugin.source is not self._plugin.source for plugin in registry.listeners()):
            _tell((self._plugin,), "perscache_evict", storage=storage, entry=entry, reason=reason)


class _Registered:
    """Tells the registered plugins of evictions: they hear of every storage, whoever uses it."""

    @property
    def active(self) -> bool:
        """Whether there are any."""
        return bool(registry.listeners())

    def __call__(self, storage: Storage, entry: Entry, reason: str) -> None:
        _tell(registry.listeners(), "perscache_evict", storage=storage, entry=entry, reason=reason)


_registered: Final = _Registered()


def _tell(hearers: Iterable[Plugin], event: str, **facts: Any) -> None:
    for plugin in hearers:
        try:
            getattr(plugin.hook, event)(**facts)
        except Exception:  # noqa: BLE001  # Whatever it is, it is not the caller's.
            if not plugin.failed:
                plugin.failed = True
                logger.warning(
                    "The observer %s failed at %s; the call goes on. Its further failures are not logged",
                    plugin.label,
                    event,
                    exc_info=True,
                )


def _plugin(observer: object) -> Plugin:
    if isinstance(observer, str):
        return registry.observer(observer)
    plugin = Plugin(observer)
    if not plugin.listens:
        raise PluginContractError(f"{plugin.label} observes nothing: it needs an event hook ({', '.join(EVENTS)})")
    return plugin
