"""Who offers what: the entry points of installed distributions, read without importing any of them."""

from __future__ import annotations

import importlib
import os
import re
import threading
from typing import TYPE_CHECKING, Final, NamedTuple

from .. import trouble
from .known import Kind

if TYPE_CHECKING:
    from .._metadata import Distribution, EntryPoint

DISABLE: Final = "PERSCACHE_DISABLE_PLUGINS"
"""The environment variable that names distributions or modules to pass over, separated by commas."""


class Claim(NamedTuple):
    """A distribution's word that a module of its gives ``name``."""

    kind: Kind
    name: str
    entry: EntryPoint
    module: str
    distribution: str
    version: str

    @property
    def value(self) -> str:
        """The plugin module, or ``module:attribute``."""
        return self.entry.value

    @property
    def label(self) -> str:
        """How messages speak of the plugin: perscache-parquet 1.0.0 (perscache_parquet)."""
        return f"{self.distribution} {self.version} ({self.value})"

    def matches(self, name: str) -> bool:
        """Whether ``name`` is the distribution, the module, or a package that holds the module."""
        return canonical(name) == canonical(self.distribution) or f"{self.module}.".startswith(f"{name}.")


class Offers(NamedTuple):
    """All claims of one scan, by kind and name."""

    claims: dict[tuple[Kind, str], list[Claim]]
    disabled: dict[tuple[Kind, str], list[Claim]]
    """Those that PERSCACHE_DISABLE_PLUGINS passes over."""
    troubles: list[str]
    """What was warned of: metadata that cannot be read, and what PERSCACHE_DISABLE_PLUGINS names in vain."""

    def settles(self, kind: Kind, name: str) -> bool:
        """Whether one plugin, and no other, gives ``name``."""
        return len({claim.value for claim in self.claims.get((kind, name), ())}) == 1

    def names(self, kind: Kind) -> set[str]:
        """The names of that kind that somebody offers."""
        return {name for offered, name in self.claims if offered is kind}


def scan() -> Offers:
    """What the installed distributions offer, found out once a process."""
    with _lock:
        if not _scans:
            _scans.append(_scan())
        return _scans[0]


def scanned() -> bool:
    """Whether `scan` has its answer already."""
    return bool(_scans)


def rescan() -> Offers:
    """What is offered now: after an installation, or another value of PERSCACHE_DISABLE_PLUGINS."""
    importlib.invalidate_caches()
    with _lock:
        _scans[:] = [_scan()]
        return _scans[0]


def installed_version(distribution: str) -> str | None:
    """The version of an installed distribution; None where it is not installed."""
    from .. import _metadata as metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def canonical(distribution: str) -> str:
    """The one spelling of a distribution's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


_lock: Final = threading.Lock()
_scans: Final[list[Offers]] = []


def _scan() -> Offers:
    from .. import _metadata as metadata

    offers = Offers({}, {}, [])
    claims: list[Claim] = []
    seen: set[str] = set()
    for distribution in metadata.distributions():
        if not _mentions_us(distribution):
            continue
        try:
            name = _name(distribution)
            # Of two copies on the path, Python imports the first; an older one may offer nothing.
            if canonical(name) in seen or not _same(distribution, metadata.distribution(name)):
                continue
            seen.add(canonical(name))
            claims += _claims(distribution, name)
        except Exception as error:  # noqa: BLE001  # One broken installation must not hide the others.
            place = distribution.locate_file("")
            offers.troubles.append(
                f"A distribution in {place} offers plugins, but its metadata cannot be read "
                f"({type(error).__name__}: {error}). Its plugins are passed over: reinstall it"
            )
    _sort_out(claims, offers)
    for message in offers.troubles:
        trouble.warn(message, once=("plugins", message))
    return offers


def _mentions_us(distribution: Distribution) -> bool:
    # A look at the text takes two fifths of the time that `entry_points()` needs to parse everybody's,
    # and a malformed file of somebody else's, which stops that, is none of our business.
    try:
        return "perscache." in (distribution.read_text("entry_points.txt") or "")
    except (OSError, UnicodeDecodeError):
        return False


def _name(distribution: Distribution) -> str:
    metadata = distribution.metadata
    if "Name" not in metadata:
        raise ValueError("it has no name")
    return metadata["Name"]


def _same(one: Distribution, other: Distribution) -> bool:
    return str(one.locate_file("")) == str(other.locate_file(""))


def _claims(distribution: Distribution, name: str) -> list[Claim]:
    kinds = {kind.group: kind for kind in Kind}
    return [
        Claim(kinds[entry.group], entry.name, entry, entry.module, name, distribution.version)
        for entry in distribution.entry_points
        if entry.group in kinds
    ]


def _sort_out(claims: list[Claim], offers: Offers) -> None:
    unwanted = [name for part in os.environ.get(DISABLE, "").split(",") if (name := part.strip())]
    for name in unwanted:
        if not any(claim.matches(name) for claim in claims):
            plugins = ", ".join(sorted({claim.distribution for claim in claims})) or "none"
            offers.troubles.append(
                f"{DISABLE} names {name!r}, which is no installed distribution or module with plugins: "
                f"correct it or leave it out (installed: {plugins})"
            )
    for claim in claims:
        side = offers.disabled if any(claim.matches(name) for name in unwanted) else offers.claims
        side.setdefault((claim.kind, claim.name), []).append(claim)
