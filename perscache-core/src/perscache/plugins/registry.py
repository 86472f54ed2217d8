"""From names to what they name: registered plugins, built-ins, and installed plugins, each loaded when first named."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from .. import trouble
from ..errors import ConfigurationError, PluginContractError, PluginNotInstalled, RivalPlugins, UnknownPlugin
from . import discovery
from .contract import EVENTS, Plugin, import_failure, name_of, suggestion
from .known import KNOWN, Kind

if TYPE_CHECKING:
    from ..fingerprint import Handler
    from ..serializers.base import Serializer
    from ..storage.base import Storage
    from .discovery import Claim, Offers

# A name is looked for among what was registered, then among the built-ins, then among installed plugins.


def serializer(name: str) -> type[Serializer]:
    """The serializer class that users call ``name``; raises a PluginError where there is none to be had."""
    found: type[Serializer] = _find(Kind.SERIALIZER, name)
    return found


def storage_class(scheme: str) -> type[Storage]:
    """The storage class for URLs of ``scheme``; raises a PluginError where there is none to be had.

    ``fsspec+ftp``, where nobody offers that itself, is for whoever offers ``fsspec``.
    """
    if len(scheme) == 1:
        raise ConfigurationError(f"{scheme}: is a Windows drive and no URL scheme: give the path without //")
    name = scheme.lower()
    found: type[Storage]
    try:
        found = _find(Kind.STORAGE, name)
    except UnknownPlugin:
        if "+" not in name:
            raise
        found = _find(Kind.STORAGE, name.partition("+")[0])
    return found


def observer(name: str) -> Plugin:
    """The installed plugin that observes under ``name``; raises a PluginError where there is none to be had."""
    return load(_claim(Kind.OBSERVER, name))


def fingerprint_handler(cls: type) -> Handler | None:
    """The handler of ``cls`` or of the nearest class that it derives from, by whoever was registered or is installed.

    Installed plugins are asked where the class's top-level module is installed too, not for the standard library
    and a user's own modules: an argument of those must not cost a scan.
    """
    return next(_handlers_of(cls), None)


def load(claim: Claim) -> Plugin:
    """The plugin of an installed distribution; raises a PluginError unless it provides what it declares."""
    plugin = _load(claim)
    given = plugin.provides[claim.kind]
    if claim.kind is Kind.FINGERPRINT:
        tops = {(key if isinstance(key, str) else key.__module__).partition(".")[0] for key in given}
        lacking = f"its {claim.kind.hook}() gives them for {_listed(tops)}" if claim.name not in tops else ""
    elif claim.kind is Kind.OBSERVER:
        lacking = "" if plugin.listens else f"it implements no event hook ({', '.join(EVENTS)})"
    else:
        lacking = f"its {claim.kind.hook}() gives {_listed(map(repr, given))}" if claim.name not in given else ""
    if lacking:
        raise PluginContractError(
            f"{claim.label} declares {claim.kind.called(claim.name)} in its entry points, but {lacking}: "
            f"pip install --upgrade {claim.distribution}, or tell its authors"
        )
    return plugin


def settled(kind: Kind, name: str, offers: Offers) -> Claim | None:
    """The one claim of ``name`` in ``offers``, None where nobody makes it; raises RivalPlugins for two."""
    rivals = {claim.value: claim for claim in offers.claims.get((kind, name), ())}
    if len(rivals) > 1:
        labels = " and ".join(claim.label for claim in rivals.values())
        first = next(iter(rivals.values())).distribution
        raise RivalPlugins(
            f"{labels} both claim {kind.called(name)}, and perscache picks neither: "
            f"uninstall one, or pass over it with {discovery.DISABLE}={first}"
        )
    return next(iter(rivals.values()), None)


def shadow(claim: Claim) -> str:
    """What to say of a claim to a name that is built in."""
    return (
        f"{claim.label} offers {claim.kind.called(claim.name)}, which is built in and stays what it is: "
        "pass the module to perscache.plugins.register() to have it instead"
    )


def built_in(kind: Kind) -> dict[Any, Any]:
    """What the core itself provides of that kind, by name."""
    module = _BUILT_IN.get(kind)
    if module is None:
        return {}
    plugin = _loaded.get(module) or _loaded.setdefault(module, Plugin(import_module(module)))
    return plugin.provides[kind]


def register(plugin: object) -> None:
    """Make what ``plugin`` provides known by name, for this process; its event hooks hear every cache.

    ``plugin`` is a module or an object with hooks. What is registered comes before built-in and installed plugins
    of the same name. Registering it again reads it anew, and a redefined class's object takes the former one's place.
    Raises a PluginError, and changes nothing, where it breaks the contract or claims what another registered one has.
    """
    new = Plugin(plugin)
    with _lock:
        kept = [old for old in _registered if old.source is not plugin]
        for old in list(kept):
            shared = [(kind, name) for kind in Kind for name in new.provides[kind] if name in old.provides[kind]]
            if shared and name_of(old.source) == name_of(plugin):
                kept.remove(old)
            elif shared:
                kind, name = shared[0]
                raise RivalPlugins(
                    f"Both {old.label} and {new.label} claim {kind.called(str(name))}: "
                    "unregister the former with perscache.plugins.unregister(), or rename one"
                )
        _settle([*kept, new])


def unregister(plugin: object) -> None:
    """Undo `register`: raises UnknownPlugin where ``plugin`` is not registered."""
    with _lock:
        kept = [old for old in _registered if old.source is not plugin]
        if len(kept) == len(_registered):
            raise UnknownPlugin(f"{name_of(plugin)} is not registered: nothing to undo")
        _settle(kept)


def rescan() -> Offers:
    """Look again at what is installed: after an installation, or another value of PERSCACHE_DISABLE_PLUGINS."""
    offers = discovery.rescan()
    _loaded.clear()
    _holds_distributions.cache_clear()
    return offers


def listeners() -> list[Plugin]:
    """The registered plugins that hear every cache: the same list, always up to date."""
    return _listeners


_lock: Final = threading.RLock()
_registered: Final[list[Plugin]] = []
_listeners: Final[list[Plugin]] = []
_loaded: Final[dict[str, Plugin]] = {}

_BUILT_IN: Final = {Kind.SERIALIZER: "perscache.serializers.builtin", Kind.STORAGE: "perscache.storage.builtin"}


def _settle(plugins: list[Plugin]) -> None:
    _registered[:] = plugins
    _listeners[:] = [plugin for plugin in plugins if plugin.listens]


# --- By name.


def _find(kind: Kind, name: str) -> Any:
    for provided in (*(plugin.provides[kind] for plugin in _registered), built_in(kind)):
        if name in provided:
            return provided[name]
    return load(_claim(kind, name)).provides[kind][name]


def _load(claim: Claim) -> Plugin:
    # No lock: the module may import others that another thread is importing, and that ask for a plugin themselves.
    if plugin := _loaded.get(claim.value):
        return plugin
    try:
        source = claim.entry.load()
    except (Exception, SystemExit) as error:
        raise import_failure(claim.label, claim, error) from error
    return _loaded.setdefault(claim.value, Plugin(source, claim))


# --- Whose name it is.


def _claim(kind: Kind, name: str) -> Claim:
    known_before = discovery.scanned()
    offers = discovery.scan()
    if known_before and not offers.settles(kind, name):
        # Perhaps it was installed since; who is about to see an error has the time for a second look.
        offers = rescan()
    for name_of_ours in sorted(offers.names(kind) & built_in(kind).keys()):
        for claim in offers.claims[kind, name_of_ours]:
            trouble.warn(shadow(claim), once=("plugins", "built in", kind, claim.name, claim.value))
    return settled(kind, name, offers) or _missing(kind, name, offers)


def _missing(kind: Kind, name: str, offers: Offers) -> NoReturn:
    if disabled := offers.disabled.get((kind, name)):
        raise UnknownPlugin(
            f"{disabled[0].label} offers {kind.called(name)}, but it is disabled: "
            f"take it out of {discovery.DISABLE}={os.environ.get(discovery.DISABLE, '')}"
        )
    if distribution := KNOWN[kind].get(name):
        if version := discovery.installed_version(distribution):
            raise PluginNotInstalled(
                f"{distribution} {version} is installed and does not offer {kind.called(name)}: "
                f"pip install --upgrade {distribution}"
            )
        raise PluginNotInstalled(
            f"{distribution} gives {kind.called(name)}, and is not installed: pip install {distribution}"
        )
    available = offers.names(kind).union(built_in(kind), *(plugin.provides[kind] for plugin in _registered))
    raise UnknownPlugin(
        f"Nobody offers {kind.called(name)}{suggestion(name, available | KNOWN[kind].keys())}. "
        f"There are: {', '.join(sorted(available)) or 'none'}. More come with plugins that you install, "
        "or pass to perscache.plugins.register()"
    )


# --- By type.


def _handlers_of(cls: type) -> Iterator[Handler]:
    for base in cls.__mro__:
        for plugin in (*_registered, *_installed_for(base)):
            handlers = plugin.provides[Kind.FINGERPRINT]
            for key in (base, f"{base.__module__}.{base.__qualname__}"):
                if key in handlers:
                    yield handlers[key]


def _installed_for(cls: type) -> Iterator[Plugin]:
    module = str(cls.__module__).partition(".")[0]
    if module in sys.stdlib_module_names or module in _MAIN or not _is_installed(module):
        return
    claim = settled(Kind.FINGERPRINT, module, discovery.scan())
    if claim is None:
        return
    yield load(claim)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"


_MAIN: Final = ("__main__", "__mp_main__")


def _is_installed(module: str) -> bool:
    """Whether a top-level module lies beside the metadata of distributions; a user's own modules do not."""
    loaded = sys.modules.get(module)
    places = getattr(loaded, "__path__", None) or [getattr(loaded, "__file__", None)]
    files = [Path(place) for place in places if isinstance(place, str)]
    return any(_holds_distributions(file.parent) for file in files if file.is_absolute())


@cache
def _holds_distributions(folder: Path) -> bool:
    try:
        return any(file.suffix in (".dist-info", ".egg-info") for file in folder.iterdir())
    except OSError:
        return False
