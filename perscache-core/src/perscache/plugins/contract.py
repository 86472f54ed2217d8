"""One plugin: its hooks called, and what they gave checked whole before anybody sees it."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeVar

import pluggy

from ..errors import PluginContractError, PluginImportError, PluginVersionError
from ..serializers.base import Serializer
from ..storage.base import Storage
from . import specs
from .known import Kind

if TYPE_CHECKING:
    from ..fingerprint import Handler
    from .discovery import Claim

EVENTS: Final = ("perscache_hit", "perscache_miss", "perscache_store", "perscache_evict", "perscache_error")
"""The hooks that are told of what happens; the others are asked once, for what the plugin provides."""

K = TypeVar("K")
T = TypeVar("T")


class Plugin:
    """What a module or object provides: raises a PluginError where that is not what the hooks promise.

    Each has a plugin manager of its own, so that what one raises while it is told of an event stays its own.
    """

    __slots__ = ("failed", "hook", "label", "provides", "source")

    def __init__(self, source: object, claim: Claim | None = None) -> None:
        self.source: Final = source
        """The module or object."""
        self.label: Final = claim.label if claim else name_of(source)
        """How messages speak of it: perscache-parquet 1.0.0 (perscache_parquet)."""
        self.failed = False
        """Whether it has raised while it was told of an event."""
        _check_version(source, self.label, claim)
        answers: dict[Kind, list[Any]] = {kind: [] for kind in (Kind.SERIALIZER, Kind.STORAGE, Kind.FINGERPRINT)}
        self.hook: Final = _manager(source, self.label, claim, answers).hook
        """Its hooks, called as pluggy's are: ``plugin.hook.perscache_miss(call=…, reason=…)``."""
        self.provides: Final[dict[Kind, dict[Any, Any]]] = {
            Kind.SERIALIZER: _unique(_serializers(answers[Kind.SERIALIZER], self.label), self.label),
            Kind.STORAGE: _unique(_storages(answers[Kind.STORAGE], self.label), self.label),
            Kind.FINGERPRINT: _unique(_fingerprints(answers[Kind.FINGERPRINT], self.label), self.label),
            Kind.OBSERVER: {},
        }
        """What it gives, by kind and name: classes, and handlers by type or dotted type name."""

    @property
    def listens(self) -> bool:
        """Whether it wants to be told of events."""
        return any(getattr(self.hook, event).get_hookimpls() for event in EVENTS)


def name_of(source: object) -> str:
    """A plugin's canonical name: a module's own, or that of the object's class."""
    if isinstance(source, ModuleType):
        return source.__name__
    kind = source if isinstance(source, type) else type(source)
    return f"{kind.__module__}.{kind.__qualname__}"


def import_failure(label: str, claim: Claim | None, error: BaseException) -> PluginImportError:
    """The error that says why a plugin cannot be imported, and what to do. The caller chains ``error``."""
    lacking = error.name if isinstance(error, ModuleNotFoundError) else None
    if claim is None:
        remedy = f"install {lacking}" if lacking else "mend it"
    elif lacking:
        remedy = f"pip install --force-reinstall {claim.distribution} brings back what it needs"
    else:
        remedy = f"pip install --upgrade {claim.distribution}, or tell its authors"
    return PluginImportError(f"{label} cannot be imported ({type(error).__name__}: {error}): {remedy}")


# --- What it was written for.


def _check_version(source: object, label: str, claim: Claim | None) -> None:
    version = getattr(source, "PERSCACHE_API", None)
    if version is None and not isinstance(source, ModuleType):
        module = claim.module if claim else type(source).__module__
        version = getattr(sys.modules.get(module), "PERSCACHE_API", None)
    if version is None:
        if claim is None:
            return  # A script registers what it has just written, against what is installed.
        raise PluginContractError(
            f"{label} does not say for which version of the plugin API it was written: "
            f"its module needs the line PERSCACHE_API = {specs.API}"
        )
    if not isinstance(version, int) or isinstance(version, bool):
        raise PluginContractError(f"{label}: PERSCACHE_API is {version!r}; it must be a number, {specs.API}")
    if version != specs.API:
        behind = "perscache-core" if version > specs.API else (claim.distribution if claim else "")
        raise PluginVersionError(
            f"{label} was written for version {version} of the plugin API, and this perscache has version "
            f"{specs.API}: " + (f"pip install --upgrade {behind}" if behind else "bring it up to date")
        )


# --- Its hooks.


def _manager(source: object, label: str, claim: Claim | None, answers: dict[Kind, list[Any]]) -> pluggy.PluginManager:
    if isinstance(source, (type, str)) or source is None:
        raise PluginContractError(f"{source!r} cannot be a plugin: give a module, or an instance with hooks")
    manager = pluggy.PluginManager(specs.PROJECT)
    manager.add_hookspecs(specs)
    for kind, given in answers.items():
        getattr(manager.hook, kind.hook).call_historic(result_callback=given.append)
    try:
        manager.register(source)
    except pluggy.PluginValidationError as error:
        raise PluginContractError(f"{label} has a hook that cannot be called: {error}") from error
    except ImportError as error:
        raise import_failure(label, claim, error) from error
    except Exception as error:
        raise PluginContractError(
            f"{label} fails to say what it provides ({type(error).__name__}: {error}): mend its perscache_… hooks"
        ) from error
    finally:
        for answer in (answer for given in answers.values() for answer in given if inspect.iscoroutine(answer)):
            answer.close()  # Nobody awaits it; the refusal that follows says so, and Python need not.
    _check_hooks(manager, source, label)
    return manager


def _check_hooks(manager: pluggy.PluginManager, source: object, label: str) -> None:
    names = [name for name in vars(manager.hook) if getattr(manager.hook, name).has_spec()]
    callers = manager.get_hookcallers(source) or []
    for caller in callers:
        for implementation in caller.get_hookimpls():
            if not caller.has_spec() and not implementation.optionalhook:
                raise PluginContractError(
                    f"{label} implements {caller.name}, which is no hook of perscache"
                    f"{suggestion(caller.name, names)}. The hooks are {', '.join(names)}"
                )
            if inspect.iscoroutinefunction(implementation.function):
                raise PluginContractError(
                    f"{label}: {caller.name} is a coroutine function, and nobody awaits a hook: make it a plain one"
                )
    implemented = {caller.name for caller in callers}
    unmarked = [name for name in names if name not in implemented and inspect.isroutine(getattr(source, name, None))]
    if unmarked:
        raise PluginContractError(
            f"{label} has {unmarked[0]}() without the mark: put @hookimpl (from perscache.plugins) above it"
        )
    if not implemented:
        raise PluginContractError(
            f"{label} implements no hook of perscache: it needs a function such as {names[0]}() "
            "with @hookimpl (from perscache.plugins) above it"
        )


# --- What they gave.


def _serializers(answers: Iterable[Any], label: str) -> Iterator[tuple[str, type[Serializer]]]:
    for cls in _classes(answers, Serializer, Kind.SERIALIZER, label):
        if not _NAME.fullmatch(_text(cls.name)):
            raise PluginContractError(
                f"{label}: {cls.__qualname__}.name is {cls.name!r}; it must be what users write, "
                'such as "json": letters, digits, ".", "_", "+" and "-"'
            )
        extension = getattr(cls, "extension", None)
        if not _EXTENSION.fullmatch(_text(extension)):
            raise PluginContractError(
                f"{label}: {cls.__qualname__}.extension is {extension!r}; it must be the ending of the stored files "
                'without a dot in front, such as "json": letters, digits and single inner dots'
            )
        yield cls.name, cls


def _storages(answers: Iterable[Any], label: str) -> Iterator[tuple[str, type[Storage]]]:
    for cls in _classes(answers, Storage, Kind.STORAGE, label):
        schemes: object = cls.schemes
        if not isinstance(schemes, tuple) or not schemes or not all(_SCHEME.fullmatch(_text(one)) for one in schemes):
            raise PluginContractError(
                f"{label}: {cls.__qualname__}.schemes is {schemes!r}; it must be a tuple of URL schemes, "
                'such as ("gs", "gcs"): small letters and digits, two or more, for one letter is a Windows drive'
            )
        if cls.from_url.__func__ is Storage.from_url.__func__:  # type: ignore[attr-defined]
            raise PluginContractError(f"{label}: {cls.__qualname__} has schemes and no from_url(): give it one")
        for scheme in schemes:
            yield scheme, cls


def _fingerprints(answers: Iterable[Any], label: str) -> Iterator[tuple[type | str, Handler]]:
    for answer in answers:
        if not isinstance(answer, Mapping):
            raise PluginContractError(
                f"{label}: perscache_fingerprints() gave {_kind(answer)}; it must give a mapping, type → handler"
            )
        for key, handler in answer.items():
            if not (isinstance(key, type) or (isinstance(key, str) and "." in key)):
                raise PluginContractError(
                    f"{label}: perscache_fingerprints() has the key {key!r}; "
                    'it must be a type, or its dotted name such as "numpy.ndarray"'
                )
            if not callable(handler):
                raise PluginContractError(f"{label}: the fingerprint handler of {key!r} cannot be called: {handler!r}")
            yield key, handler


def _classes(answers: Iterable[Any], base: type[Any], kind: Kind, label: str) -> Iterator[type[Any]]:
    for answer in answers:
        if isinstance(answer, (type, str)) or not isinstance(answer, Iterable):
            raise PluginContractError(f"{label}: {kind.hook}() gave {_kind(answer)}; it must give a list of classes")
        for cls in answer:
            if not isinstance(cls, type) or not issubclass(cls, base):
                raise PluginContractError(
                    f"{label}: {kind.hook}() gave {_kind(cls)}; each must be a class derived from "
                    f"perscache.plugins.{base.__name__}"
                )
            if missing := sorted(getattr(cls, "__abstractmethods__", ())):
                raise PluginContractError(
                    f"{label}: {cls.__qualname__} is not complete: it lacks {', '.join(missing)}()"
                )
            yield cls


def _unique(pairs: Iterator[tuple[K, T]], label: str) -> dict[K, T]:
    unique: dict[K, T] = {}
    for name, thing in pairs:
        if unique.setdefault(name, thing) is not thing:
            raise PluginContractError(f"{label} gives two things named {name!r}: rename one")
    return unique


_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_EXTENSION: Final = re.compile(r"[A-Za-z0-9]+(\.[A-Za-z0-9]+)*")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]+")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _kind(value: object) -> str:
    return f"the class {value.__qualname__}" if isinstance(value, type) else f"{type(value).__name__} {value!r}"


def suggestion(name: str, names: Iterable[str]) -> str:
    """``" (did you mean 'json'?)"``, or nothing where no name is near."""
    from difflib import get_close_matches

    near = get_close_matches(name.lower(), sorted(names), n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else ""
