"""``perscache plugins``: what the installed distributions offer, by their metadata alone, and whether it can be had."""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, replace
from typing import Final

from ..errors import PerscacheWarning, PluginError, RivalPlugins
from ..plugins import discovery, registry
from ..plugins.discovery import Claim
from ..plugins.known import Kind
from . import display

CORE: Final = "perscache-core"


def plugins(options: argparse.Namespace) -> int:
    """List what plugins offer, as their metadata says; with --check load each."""
    with silence():
        found = list(offers())
        if options.check:
            found = [check(offer) for offer in found]
    if options.json:
        for offer in found:
            display.say_json(facts(offer))
    else:
        say_offers(found)
    problems = dict.fromkeys([*discovery.scan().troubles, *(problem for offer in found for problem in offer.problems)])
    for problem in problems:
        display.note(problem)
    return 1 if problems and options.check else 0


@dataclass(frozen=True, slots=True)
class Offer:
    """A name that users may write, and who gives it."""

    kind: Kind
    name: str
    distribution: str
    version: str
    module: str
    state: str
    """built in, installed, rival, shadowed or disabled; after `check` works or broken in place of installed."""
    problems: tuple[str, ...] = ()
    """What keeps users from having it; each ends with the way out."""
    seconds: float | None = None
    """How long loading took."""
    claim: Claim | None = None


def offers() -> Iterator[Offer]:
    """What there is, by kind and name, found out without importing any plugin."""
    scanned = discovery.scan()
    version = discovery.installed_version(CORE) or ""
    for kind in Kind:
        built_in = registry.built_in(kind)
        found = [Offer(kind, name, CORE, version, thing.__module__, "built in") for name, thing in built_in.items()]
        for (of_kind, name), claims in scanned.claims.items():
            if of_kind is kind:
                try:
                    registry.settled(kind, name, scanned)
                    rivalry = None
                except RivalPlugins as error:
                    rivalry = str(error)
                found += [_offer(claim, shadowed=name in built_in, rivalry=rivalry) for claim in claims]
        for (of_kind, _), claims in scanned.disabled.items():
            if of_kind is kind:
                found += [_offer(claim, disabled=True) for claim in claims]
        yield from sorted(found, key=lambda offer: (offer.name, offer.distribution))


def check(offer: Offer) -> Offer:
    """The same with its plugin loaded, unless it is disabled: whether it provides what it declares."""
    if offer.claim is None or offer.state == "disabled":
        return offer
    started = time.perf_counter()
    try:
        with redirect_stdout(sys.stderr):  # What a module prints is no part of the list.
            registry.load(offer.claim)
    except PluginError as error:
        return replace(offer, state="broken", problems=(*offer.problems, str(error)))
    state = "works" if offer.state == "installed" else offer.state
    return replace(offer, state=state, seconds=time.perf_counter() - started)


def say_offers(found: list[Offer]) -> None:
    """Print a line for each."""
    rows = [
        (offer.name, offer.kind.value[:-1], offer.distribution, offer.version, offer.state, offer.module)
        for offer in found
    ]
    display.say_table(("NAME", "KIND", "DISTRIBUTION", "VERSION", "STATE", "MODULE"), rows)


def facts(offer: Offer) -> dict[str, object]:
    """An offer for programs; ``seconds`` is how long loading took."""
    known = asdict(replace(offer, claim=None))
    del known["claim"]
    return {**known, "kind": offer.kind.value[:-1]}


@contextmanager
def silence() -> Iterator[None]:
    """Run the block without warnings of perscache, which come as findings instead."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PerscacheWarning)
        yield


def _offer(claim: Claim, *, disabled: bool = False, shadowed: bool = False, rivalry: str | None = None) -> Offer:
    state = "disabled" if disabled else "rival" if rivalry else "shadowed" if shadowed else "installed"
    problems = (*([rivalry] if rivalry else ()), *([registry.shadow(claim)] if shadowed else ()))
    return Offer(claim.kind, claim.name, claim.distribution, claim.version, claim.value, state, problems, claim=claim)
