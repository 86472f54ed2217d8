"""What every fingerprint handler promises, as one class of tests to derive from."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import combinations
from typing import Any, ClassVar

import pytest

from .. import Cache
from ..plugins import register, registry, unregister
from ..plugins.contract import Plugin
from ..plugins.known import Kind
from .expecting import shown
from .processes import Child
from .settings import WithoutSettings


class FingerprintTests(WithoutSettings):
    """Tests of the fingerprints of a plugin. Derive a class whose name begins with Test, say its ``module``, and
    override two fixtures:

    ``different``
        values, each of which must have a key of its own: one for each thing in which two can differ.
    ``equal``
        pairs of values, made apart, that count as equal and must have one key. What is of no importance differs.

        class TestMoneyFingerprints(FingerprintTests):
            module = "perscache_money"

            @pytest.fixture
            def different(self):
                return [Money(1, "EUR"), Money(2, "EUR"), Money(1, "USD")]

            @pytest.fixture
            def equal(self):
                return [(Money(1, "EUR"), Money(1, "EUR", note="for lunch"))]

    The module is registered while a test runs. ``pickles = False`` where the values cannot go to another process.
    """

    module: ClassVar[str] = ""
    pickles: ClassVar[bool] = True
    patience: ClassVar[float] = 60.0
    """Seconds after which another process that does not answer hangs."""

    @pytest.fixture
    def different(self) -> Sequence[Any]:
        """To override."""
        raise NotImplementedError(
            f"{type(self).__name__} does not say what it tests: override the fixture different, a list of values that "
            "must have keys of their own"
        )

    @pytest.fixture
    def equal(self) -> Sequence[tuple[Any, Any]]:
        """To override."""
        raise NotImplementedError(
            f"{type(self).__name__} does not say what counts as equal: override the fixture equal, a list of pairs"
        )

    @pytest.fixture(autouse=True)
    def _registered(self) -> Iterator[None]:
        plugin = import_module(self.module)
        register(plugin)
        yield
        unregister(plugin)

    def test_it_is_asked_for_these_types(self, different: Sequence[Any], equal: Sequence[tuple[Any, Any]]) -> None:
        handlers = Plugin(import_module(self.module)).provides[Kind.FINGERPRINT]
        for value in (*different, *(value for pair in equal for value in pair)):
            kind = type(value)
            handler = registry.fingerprint_handler(kind)
            assert handler in handlers.values(), (
                f"{self.module} has no handler for {kind.__module__}.{kind.__qualname__}: perscache_fingerprints() "
                "must give one under that name, which is where the class is defined, not where it is imported from. It "
                f"gives them for {', '.join(map(str, handlers)) or 'nothing'}"
            )

    def test_what_counts_as_equal_has_one_key(self, equal: Sequence[tuple[Any, Any]]) -> None:
        assert equal, f"{type(self).__name__}: the fixture equal is empty: give pairs"
        for left, right in equal:
            assert key(left) == key(right), (
                f"{self.module}: {shown(left)} and {shown(right)} count as equal and have two keys, so the second call "
                "computes again: leave out what is of no importance, such as addresses, caches and the order of a set"
            )

    def test_what_differs_has_another_key(self, different: Sequence[Any]) -> None:
        assert len(different) > 1, f"{type(self).__name__}: the fixture different needs two values at least"
        for left, right in combinations(different, 2):
            assert key(left) != key(right), (
                f"{self.module}: {shown(left)} and {shown(right)} differ and have one key, so the second would be "
                "given the result of the first: let the handler give all in which two can differ"
            )

    def test_a_value_is_no_other_things_equal(self, different: Sequence[Any]) -> None:
        for value in different:
            handler = registry.fingerprint_handler(type(value))
            assert handler is not None
            given = handler(value)
            assert given is not value, f"{self.module}: the handler gives {shown(value)} itself, which has no end"
            assert key(value) != key(given), (
                f"{self.module}: {shown(value)} has the key of {shown(given)}, which its handler makes of it"
            )

    def test_a_key_stays_the_same(self, different: Sequence[Any]) -> None:
        for value in different:
            keys = {key(value) for _ in range(3)}
            assert len(keys) == 1, (
                f"{self.module}: {shown(value)} has another key each time: the handler must look without changing the "
                "value, and give no counters, addresses or times"
            )

    def test_another_process_finds_the_same_key(
        self, different: Sequence[Any], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if not self.pickles:
            pytest.skip(f"{type(self).__name__} declares pickles = False")
        # A class of the test's own is imported by the name that pytest gave its module.
        monkeypatch.syspath_prepend(str(request.config.rootpath))
        monkeypatch.setenv("PYTHONHASHSEED", "2")
        values = list(different)
        remedy = f"{self.module}: another process must find the keys of the same values"
        with Child("spawn", _tell_keys, self.module, pickle.dumps(values)) as child:
            for value, there in zip(values, child.told(self.patience, remedy), strict=True):
                assert key(value) == there, (
                    f"{self.module}: {shown(value)} has another key in another process, so no result is found again: "
                    "the handler must not use hash(), id() or the order of a set"
                )


def key(value: Any) -> str:
    """The storage path of a call with ``value``."""
    return Cache("json", "memory://")(_taking).cache.key(value)


def _taking(value: Any) -> None:
    """A function that takes the value."""


def _tell_keys(tell: Any, module: str, pickled: bytes) -> None:
    register(import_module(module))
    tell([key(value) for value in pickle.loads(pickled)])
