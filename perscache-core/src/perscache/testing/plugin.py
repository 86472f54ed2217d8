"""What every installed plugin promises, as one class of tests to derive from."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from typing import Any, ClassVar

import pytest

from .. import _metadata as metadata
from ..entry import Entry
from ..errors import PluginError
from ..events import Call
from ..plugins import API, discovery, registry
from ..plugins.contract import Plugin
from ..plugins.discovery import Claim
from ..plugins.known import Kind
from ..storage import MemoryStorage


class PluginTests:
    """Tests of a plugin as users have it: installed, and found by its entry points. Derive a class whose name begins
    with Test, and say in it:

    ``module``  the plugin's module, which its entry points name
    ``heavy``   the modules that importing the plugin must not import, because who names it need not use it. Unless you
                say others: those of all that its distribution requires, perscache-core apart.

        class TestIniPlugin(PluginTests):
            module = "perscache_ini"

    Where it has event hooks, they are told of everything that can happen: they must not raise, nor take longer than
    ``patience``, 10 seconds.
    """

    module: ClassVar[str] = ""
    heavy: ClassVar[Sequence[str] | None] = None
    patience: ClassVar[float] = 10.0

    @pytest.fixture
    def claims(self) -> list[Claim]:
        """What the installed distribution says that the module gives."""
        assert self.module, f'{type(self).__name__} does not say what it tests: give it module = "perscache_…"'
        offers = discovery.scan()
        found = [claim for claims in offers.claims.values() for claim in claims if claim.module == self.module]
        assert found, (
            f"No installed distribution has an entry point for {self.module}: add it to pyproject.toml, under "
            f'[project.entry-points."perscache.serializers"] or another kind\'s, and pip install --editable .'
        )
        return found

    @pytest.fixture
    def plugin(self, claims: list[Claim]) -> Plugin:
        """The plugin, its contract checked."""
        try:
            return Plugin(claims[0].entry.load())
        except PluginError as error:
            raise AssertionError(str(error)) from error

    def test_it_says_for_which_api_it_was_written(self, plugin: Plugin) -> None:
        version = getattr(plugin.source, "PERSCACHE_API", getattr(import_module(self.module), "PERSCACHE_API", None))
        assert version == API, (
            f"{self.module} has PERSCACHE_API = {version!r}: its module needs the line PERSCACHE_API = {API}, by which "
            "a later perscache knows how to treat it"
        )

    def test_it_provides_what_it_declares(self, claims: list[Claim]) -> None:
        for claim in claims:
            try:
                registry.load(claim)
            except PluginError as error:
                raise AssertionError(
                    f"{error}. Here: let the entry point in pyproject.toml and the hook {claim.kind.hook} say the "
                    "same, and install it again"
                ) from error

    def test_it_declares_what_it_provides(self, claims: list[Claim], plugin: Plugin) -> None:
        declared = {(claim.kind, claim.name) for claim in claims}
        for kind, name in _provided(plugin):
            assert (kind, name) in declared, (
                f"{self.module} gives {kind.called(name)} and no entry point says so, so nobody finds it: add "
                f'{name} = "{self.module}" to [project.entry-points."{kind.group}"] in pyproject.toml, and install it '
                "again"
            )
        assert not plugin.listens or Kind.OBSERVER in {kind for kind, _ in declared}, (
            f"{self.module} has event hooks and no entry point says so, so nobody can name it as an observer: add a "
            f'name for it, = "{self.module}", to [project.entry-points."{Kind.OBSERVER.group}"] in pyproject.toml'
        )

    # --- What it costs those who have it installed.

    @pytest.fixture
    def imported(self, claims: list[Claim]) -> dict[str, list[str]]:
        """The modules that a process has imported after it used perscache, and after it named the plugin as well."""
        return _imported(self.module, *(claim.name for claim in claims if claim.kind is Kind.SERIALIZER))

    def test_who_does_not_name_it_does_not_import_it(self, imported: dict[str, list[str]]) -> None:
        assert self.module not in imported["perscache"], (
            f"import perscache, and a cache that names nothing of it, import {self.module}: nothing but its entry "
            "points may make it known; look for a .pth file, sitecustomize, or an import of it elsewhere"
        )

    def test_naming_it_does_not_import_its_library(self, imported: dict[str, list[str]], claims: list[Claim]) -> None:
        heavy = _required(claims[0].distribution) if self.heavy is None else self.heavy
        loaded = sorted(set(heavy) & set(imported["plugin"]))
        assert not loaded, (
            f"import {self.module}, or naming what it gives, imports {', '.join(loaded)}, for which who names it "
            "waits, used or not: import it inside the functions that use it"
        )

    # --- Being told.

    def test_an_observer_never_raises_and_holds_nobody_up(self, plugin: Plugin) -> None:
        if not plugin.listens:
            pytest.skip(f"{self.module} has no event hooks")
        for event, facts in _everything():
            raised: list[BaseException] = []

            def tell(event: str = event, facts: dict[str, Any] = facts, raised: list[Any] = raised) -> None:
                try:
                    getattr(plugin.hook, event)(**facts)
                except BaseException as error:  # noqa: BLE001  # Whatever it is, it is told.
                    raised.append(error)

            telling = threading.Thread(target=tell, daemon=True)
            telling.start()
            telling.join(self.patience)
            said = f"{self.module}: {event}({', '.join(f'{name}={fact!r}' for name, fact in facts.items())})"
            assert not telling.is_alive(), (
                f"{said} did not return within {self.patience:g} s, and the call waits for it: put what happened into "
                "a queue with put_nowait(), and let a thread of your own do the rest"
            )
            if raised:
                raise AssertionError(
                    f"{said} raised {type(raised[0]).__name__}: {raised[0]}. After that perscache logs nothing more of "
                    "it: catch what your service raises"
                ) from raised[0]


def _provided(plugin: Plugin) -> Iterator[tuple[Kind, str]]:
    for kind in (Kind.SERIALIZER, Kind.STORAGE):
        yield from ((kind, name) for name in plugin.provides[kind])
    for key in plugin.provides[Kind.FINGERPRINT]:
        yield Kind.FINGERPRINT, (key if isinstance(key, str) else key.__module__).partition(".")[0]


def _required(distribution: str) -> set[str]:
    """The top-level modules of what ``distribution`` requires, with no extra."""
    required = {
        discovery.canonical(re.split(r"[ ;<>=!~\[(]", line)[0])
        for line in metadata.distribution(distribution).requires or ()
        if "extra ==" not in line
    } - {"perscache-core"}
    return {
        module for module, owners in _owners().items() if required & {discovery.canonical(owner) for owner in owners}
    }


@cache
def _owners() -> Mapping[str, Sequence[str]]:
    """The distributions that hold each top-level module."""
    return metadata.packages_distributions()


@cache
def _imported(module: str, *serializers: str) -> dict[str, list[str]]:
    done = subprocess.run(  # noqa: S603 - our own source
        [sys.executable, "-c", _LOOK, module, *serializers], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"import {module}, or naming what it gives, fails in a new process:\n{done.stderr}"
    stages: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return stages


_LOOK = """
import json, sys
import perscache
from perscache import Cache
Cache("json", "memory://")(len)
stages = {"perscache": sorted(sys.modules)}
import importlib
importlib.import_module(sys.argv[1])
for name in sys.argv[2:]:
    try:
        Cache(name, "memory://")(len)
    except perscache.errors.PluginError:
        pass  # Another test tells of it.
stages["plugin"] = sorted(set(sys.modules) - set(stages["perscache"]))
print(json.dumps(stages))
"""


def _everything() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every event, with facts of each sort."""
    full = Entry("f/1.json", datetime.now(UTC), 3, compute_time=1.5, format="json", function="f", arguments="x=1")
    bare = Entry("f/1.json", datetime.now(UTC), 0)
    calls = [Call("shop.price", "shop.price/1.json", "normal"), Call("<lambda>", "", "refresh")]
    error: BaseException
    for call in calls:
        for entry in (full, bare):
            yield "perscache_hit", {"call": call, "entry": entry, "seconds": 0.0}
            yield "perscache_store", {"call": call, "entry": entry, "seconds": 1.5}
        for reason in ("absent", "expired", "unreadable", "forced"):
            yield "perscache_miss", {"call": call, "reason": reason}
        for stage in ("key", "read", "loads", "dumps", "write", "evict", "lock"):
            for error in (OSError(28, "No space left on device"), ValueError()):
                yield "perscache_error", {"call": call, "stage": stage, "error": error}
    for entry in (full, bare):
        for reason in ("expired", "limit", "cleared", "invalidated"):
            yield "perscache_evict", {"storage": MemoryStorage(), "entry": entry, "reason": reason}
