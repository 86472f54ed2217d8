"""What a storage promises of reading and writing."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from ...buffers import Pieces
from ...entry import Entry
from ...errors import CacheExpired, DamagedEntry
from ...storage import Storage
from ..expecting import raising, shown
from .place import Around, Async, Place, Sync, entry_at, name_of, path_in

BODIES: Final[Mapping[str, bytes]] = {
    "empty": b"",
    "1 KB": bytes(range(256)) * 4,
    "20 MB": os.urandom(20_000_000),
    "a multipart boundary": b"a\n--==0==--\nb",
    "white space": b" \r\n\t\n",
}

NAMES: Final = (
    *("f", "F", "f.g", "f-g", "f_g", "ff", "f..g", "_", "_con", "__main__.f", "f._locals_.g-0a1b2c3d"),
    f"{'long' * 17}xyz-0a1b2c3d",
)
"""Functions as the core names them: each is one, though some look alike."""


class Reading(Place):
    """Bytes in, the same bytes out, for as long as they are fresh."""

    @pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
    def test_bytes_come_back_as_they_were(self, storage: Storage, via: Sync | Async, body: bytes) -> None:
        path = path_in(storage)
        via.store(storage, entry_at(path, body), body)
        for method, seen in {f"{via}load": via.load(storage, path).data, "read": storage.read(path, None)}.items():
            assert isinstance(seen, (bytes, memoryview)), (
                f"{name_of(storage)}.{method}() gave a {type(seen).__name__}: it must give bytes, as they were stored; "
                "storages that decode text, or parse, take the option off"
            )
            assert bytes(seen) == body, (
                f"{name_of(storage)}.{method}() gave {shown(bytes(seen))} where {shown(body)} was stored: "
                "keep bytes as they are, without stripping, decoding or line ends"
            )
        assert not storage.lacks(path), f"{name_of(storage)}.lacks() must be False for what load() finds"
        assert type(storage.read(path, None)) is bytes, (
            f"{name_of(storage)}.read() gave a {type(storage.read(path, None)).__name__}: it must give bytes"
        )

    def test_the_stored_bytes_open_as_what_their_extension_says(self, storage: Storage, around: Around | None) -> None:
        if around is None:
            pytest.skip(f"{type(self).__name__} gives no way around its storage (the fixture around)")
        path = path_in(storage)
        storage.store(entry_at(path), b'{"a": 1}')
        found = around.read(path)
        try:
            # A seal may follow, as white space that JSON allows.
            assert json.loads(found) == {"a": 1}
        except (ValueError, AssertionError) as error:
            raise AssertionError(
                f"{name_of(storage)} stored a JSON text as {shown(found)}, which other programs cannot open: keep the "
                "bytes as they are, and what is known of them elsewhere (metadata, another file)"
            ) from error

    def test_what_is_absent_is_not_found(self, storage: Storage, via: Sync | Async) -> None:
        path = path_in(storage)
        remedy = f"{name_of(storage)} must raise FileNotFoundError for what is not there: it is how a miss is told"
        with raising(FileNotFoundError, remedy=f"{via}load(): {remedy}"):
            via.load(storage, path)
        with raising(FileNotFoundError, remedy=f"{via}load() with a max_age: {remedy}"):
            via.load(storage, path, 60)
        with raising(FileNotFoundError, remedy=f"read() with a deadline: {remedy}"):
            storage.read(path, datetime.now(UTC))

    def test_a_second_store_replaces_the_first(self, storage: Storage, via: Sync | Async) -> None:
        path = path_in(storage)
        for body in (b"a long first value", b"second"):
            via.store(storage, entry_at(path, body), body)
            seen = bytes(via.load(storage, path).data)
            assert seen == body, (
                f"{name_of(storage)} gave {shown(seen)} after {shown(body)} was stored under the same path: "
                f"{via}store() must replace all that was there"
            )

    def test_entries_are_kept_apart_whatever_their_names(self, storage: Storage) -> None:
        paths = [
            path_in(storage, function, number, extension)
            for function in NAMES
            for number, extension in ((0, "json"), (1, "json"), (0, "hex.txt"))
        ]
        for path in paths:
            storage.write(path, path.encode())
        for path in paths:
            seen = storage.read(path, None)
            assert seen == path.encode(), (
                f"{name_of(storage)} gave for {path!r} what was stored under {seen.decode()!r}: each path is an entry "
                "of its own; change no letter of it, or change it so that it can be told back"
            )

    # --- Expiry.

    def test_an_entry_expires_by_its_age(self, storage: Storage) -> None:
        twins = _twins(storage)
        for path, via in twins.items():
            via.store(storage, entry_at(path), b"x")
        time.sleep(0.2)
        for path, via in twins.items():
            try:
                assert bytes(via.load(storage, path, 3600).data) == b"x"
            except CacheExpired as error:
                raise AssertionError(
                    f"{name_of(storage)}.{via}load() took an entry of 0.2 s for older than an hour: compare the time "
                    "of writing in seconds since the epoch, UTC"
                ) from error
            with raising(
                CacheExpired,
                remedy=f"{name_of(storage)}.{via}load(path, max_age) must raise CacheExpired for what is older than "
                "max_age seconds: 0.1, and this was 0.2 s old. Keep the time of writing with the bytes",
            ):
                via.load(storage, path, 0.1)

    def test_an_entry_expires_by_a_deadline(self, storage: Storage) -> None:
        path = path_in(storage)
        storage.write(path, b"x")
        now = datetime.now(UTC)
        try:
            assert storage.read(path, now - timedelta(hours=1)) == b"x"
        except CacheExpired as error:
            raise AssertionError(
                f"{name_of(storage)}.read() took an entry of this second for one that was written an hour ago: compare "
                "aware datetimes"
            ) from error
        with raising(
            CacheExpired,
            remedy=f"{name_of(storage)}.read(path, deadline) must raise CacheExpired for what was written before the "
            "deadline, an aware datetime",
        ):
            storage.read(path, now + timedelta(hours=1))

    def test_reading_does_not_make_younger(self, storage: Storage, via: Sync | Async) -> None:
        path = path_in(storage)
        via.store(storage, entry_at(path), b"x")
        time.sleep(0.05)
        after = datetime.now(UTC)
        time.sleep(0.05)
        via.load(storage, path)
        storage.read(path, None)
        with raising(
            CacheExpired,
            remedy=f"{name_of(storage)} took the time of the last reading for that of writing, so what is read often "
            "never expires: keep the two apart",
        ):
            storage.read(path, after)

    def test_storing_again_makes_fresh(self, storage: Storage) -> None:
        twins = _twins(storage)
        for path, via in twins.items():
            via.store(storage, entry_at(path), b"old")
        time.sleep(0.05)
        between = datetime.now(UTC)
        time.sleep(0.05 + self.resolution)
        for path, via in twins.items():
            via.store(storage, entry_at(path), b"new")
            try:
                assert storage.read(path, between) == b"new"
            except CacheExpired as error:
                raise AssertionError(
                    f"{name_of(storage)} kept the time of the first writing when the entry was stored again: the "
                    f"second {via}store() makes it fresh"
                ) from error

    def test_the_time_of_writing_comes_with_a_hit_or_is_left_out(self, storage: Storage, via: Sync | Async) -> None:
        path = path_in(storage)
        before = time.time()
        via.store(storage, entry_at(path), b"x")
        created = via.load(storage, path, 3600).created
        assert created is None or before - 2 <= created <= time.time() + 2, (
            f"{name_of(storage)}.{via}load() says created={created!r} for what was stored at {before:.0f}: it is the "
            "time of writing in seconds since the epoch, or None"
        )

    def test_the_compute_time_comes_with_a_hit_or_is_left_out(self, storage: Storage, via: Sync | Async) -> None:
        path = path_in(storage)
        via.store(storage, entry_at(path, compute_time=1.5), b"x")
        told = via.load(storage, path).compute_time
        assert told in (None, 1.5), (
            f"{name_of(storage)}.{via}load() says compute_time={told!r} where the entry said 1.5: give that, or None"
        )

    # --- What others do to it.

    def test_changed_bytes_are_damage_or_seen(self, storage: Storage, around: Around | None, via: Sync | Async) -> None:
        read, write = _both_ways(self, around)
        path = path_in(storage)
        via.store(storage, entry_at(path), b'{"price": 1000}')
        write(path, read(path).replace(b"1000", b"9000"))
        if self.verifies:
            with raising(
                DamagedEntry,
                remedy=f"{name_of(storage)}.{via}load() must raise DamagedEntry for bytes that were changed since they "
                "were stored: compare them with a digest, or declare verifies = False",
            ):
                via.load(storage, path)
            return
        seen = bytes(via.load(storage, path).data)
        assert seen.strip() == b'{"price": 9000}', (
            f"{name_of(storage)}.{via}load() gave {shown(seen)} after somebody else had stored other bytes: what a "
            "process keeps to itself must not answer for what others share"
        )

    def test_truncated_bytes_are_damage(self, storage: Storage, around: Around | None, via: Sync | Async) -> None:
        self.needs("verifies")
        read, write = _both_ways(self, around)
        path = path_in(storage)
        for size in (500, 0):
            via.store(storage, entry_at(path), BODIES["1 KB"])
            write(path, read(path)[:size])
            with raising(
                DamagedEntry,
                remedy=f"{name_of(storage)}.{via}load() must raise DamagedEntry for a value of 1,024 bytes of which "
                f"{size} are left: compare them with a digest, or declare verifies = False",
            ):
                via.load(storage, path)

    def test_a_reader_sees_one_writers_value_whole(self, open_storage: Callable[..., Storage]) -> None:
        storage, other = open_storage(), open_storage()
        path = path_in(storage)
        values = [bytes([n]) * 50_000 for n in range(8)]
        storage.write(path, values[0])
        torn: list[str] = []
        done = threading.Event()

        def write(value: bytes) -> None:
            for _ in range(10):
                (storage if value[0] % 2 else other).write(path, value)

        def read() -> None:
            while not done.is_set():
                try:
                    if (seen := storage.read(path, None)) not in values:
                        torn.append(f"read() gave {len(seen):,} bytes")
                    if self.lists:
                        torn.extend(
                            f"entries() gave {entry.path} of {entry.size:,} bytes"
                            for entry in storage.entries()
                            if (entry.path, entry.size) != (path, 50_000)
                        )
                except FileNotFoundError:
                    torn.append("read() raised FileNotFoundError")
                except DamagedEntry as error:
                    torn.append(f"read() raised DamagedEntry: {error}")

        with ThreadPoolExecutor(len(values) + 1) as pool:
            reading = pool.submit(read)
            try:
                for writing in [pool.submit(write, value) for value in values]:
                    writing.result()
            finally:
                done.set()
            reading.result()
        assert torn == [], (
            f"{name_of(storage)}: while values of 50,000 bytes replaced each other, {torn[0]}: readers must see the "
            "old value or the new one. Write aside (another name, a transaction), then put it in place in one step"
        )
        assert storage.read(path, None) in values

    # --- Richer forms.

    def test_many_are_looked_up_in_order(self, storage: Storage) -> None:
        paths = [path_in(storage, number=number) for number in range(8)]
        for path in paths[::2]:
            storage.write(path, path.encode())
        found = list(storage.load_many(paths))
        told = [type(one).__name__ if isinstance(one, Exception) else bytes(one.data).decode() for one in found]
        expected = ["FileNotFoundError" if number % 2 else path for number, path in enumerate(paths)]
        assert told == expected, (
            f"{name_of(storage)}.load_many() gave {told}: it must give what load() gives or raises for each path, in "
            "the order of the paths"
        )

    def test_a_copy_is_as_old_as_its_result(self, storage: Storage) -> None:
        path = path_in(storage)
        created = datetime.now(UTC) - timedelta(hours=1)
        kept = storage.fill(Entry(path, created, 1), b"x")
        if not kept:
            with raising(
                FileNotFoundError, remedy=f"{name_of(storage)}.fill() said that it kept no copy, but there is one"
            ):
                storage.load(path)
            return
        assert bytes(storage.load(path, 7200).data) == b"x"
        with raising(
            CacheExpired,
            remedy=f"{name_of(storage)}.fill() made a copy of an hour's age look new, so it would expire too late: "
            "keep entry.created as the time of writing, or give False and keep nothing",
        ):
            storage.load(path, 1800)

    def test_pieces_are_stored_as_one(self, storage: Storage) -> None:
        if not storage.zero_copy:
            pytest.skip(f"{name_of(storage)}.zero_copy is False")
        path = path_in(storage)
        storage.store(entry_at(path, b"onetwo"), Pieces([b"one", memoryview(b"two")]))  # type: ignore[arg-type]
        seen = bytes(storage.load(path, None, "buffer").data)  # type: ignore[call-arg]
        assert seen == b"onetwo", (
            f"{name_of(storage)} says zero_copy = True and made {shown(seen)} of the pieces b'one' and b'two': write "
            "all buffers of Pieces, in order, or leave zero_copy out"
        )


def _twins(storage: Storage) -> dict[str, Sync | Async]:
    """A path for each way to call it."""
    ways: tuple[Sync | Async, ...] = (Sync(), Async())
    return {path_in(storage, number=number): way for number, way in enumerate(ways)}


def _both_ways(tests: Place, around: Around | None) -> tuple[Callable[[str], bytes], Callable[[str, bytes], object]]:
    if around is None or around.write is None:
        pytest.skip(f"{type(tests).__name__} gives no way to write around its storage (Around.write)")
    return around.read, around.write
