"""What every serializer promises, as one class of tests to derive from."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest

from .. import Cache
from ..serializers import Serializer
from ..serializers.base import form_for, in_pieces
from .expecting import raising, shown
from .processes import Child
from .settings import WithoutSettings
from .values import VALUES, difference


class SerializerTests(WithoutSettings):
    """Tests of a serializer. Derive a class whose name begins with Test, and override two fixtures at least:

    ``serializer``
        an instance.
    ``values``
        the values that it is for, a list: each must come back as it was. Take some of several items, in an order that
        sorting would change, and one for each type.
    ``refused``
        values that it cannot keep, and says so. None unless you give some.

        class TestIniSerializer(SerializerTests):
            @pytest.fixture
            def serializer(self):
                return IniSerializer()

            @pytest.fixture
            def values(self):
                return [{"b": {"x": "1"}, "a": {}}]

            @pytest.fixture
            def refused(self):
                return [object(), {"a": 1}]

    Values of the standard library (`perscache.testing.values.VALUES`) are tried too: each must come back as it was, or
    be announced by ``changes``, or be refused. `same` decides what is as it was; override it for types of your own.

    Declared as attributes of the class:

    ``notices_truncation``  whether half of a file is never read as a value: True unless the format has no end
    ``any_buffer``          whether ``loads`` takes a memoryview too, although its ``reads`` asks for bytes: False
    """

    notices_truncation: ClassVar[bool] = True
    any_buffer: ClassVar[bool] = False
    patience: ClassVar[float] = 60.0
    """Seconds after which another process that does not answer hangs."""

    @pytest.fixture
    def serializer(self) -> Serializer:
        """To override."""
        raise NotImplementedError(
            f"{type(self).__name__} does not say what it tests: override the fixture serializer, which gives one"
        )

    @pytest.fixture
    def values(self) -> Sequence[Any]:
        """To override."""
        raise NotImplementedError(
            f"{type(self).__name__} does not say what its serializer is for: override the fixture values, a list of "
            "values that come back as they were"
        )

    @pytest.fixture
    def refused(self) -> Sequence[Any]:
        """To override, where there are some."""
        return ()

    def same(self, left: Any, right: Any) -> bool:
        """Whether two values are equal in types, order and bits."""
        return difference(left, right) is None

    # --- What it is.

    def test_its_extension_is_the_ending_of_a_file(self, serializer: Serializer) -> None:
        extension: object = getattr(type(serializer), "extension", None)
        assert re.fullmatch(r"[A-Za-z0-9]+(\.[A-Za-z0-9]+)*", extension if isinstance(extension, str) else ""), (
            f"{_name(serializer)}.extension is {extension!r}: it must be the ending of the stored files without a dot "
            'in front, such as "json": letters, digits and single inner dots'
        )

    def test_its_name_can_be_written(self, serializer: Serializer) -> None:
        name: object = serializer.name
        assert re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9._+-]*)?", name if isinstance(name, str) else "?"), (
            f'{_name(serializer)}.name is {name!r}: it must be what users write, such as "json": letters, digits, '
            '".", "_", "+" and "-"'
        )

    def test_it_goes_to_another_process(self, serializer: Serializer) -> None:
        try:
            again = pickle.loads(pickle.dumps(serializer))
        except Exception as error:
            raise AssertionError(
                f"{_name(serializer)} cannot be pickled ({type(error).__name__}: {error}), so no process pool can be "
                "given it: keep in the instance what pickles, and make the rest in dumps and loads"
            ) from error
        ours, others = serializer.identity, again.identity
        assert (again.name, again.extension, others) == (serializer.name, serializer.extension, ours), (
            f"{_name(serializer)}: a pickled copy has the identity {others!r} and not {ours!r}, so another process "
            "would not find what this one stored: make it of name, version and settings"
        )

    # --- There and back.

    def test_a_value_comes_back_as_it_was(self, serializer: Serializer, values: Sequence[Any]) -> None:
        assert values, f"{type(self).__name__}: the fixture values is empty: give some that the serializer is for"
        for value in values:
            change = serializer.changes(value)
            assert change is None, (
                f"{_name(serializer)}.changes() announces of {shown(value)} that {change}: it is among the values that "
                "come back as they were; take it out, or mend changes()"
            )
            data = self._dumped(serializer, value)
            self._check_read(serializer, value, data, "loads(dumps(value))")
            if in_pieces(serializer):
                joined = b"".join(serializer.buffers(value))
                self._check_read(serializer, value, joined, "loads of the joined buffers()")

    @pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
    def test_any_value_comes_back_as_it_was_or_is_announced_or_refused(
        self, serializer: Serializer, value: Any
    ) -> None:
        change = serializer.changes(value)
        try:
            data = serializer.dumps(value)
        except Exception:  # noqa: BLE001  # Any exception is a refusal.
            return
        if change is None:
            self._check_read(serializer, value, data, "loads(dumps(value))")

    def test_storing_leaves_the_value_as_it_is(self, serializer: Serializer, values: Sequence[Any]) -> None:
        for value in values:
            before = copy.deepcopy(value)
            serializer.changes(value)
            serializer.dumps(value)
            assert self.same(before, value), (
                f"{_name(serializer)} changed the value that it stored, {shown(before)}, to {shown(value)}: the caller "
                "goes on using it; change a copy"
            )

    def test_what_is_refused_is_named(self, serializer: Serializer, refused: Sequence[Any]) -> None:
        if not refused:
            pytest.skip(f"{type(self).__name__} names nothing that is refused (the fixture refused)")
        for value in refused:
            kind = type(value).__name__
            remedy = f"{_name(serializer)}.dumps() must refuse a {kind}: raise SerializationError that says which type"
            try:
                serializer.dumps(value)
            except Exception as error:  # noqa: BLE001  # Any exception is a refusal.
                said = str(error)
            else:
                pytest.fail(f"{remedy}. It raised nothing")
            assert kind in said, f"{remedy}. It says: {said}"

    def test_its_bytes_are_read_in_the_form_that_it_asks_for(
        self, serializer: Serializer, values: Sequence[Any]
    ) -> None:
        if form_for(serializer) == "bytes" and not self.any_buffer:
            pytest.skip(f"{_name(serializer)} is given bytes")
        for value in values:
            data = memoryview(serializer.dumps(value))
            self._check_read(serializer, value, data, "loads of a memoryview (take any buffer, or leave reads out)")

    def test_threads_do_not_disturb_each_other(self, serializer: Serializer, values: Sequence[Any]) -> None:
        def there_and_back(value: Any) -> Any:
            return serializer.loads(serializer.dumps(value))

        often = [value for _ in range(10) for value in values]
        with ThreadPoolExecutor(4) as pool:
            for value, back in zip(often, pool.map(there_and_back, often), strict=True):
                self._check_same(serializer, value, back, "loads(dumps(value)) in several threads at once")

    def test_what_one_process_writes_another_reads(
        self,
        serializer: Serializer,
        values: Sequence[Any],
        request: pytest.FixtureRequest,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        # A class of the test's own is imported by the name that pytest gave its module.
        monkeypatch.syspath_prepend(str(request.config.rootpath))
        monkeypatch.setenv("PYTHONHASHSEED", "2")
        written = [serializer.dumps(value) for value in values]
        remedy = f"{_name(serializer)}: another process, with another hash seed, must read what this one wrote"
        with Child("spawn", _write_again, serializer, written) as child:
            for value, data in zip(values, child.told(self.patience, remedy), strict=True):
                self._check_same(
                    serializer, value, serializer.loads(data), "loads of what another process read and wrote"
                )

    # --- Bytes that are none of its.

    def test_damaged_bytes_are_no_value(self, serializer: Serializer, values: Sequence[Any]) -> None:
        for data in (b"", b"\x00\xff\xfe damage \x80"):
            value, fine = self._read(serializer, data)
            assert fine, (
                f"{_name(serializer)}.loads({data!r}) gave {shown(value)}, for which it writes other bytes: it must "
                "raise. What it returns is taken for the result, and any exception makes the call a miss"
            )
        if not self.notices_truncation:
            return
        for value in values:
            data = serializer.dumps(value)
            with raising(
                Exception,
                remedy=f"{_name(serializer)}.loads() must raise for the first half of the bytes of {shown(value)}: "
                "look for the end, or keep the length; or declare notices_truncation = False",
            ):
                serializer.loads(data[: len(data) // 2])

    def test_loading_runs_no_code(self, serializer: Serializer, tmp_path: Path) -> None:
        if not serializer.safe:
            pytest.skip(f"{_name(serializer)}.safe is False")
        proof = tmp_path / "proof"
        attacks = [pickle.dumps(_Attack(proof), protocol) for protocol in (0, pickle.HIGHEST_PROTOCOL)]
        attacks.append(f"!!python/object/apply:os.mkdir ['{proof}']".encode())
        attacks.append(f"__import__('os').mkdir({str(proof)!r})".encode())
        for attack in attacks:
            with suppress(Exception):
                serializer.loads(attack)
            assert not proof.exists(), (
                f"{_name(serializer)} says safe = True, and loads({shown(attack)}) ran code: do not use pickle, eval "
                "or an unsafe loader, or leave safe out"
            )

    # --- As a cache uses it.

    @pytest.mark.parametrize("colour", ["sync", "async"])
    def test_a_hit_gives_what_the_miss_gave(
        self, serializer: Serializer, values: Sequence[Any], colour: str, tmp_path: Path
    ) -> None:
        calls: list[int] = []
        cache = Cache(serializer, tmp_path, on_error="raise")

        def result(number: int) -> Any:
            calls.append(number)
            return values[number]

        async def later(number: int) -> Any:
            return result(number)

        # What the function returns is no part of its code here.
        decorated: Callable[[int], Any] = cache(name="result", track="none")(result if colour == "sync" else later)
        for number, value in enumerate(values):
            for _ in range(2):
                seen = decorated(number) if colour == "sync" else asyncio.run(decorated(number))
                self._check_same(serializer, value, seen, "a cached call")
        assert calls == list(range(len(values))), (
            f"{_name(serializer)}: results were computed for {calls}: each of {len(values)} must be found later"
        )
        files = list(tmp_path.rglob(f"*.{serializer.extension}"))
        assert len(files) == len(values), f"{_name(serializer)}: {len(files)} files end in .{serializer.extension}"

    # --- Steps.

    def _read(self, serializer: Serializer, data: bytes) -> tuple[Any, bool]:
        """What is read from ``data``, and whether that is fine: it is refused, or is what a value is written as."""
        try:
            value = serializer.loads(data)
            return value, serializer.dumps(value) == data
        except Exception:  # noqa: BLE001  # Any exception is a miss.
            return None, True

    def _dumped(self, serializer: Serializer, value: Any) -> bytes:
        data: object = serializer.dumps(value)
        assert type(data) is bytes, (
            f"{_name(serializer)}.dumps() gave a {type(data).__name__} for {shown(value)}: it must give bytes; "
            "text is to be encoded: .encode()"
        )
        return data

    def _check_read(self, serializer: Serializer, value: Any, data: Any, how: str) -> None:
        __tracebackhide__ = True
        try:
            back = serializer.loads(data)
        except Exception as error:
            raise AssertionError(
                f"{_name(serializer)}: {how} raised {type(error).__name__}: {error}. What is written must be read "
                "again; what cannot be is refused (raise SerializationError in dumps)"
            ) from error
        self._check_same(serializer, value, back, how)

    def _check_same(self, serializer: Serializer, value: Any, back: Any, how: str) -> None:
        __tracebackhide__ = True
        if self.same(value, back):
            return
        told = difference(value, back) or f"{shown(back)} is not {shown(value)}"
        pytest.fail(
            f"{_name(serializer)}: {how} gave back another value, for {told}: keep it, refuse it (raise "
            "SerializationError in dumps), or announce it (changes)"
        )


class _Attack:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.proof),)


def _write_again(tell: Callable[[object], None], serializer: Serializer, written: Sequence[bytes]) -> None:
    tell([serializer.dumps(serializer.loads(data)) for data in written])


def _name(serializer: Serializer) -> str:
    return type(serializer).__name__
