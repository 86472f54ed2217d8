"""Tiers: read through, filled upward, written to all; none of them may cost a result, or keep an old one alive."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from perscache import Cache, CacheExpired
from perscache.entry import Entry, Stored, moment
from perscache.errors import ConfigurationError, DamagedEntry, PerscacheWarning, StorageError, TierError, Unsupported
from perscache.plugins import hookimpl
from perscache.storage import FileStorage, LocalFileStorage, MemoryStorage, Storage, configured_storage
from perscache.storage.base import Lock
from perscache.storage.remote import Found, Listed, Page, RemoteStorage
from perscache.storage.tiers import TieredStorage

PATH = "shop.prices/9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e.json"
OTHER = "shop.stock/0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a.json"


# --- Storages of a user's own.


class Far(Storage):
    """One that is asked for over a wire: it tells what it was asked, and fails on demand."""

    folders = True

    def __init__(self, name: str = "far", log: list[str] | None = None) -> None:
        self.name = name
        self.kept: dict[str, tuple[Entry, bytes]] = {}
        self.log: list[str] = [] if log is None else log
        self.trouble: Exception | None = None
        self.between: Callable[[], object] | None = None
        """Done once, after an entry was read and before it is handed out."""

    def _asked(self, what: str) -> None:
        self.log.append(f"{self.name} {what}")
        if self.trouble is not None:
            raise self.trouble

    @property
    def asked(self) -> list[str]:
        """What it was asked since the last time that this was looked at."""
        asked, self.log[:] = list(self.log), []
        return asked

    def read(self, path: str, deadline: datetime | None) -> bytes:
        raise AssertionError("calls use load()")

    def write(self, path: str, data: bytes) -> None:
        self.store(Entry(path, datetime.now(UTC), len(data)), data)

    def load(self, path: str, max_age: float | None = None) -> Stored:
        self._asked("load")
        try:
            entry, data = self.kept[path]
        except KeyError:
            raise FileNotFoundError(path) from None
        if max_age is not None and time.time() - entry.created.timestamp() > max_age:
            raise CacheExpired(path)
        if self.between is not None:
            between, self.between = self.between, None
            between()
        return Stored(data, entry.created.timestamp(), entry.compute_time, entry)

    def store(self, entry: Entry, data: bytes) -> None:
        self._asked("store")
        assert isinstance(data, bytes)
        self.kept[entry.path] = (entry, data)

    def peek(self, path: str) -> Entry | None:
        self._asked("peek")
        return self.kept[path][0] if path in self.kept else None

    def entries(self, function: str | None = None) -> Iterator[Entry]:
        self._asked("list")
        for path, (entry, _) in list(self.kept.items()):
            if function in {None, path.partition("/")[0]}:
                yield entry

    def delete(self, path: str) -> bool:
        self._asked("delete")
        return self.kept.pop(path, None) is not None

    def prune(self, max_age: float | None = None) -> int:
        self._asked("prune")
        old = [path for path, (entry, _) in self.kept.items() if max_age is not None and age(entry) > max_age]
        return sum(self.delete(path) for path in old)

    @property
    def identity(self) -> str:
        return self.name


class TwoMethods(Storage):
    """As the document has it."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[float, bytes]] = {}

    def read(self, path: str, deadline: datetime | None) -> bytes:
        try:
            written, data = self.kept[path]
        except KeyError:
            raise FileNotFoundError(path) from None
        if deadline is not None and written < deadline.timestamp():
            raise CacheExpired(path)
        return data

    def write(self, path: str, data: bytes) -> None:
        self.kept[path] = (time.time(), data)


class Attic(FileStorage):
    """Of the nine file operations."""

    def read_file(self, path):
        return path.read_bytes()

    def write_file(self, path, data):
        path.write_bytes(data)

    def ensure_path(self, path):
        path.mkdir(parents=True, exist_ok=True)

    def iterdir(self, path):
        return list(path.iterdir()) if path.is_dir() else []

    def rmdir(self, path):
        path.rmdir()

    def mtime(self, path):
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)

    def atime(self, path):
        return datetime.fromtimestamp(path.stat().st_atime, UTC)

    def size(self, path):
        return path.stat().st_size if path.is_file() else 0

    def delete(self, path):
        path.unlink()


def age(entry: Entry) -> float:
    return time.time() - entry.created.timestamp()


def entry_of(seconds: float, path: str = PATH, size: int = 1, **known: Any) -> Entry:
    """An entry that was made so many seconds ago."""
    return Entry(path, moment(time.time() - seconds), size, **known)


def put(storage: Storage, data: bytes, seconds: float = 0.0, path: str = PATH, **known: Any) -> None:
    """Let ``storage`` hold what was made so many seconds ago."""
    entry = entry_of(seconds, path, len(data), **known)
    if isinstance(storage, Far):
        storage.kept[path] = (entry, data)
    else:
        assert storage.fill(entry, data)


def held(storage: Storage, path: str = PATH) -> bytes | None:
    try:
        return bytes(storage.load(path).data)
    except FileNotFoundError:
        return None


@pytest.fixture
def memory() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def local(tmp_path: Path) -> LocalFileStorage:
    return LocalFileStorage(tmp_path / "local")


@pytest.fixture
def far() -> Far:
    return Far()


@pytest.fixture
def tiers(memory: MemoryStorage, local: LocalFileStorage, far: Far) -> TieredStorage:
    """Memory, local files, and something far away."""
    return TieredStorage([memory, local, far])


def load(storage: Storage, path: str = PATH, max_age: float | None = None) -> bytes:
    return bytes(storage.load(path, max_age).data)


def aload(storage: Storage, path: str = PATH, max_age: float | None = None) -> bytes:
    return bytes(asyncio.run(storage.aload(path, max_age)).data)


either = pytest.mark.parametrize("load", [load, aload], ids=["sync", "async"])


# --- Reading.


@either
def test_a_hit_in_an_upper_tier_asks_no_lower_one(tiers, memory, local, far, load):
    put(local, b"1")
    put(far, b"1")
    assert load(tiers) == b"1"
    assert load(tiers) == b"1"
    local.clear()
    assert load(tiers) == b"1"
    assert far.asked == []


@either
def test_what_a_lower_tier_has_is_copied_to_all_above(tiers, memory, local, far, load):
    put(far, b"1", compute_time=2.5, format="json", function="shop.prices", arguments="day=1", parts={"code": "c"})

    assert load(tiers) == b"1"
    assert far.asked == ["far load"]
    assert load(tiers) == b"1"
    assert far.asked == []

    for tier in (memory, local):
        assert tier.load(PATH).compute_time == 2.5
        known = tier.peek(PATH)
        assert (known.format, known.function, known.arguments, known.parts) == (
            "json",
            "shop.prices",
            "day=1",
            {"code": "c"},
        )


@either
def test_a_copy_is_as_old_as_its_original_in_every_tier(tiers, memory, local, far, load):
    put(far, b"1", seconds=1000)
    assert load(tiers, max_age=2000) == b"1"

    for tier in (memory, local, far, tiers):
        assert 999 < age(tier.peek(PATH)) < 1500
        assert 999 < age(next(iter(tier.entries()))) < 1500
        assert 999 < time.time() - tier.load(PATH).created < 1500
        with pytest.raises(CacheExpired):
            tier.load(PATH, 900)


@either
def test_what_is_fresher_below_replaces_what_is_expired_above(tiers, memory, local, far, load):
    put(memory, b"old", seconds=1000)
    put(local, b"old", seconds=1000)
    put(far, b"new", seconds=10)

    assert load(tiers, max_age=100) == b"new"

    assert (held(memory), held(local)) == (b"new", b"new")
    assert 9 < age(memory.peek(PATH)) < 500


@either
def test_what_is_expired_in_every_tier_is_expired(tiers, memory, local, far, load):
    put(memory, b"1", seconds=1000)
    put(far, b"1", seconds=1000)
    with pytest.raises(CacheExpired):
        load(tiers, max_age=100)
    with pytest.raises(FileNotFoundError):
        load(tiers, OTHER)


def test_a_copy_never_replaces_what_is_newer(memory, local):
    for tier in (memory, local):
        put(tier, b"new", seconds=10)
        assert tier.fill(entry_of(1000), b"old")
        assert held(tier) == b"new"
        assert tier.fill(entry_of(5), b"newer")
        assert held(tier) == b"newer"


def test_a_copy_replaces_what_seems_to_come_from_the_future(memory, local):
    # As a clock that was wrong leaves it: no time to live would ever find it fresh.
    for tier in (memory, local):
        put(tier, b"future", seconds=-1000)
        put(tier, b"1", seconds=10)
        assert held(tier) == b"1"


def test_a_damaged_file_above_is_set_aside_and_filled_again(tmp_path, memory, local, far):
    tiers = TieredStorage([local, far])
    put(local, b'{"a": 1}')
    put(far, b'{"a": 1}')
    file = local.location / PATH
    file.write_bytes(file.read_bytes().replace(b"1", b"2"))

    with pytest.warns(PerscacheWarning, match="aside") as told:
        assert load(tiers) == b'{"a": 1}'

    assert len(told) == 1
    assert held(local) == b'{"a": 1}'
    (aside,) = (local.location / ".state" / "aside").rglob("*.json")
    assert b'"a": 2' in aside.read_bytes()


def test_what_is_damaged_in_the_only_tier_that_has_it_is_damage(local, far):
    tiers = TieredStorage([local, far])
    put(local, b'{"a": 1}')
    file = local.location / PATH
    file.write_bytes(file.read_bytes().replace(b"1", b"2"))
    with pytest.raises(DamagedEntry, match="aside"):
        load(tiers)


@either
def test_a_tier_that_fails_while_another_has_it_is_told_of_once(memory, far, load):
    broken = Far("broken")
    broken.trouble = OSError(5, "I/O error")
    tiers = TieredStorage([broken, memory, far])
    put(far, b"1")

    with pytest.warns(PerscacheWarning, match=r"broken: read failed, the other tiers make up for it: OSError: .*I/O"):
        assert load(tiers) == b"1"
    assert load(tiers) == b"1"
    assert held(memory) == b"1"


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_lower_tier_that_fails_costs_a_run_and_one_warning(tiers, memory, local, far, colour):
    far.trouble = ConnectionError("no route to host")
    ran = []
    cached = Cache("json", tiers)

    def double(x):
        ran.append(x)
        return 2 * x

    async def adouble(x):
        return double(x)

    f = cached(double) if colour == "sync" else cached(adouble)

    def call(x):
        return f(x) if colour == "sync" else asyncio.run(f(x))

    with pytest.warns(PerscacheWarning) as told:
        assert [call(1), call(1), call(2), call(2)] == [2, 2, 4, 4]

    assert ran == [1, 2]
    assert sorted(str(warning.message).split(":")[1].split(",")[0] for warning in told) == [
        " read failed",
        " write failed",
    ]
    assert all("far: ConnectionError: no route to host" in str(warning.message) for warning in told)
    assert (f.cache_info().hits, f.cache_info().misses) == (2, 2)
    assert f.cache_info().errors >= 4


def test_with_on_error_raise_a_failing_tier_raises_after_the_others_did_their_work(tiers, memory, far):
    far.trouble = ConnectionError("no route to host")
    f = Cache("json", tiers, on_error="raise")(lambda x: 2 * x)
    with pytest.raises(TierError, match="far: ConnectionError: no route to host"):
        f(1)

    far.trouble = None
    f(1)
    far.trouble = ConnectionError("no route to host")
    assert f(1) == 2
    with pytest.raises(TierError) as caught:
        f.cache.refresh(1)
    assert caught.value.result == 2
    assert isinstance(caught.value.__cause__, ConnectionError)
    assert held(memory, f.cache.key(1)) == b"2"


def test_with_on_error_ignore_failing_tiers_are_silent(local, far):
    broken = Far("broken")
    broken.trouble = OSError(5, "I/O error")
    f = Cache("json", [broken, local, far], on_error="ignore")(lambda x: 2 * x)
    assert [f(1), f(1)] == [2, 2]
    assert f.cache_info().hits == 1


@either
def test_a_copy_that_cannot_be_made_costs_one_warning(memory, local, far, load):
    local._publisher.publish = _full
    tiers = TieredStorage([local, memory, far])
    put(far, b"1")
    with pytest.warns(PerscacheWarning) as told:
        assert [load(tiers), load(tiers)] == [b"1", b"1"]
    (warning,) = told
    assert str(warning.message).startswith(f"{local.identity}: fill failed, the other tiers make up for it: OSError")
    assert held(memory) == b"1"


def test_small_files_are_read_on_the_event_loop_and_memory_is_filled_there(memory, local):
    put(local, b"1")
    tiers = TieredStorage([memory, local])

    class NoThreads(ThreadPoolExecutor):
        def submit(self, *args, **kwargs):
            raise AssertionError("a thread was asked for")

    async def go() -> tuple[bytes, bytes]:
        asyncio.get_running_loop().set_default_executor(NoThreads())
        return bytes((await tiers.aload(PATH)).data), bytes((await tiers.aload(PATH)).data)

    assert asyncio.run(go()) == (b"1", b"1")
    assert held(memory) == b"1"


def test_results_of_unknown_age_are_copied_only_where_no_age_is_asked_for(memory):
    own = TwoMethods()
    cached = Cache("json", [memory, own])
    f = cached(lambda x: 2 * x)
    f(1)
    memory.clear()

    assert f(1) == 2
    assert held(memory, f.cache.key(1)) == b"2"
    memory.clear()
    assert f.cache.call(1).age is None
    assert f.cache.call(1).age is None  # from memory

    memory.clear()
    g = cached(ttl=3600, name=f.cache.builder.function_name)(f.__wrapped__)
    assert g.cache.key(1) == f.cache.key(1)
    assert g(1) == 2
    assert g.cache_info().hits == 1
    assert held(memory, g.cache.key(1)) is None


class Elsewhere(RemoteStorage):
    """A server whose clock is not ours."""

    schemes = ("elsewhere",)
    ahead = 0.0

    def __init__(self, location: str) -> None:
        super().__init__(location, lease=0)
        self.objects: dict[str, Listed] = {}
        self.bodies: dict[str, bytes] = {}

    def _get(self, name: str) -> Found:
        if name not in self.objects:
            raise FileNotFoundError(name)
        return Found(self.bodies[name], self.objects[name].created, time.time() + self.ahead, {}, "1")

    def _put(self, name: str, data: bytes, metadata: Mapping[str, str]) -> None:
        self.objects[name] = Listed(name, len(data), time.time() + self.ahead, "1", metadata)
        self.bodies[name] = data

    def _stat(self, name: str) -> Listed:
        return self.objects[name]

    def _list(self, prefix: str, token: str | None) -> Page:
        return Page([], None, time.time() + self.ahead)

    def _remove(self, name: str, generation: str | None) -> bool:
        return self.objects.pop(name, None) is not None

    def _no_bucket(self) -> str:
        return "there is one"


@pytest.mark.parametrize("ahead", [3600.0, -3600.0])
def test_copies_from_a_server_with_another_clock_are_as_old_as_the_server_says(memory, ahead):
    server = Elsewhere("bucket")
    server.ahead = ahead
    server.write(PATH, b"1")
    tiers = TieredStorage([memory, server])

    assert load(tiers, max_age=600) == b"1"
    assert load(memory, max_age=600) == b"1"
    server._put(PATH, b"1", {})
    server.objects[PATH] = server.objects[PATH]._replace(created=time.time() + ahead - 500)
    memory.clear()
    assert load(tiers, max_age=600) == b"1"
    with pytest.raises(CacheExpired):
        load(memory, max_age=400)


@pytest.mark.parametrize("how", ["map", "amap"])
def test_many_calls_ask_lower_tiers_for_the_missing_ones_only(memory, local, far, how):
    ran: list[int] = []

    @Cache("json", [memory, far])
    def double(x):
        ran.append(x)
        return 2 * x

    for x in range(5):
        put(memory, str(2 * x).encode(), path=double.cache.key(x))
    for x in range(5, 10):
        put(far, str(2 * x).encode(), path=double.cache.key(x))
    calls = [9, 0, 5, 1, 10, 6, 2, 7, 3, 8, 4]

    async def amap() -> list[int]:
        return [value async for value in double.cache.amap(calls)]

    results = list(double.cache.map(calls)) if how == "map" else asyncio.run(amap())

    assert results == [2 * x for x in calls]
    assert ran == [10]
    assert far.log.count("far load") == 5 + 2
    assert len(list(memory.entries())) == 11


def test_many_results_in_memory_need_no_thread(far):
    class Watched(MemoryStorage):
        def load(self, path: str, max_age: float | None = None) -> Stored:
            asked_in.append(threading.current_thread())
            return super().load(path, max_age)

    asked_in: list[threading.Thread] = []
    memory = Watched()
    paths = [f"f/{number:040x}.json" for number in range(100)]
    for path in paths:
        put(memory, path.encode(), path=path)
    found = list(TieredStorage([memory, far]).load_many(paths))
    assert [bytes(stored.data).decode() for stored in found] == paths
    assert set(asked_in) == {threading.main_thread()}


# --- Writing.


def astore(storage: Storage, entry: Entry, data: bytes) -> None:
    asyncio.run(storage.astore(entry, data))


both = pytest.mark.parametrize("store", [TieredStorage.store, astore], ids=["sync", "async"])


@both
def test_a_result_is_written_to_all_tiers(tiers, memory, local, far, store):
    store(tiers, entry_of(0, compute_time=1.5), b"1")
    assert [held(tier) for tier in (memory, local, far)] == [b"1", b"1", b"1"]
    assert [tier.load(PATH).compute_time for tier in (memory, local, far)] == [1.5, 1.5, 1.5]


@both
def test_a_tier_that_cannot_write_costs_the_others_nothing(memory, local, far, store):
    broken = Far("broken")
    tiers = TieredStorage([memory, broken, local, far])
    broken.trouble = OSError(28, "No space left on device")
    with pytest.raises(TierError, match=r"^broken: OSError: .*No space left on device$"):
        store(tiers, entry_of(0), b"1")
    assert [held(tier) for tier in (memory, local, far)] == [b"1", b"1", b"1"]


@both
def test_what_no_tier_could_write_is_not_stored_and_not_called_so(far, store):
    near = Far("near")
    near.trouble = far.trouble = OSError(28, "No space left on device")
    with pytest.raises(StorageError, match=r"near: OSError: .*; far: OSError: ") as caught:
        store(TieredStorage([near, far]), entry_of(0), b"1")
    assert not isinstance(caught.value, TierError)


@both
def test_what_is_too_large_for_a_tier_goes_to_the_others_in_silence(tmp_path, far, store):
    memory, local = MemoryStorage("10B"), LocalFileStorage(tmp_path / "small", "100B")
    tiers = TieredStorage([memory, local, far])
    for size, expected in ((10, [10, 10, 10]), (100, [0, 100, 100]), (101, [0, 0, 101])):
        store(tiers, entry_of(0), b"x" * size)
        assert [len(held(tier) or b"") for tier in (memory, local, far)] == expected
        assert load(tiers) == b"x" * size
        assert [len(held(tier) or b"") for tier in (memory, local, far)] == expected


def test_what_is_too_large_for_all_tiers_is_not_stored():
    tiers = TieredStorage([MemoryStorage("10B"), MemoryStorage("20B")])
    f = Cache("json", tiers)(lambda x: "x" * x)
    with pytest.warns(PerscacheWarning, match=r"not stored: StorageError: .* is 22 bytes, more than max_size of any"):
        assert f(20) == "x" * 20


@both
def test_a_failed_write_leaves_no_older_result_in_front_of_the_new_one(memory, local, far, store):
    tiers = TieredStorage([local, far])
    store(tiers, entry_of(0), b"old")
    publish, local._publisher.publish = local._publisher.publish, _full
    with pytest.raises(TierError):
        store(tiers, entry_of(0), b"new")
    local._publisher.publish = publish
    assert load(tiers) == b"new"


def _full(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def test_whoever_is_interrupted_while_a_far_tier_is_slow_has_the_result_near_by(tiers, memory, local, far):
    far.trouble = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        tiers.store(entry_of(0), b"1")
    assert [held(memory), held(local)] == [b"1", b"1"]


def test_a_partly_stored_result_is_told_of_as_stored(tiers, far):
    far.trouble = ConnectionError("no route to host")
    stored = []

    class Watcher:
        @hookimpl
        def perscache_store(self, call, entry):
            stored.append(entry.path)

    f = Cache("json", tiers, observers=[Watcher()])(lambda x: x)
    with pytest.warns(PerscacheWarning) as told:
        f(1)
    assert "the result is returned, and stored in the other tiers: TierError" in str(told[1].message)
    assert stored == [f.cache.key(1)]


def test_large_values_go_to_files_as_they_lie_and_elsewhere_as_bytes(tmp_path, memory, local, far):
    numpy = pytest.importorskip("numpy")
    f = Cache(storage=[memory, local, far])(numpy.arange)
    expected = numpy.arange(300_000)
    assert (f(300_000) == expected).all()
    memory.clear()
    assert (f(300_000) == expected).all()
    assert len(held(memory, f.cache.key(300_000))) > 2_000_000
    local.clear()
    memory.clear()
    assert (f(300_000) == expected).all()
    assert f.cache_info().misses == 1
    assert held(local, f.cache.key(300_000)) == held(far, f.cache.key(300_000))


# --- Removing.


def test_removing_reaches_all_tiers_from_the_bottom_up(memory):
    log: list[str] = []
    near, far = Far("near", log), Far("far", log)
    tiers = TieredStorage([near, memory, far])
    tiers.store(entry_of(0), b"1")
    log.clear()

    assert tiers.delete(PATH)
    assert log == ["far delete", "near delete"]
    assert held(memory) is None
    assert not tiers.delete(PATH)


def test_entries_are_counted_and_not_their_copies(tiers, memory, local, far):
    for path in (PATH, OTHER):
        tiers.store(entry_of(0, path), b"1")
    put(memory, b"1", path="shop.prices/0b0b0b0b.json")
    far.delete(OTHER)

    assert len(list(tiers.entries())) == 3
    assert tiers.clear("shop.prices") == 2
    assert [entry.path for tier in (memory, local, far) for entry in tier.entries()] == [OTHER, OTHER]
    assert tiers.clear() == 1
    assert tiers.clear() == 0


def test_pruning_counts_what_is_in_no_tier_any_more(tmp_path, far):
    memory = MemoryStorage(max_entries=1)
    tiers = TieredStorage([memory, far])
    put(far, b"1", seconds=1000)
    put(far, b"1", seconds=10, path=OTHER)
    load(tiers)

    assert tiers.prune(100) == 1
    assert [entry.path for entry in tiers.entries()] == [OTHER]
    assert tiers.prune() == 0


def test_a_tier_that_cannot_remove_is_told_of_when_the_others_have(tiers, memory, local, far):
    tiers.store(entry_of(0), b"1")
    far.trouble = ConnectionError("no route to host")
    with pytest.raises(TierError, match="far: ConnectionError"):
        tiers.delete(PATH)
    assert (held(memory), held(local)) == (None, None)

    own = TwoMethods()
    tiers = TieredStorage([memory, own])
    tiers.write(PATH, b"1")
    with pytest.raises(Unsupported, match="TwoMethods cannot delete"):
        tiers.delete(PATH)
    assert held(memory) is None


CHANGES: dict[str, Callable[[TieredStorage], object]] = {
    "deleted": lambda tiers: tiers.delete(PATH),
    "cleared": lambda tiers: tiers.clear(),
    "of its function cleared": lambda tiers: tiers.clear("shop.prices"),
}


@either
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_result_removed_while_it_is_on_its_way_up_does_not_come_back(tiers, memory, local, far, change, load):
    put(far, b"1")
    far.between = lambda: change(tiers)
    assert load(tiers) == b"1"
    assert [held(tier) for tier in (memory, local, far)] == [None, None, None]


@either
def test_a_result_replaced_while_the_old_one_is_on_its_way_up_stays_replaced(tiers, memory, local, far, load):
    # By another clock the old one is even younger.
    put(far, b"old", seconds=-4)
    far.between = lambda: tiers.store(entry_of(0), b"new")
    assert load(tiers) == b"old"
    assert load(tiers) == b"new"
    assert b"old" not in (held(memory), held(local))


def test_a_result_read_while_it_is_being_removed_does_not_come_back(memory, local):
    read, removed = threading.Event(), threading.Event()

    class Overtaken(Far):
        def delete(self, path: str) -> bool:
            reader.start()
            assert read.wait(60)
            return super().delete(path)

    far = Overtaken()
    tiers = TieredStorage([memory, local, far])
    put(far, b"1")
    far.between = lambda: (read.set(), removed.wait(60))
    reader = threading.Thread(target=tiers.load, args=(PATH,))
    assert tiers.delete(PATH)
    removed.set()
    reader.join()
    assert held(tiers) is None


class Slow(LocalFileStorage):
    """Files that take a copy only when they are told to."""

    def __init__(self, location: Path) -> None:
        super().__init__(location)
        self.asked, self.told = threading.Event(), threading.Event()

    def fill(self, entry: Entry, data: bytes) -> bool:
        self.asked.set()
        assert self.told.wait(60)
        return super().fill(entry, data)


def test_a_copy_whose_caller_was_cancelled_is_taken_out_again_if_it_has_to(tmp_path, far):
    slow = Slow(tmp_path / "slow")
    tiers = TieredStorage([slow, far])
    put(far, b"1")

    async def go() -> None:
        reading = asyncio.create_task(tiers.aload(PATH))
        assert await asyncio.to_thread(slow.asked.wait, 60)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        tiers.delete(PATH)
        slow.told.set()

    asyncio.run(go())
    assert held(tiers) is None


def test_a_copy_whose_caller_was_cancelled_before_it_began_is_made_all_the_same(tmp_path, local, far):
    tiers = TieredStorage([local, far])
    put(far, b"1")
    submitted: list[object] = []
    free = threading.Event()

    class OneThread(ThreadPoolExecutor):
        def submit(self, work, /, *args, **kwargs):
            submitted.append(work)
            return super().submit(work, *args, **kwargs)

    async def go() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(OneThread(1))
        # When the result is there, the only thread has something else to do first.
        far.between = lambda: loop.call_soon_threadsafe(loop.run_in_executor, None, free.wait, 60)
        reading = asyncio.create_task(tiers.aload(PATH))
        while len(submitted) < 3:  # noqa: ASYNC110 -- to wait in a thread would take the only one
            await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert held(local) is None
        free.set()

    asyncio.run(go())
    assert held(local) == b"1"


def test_a_change_of_another_entry_voids_no_copy(tiers, memory, far):
    put(far, b"1")
    far.between = lambda: (tiers.delete(OTHER), tiers.write(OTHER, b"2"))
    load(tiers)
    assert held(memory) == b"1"


def test_threads_that_read_and_remove_never_leave_the_old_result_behind(tmp_path):
    tiers = TieredStorage([MemoryStorage(), LocalFileStorage(tmp_path / "a"), LocalFileStorage(tmp_path / "b")])
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            held(tiers)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for number in range(60):
            tiers.write(PATH, str(number).encode())
            assert held(tiers) == str(number).encode()
            tiers.delete(PATH)
            # What was on its way at that moment is taken out again at once.
            assert eventually(lambda: held(tiers) is None)
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert [held(tier) for tier in tiers.tiers] == [None, None, None]


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.001)
    return False


def test_what_another_process_has_in_memory_lasts_until_it_expires(tmp_path):
    here, there = (TieredStorage([MemoryStorage(), LocalFileStorage(tmp_path / "shared")]) for _ in range(2))
    put(here.tiers[1], b"1", seconds=1000)
    assert (load(here), load(there)) == (b"1", b"1")

    here.delete(PATH)

    assert held(here) is None
    assert load(there, max_age=2000) == b"1"
    with pytest.raises(CacheExpired):
        load(there, max_age=900)


# --- Locks.


class Turn(Lock):
    """A lock that says ``answers``, one after the other; exceptions are raised."""

    def __init__(self, name: str, log: list[str], *answers: bool | BaseException | None) -> None:
        self._name, self._log, self._answers = name, log, list(answers)

    def acquire(self, held):
        self._log.append(f"ask {self._name}")
        answer = self._answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def aacquire(self, held):
        return self.acquire(held)

    def release(self) -> None:
        self._log.append(f"release {self._name}")


class Locking(Far):
    """A storage with such locks."""

    def __init__(self, name: str, log: list[str], *answers: bool | BaseException | None) -> None:
        super().__init__(name)
        self._turn = Turn(name, log, *answers)

    def lock(self, path: str) -> Lock:
        return self._turn


def test_one_lock_of_several_tiers_is_used_as_it_is(memory, far):
    assert TieredStorage([memory, far]).lock(PATH) is None
    locking = Locking("lease", [], True)
    assert TieredStorage([memory, far, locking]).lock(PATH) is locking.lock(PATH)


@pytest.mark.parametrize("how", ["sync", "async"])
def test_locks_of_several_tiers_are_held_together_in_one_order(how):
    log: list[str] = []
    near, far = Locking("near", log, True), Locking("far", log, None, None, True)
    near.local = True
    lock = TieredStorage([far, near]).lock(PATH)
    assert (lock.acquire(()) if how == "sync" else asyncio.run(lock.aacquire(()))) is True
    lock.release()
    lock.release()
    assert log == ["ask near", "ask far", "ask far", "ask far", "release far", "release near"]


def test_a_lock_that_cannot_be_had_is_done_without():
    log: list[str] = []
    near, far = Locking("near", log, False), Locking("far", log, True)
    lock = TieredStorage([near, far]).lock(PATH)
    assert lock.acquire(()) is True
    lock.release()
    assert log[-1] == "release far"

    tiers = TieredStorage([Locking("a", log, True), Locking("b", log, StorageError("may not write here"))])
    lock = tiers.lock(PATH)
    with pytest.warns(PerscacheWarning, match="b: lock failed"):
        assert lock.acquire(()) is True
    lock.release()

    lock = TieredStorage([Locking("a", log, False), Locking("b", log, StorageError("may not write here"))]).lock(PATH)
    with pytest.raises(StorageError, match="may not write here"):
        lock.acquire(())


def test_who_is_interrupted_while_waiting_for_one_lock_gives_back_the_others():
    log: list[str] = []
    lock = TieredStorage([Locking("a", log, True), Locking("b", log, KeyboardInterrupt())]).lock(PATH)
    with pytest.raises(KeyboardInterrupt):
        lock.acquire(())
    assert log == ["ask a", "ask b", "release a"]


TWICE = """
import os, sys, time
from pathlib import Path
from perscache import Cache

cache = Cache("json", ["memory://", "near", "far"], track="source")

@cache(name="slow")
def slow(x):
    fd = os.open("runs", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, b"run\\n")
    os.close(fd)
    time.sleep(0.3)
    return x

Path(f"here-{os.getpid()}").touch()
while len(list(Path().glob("here-*"))) < 3:
    time.sleep(0.001)
print(slow(3))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the locks of Windows are polled, and tested elsewhere")
def test_processes_that_share_tiers_compute_once():
    Path("script.py").write_text(TWICE)
    running = [subprocess.Popen([sys.executable, "script.py"], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate(timeout=60)[0] for process in running] == ["3\n"] * 3
    assert Path("runs").read_text() == "run\n"


# --- Looking.


def test_entries_of_several_tiers_are_listed_once_with_all_that_is_known(tiers, memory, local, far):
    put(far, b"1", seconds=100, arguments="x=1", function="shop.prices")
    put(far, b"1", seconds=50, path=OTHER)
    # Memory that was filled by files knows no more than age and size.
    assert memory.fill(entry_of(100, compute_time=3.0), b"1")

    found = {entry.path: entry for entry in tiers.entries()}

    assert len(list(tiers.entries())) == len(found) == 2
    assert (found[PATH].arguments, found[PATH].function, found[PATH].compute_time) == ("x=1", "shop.prices", 3.0)
    assert tiers.peek(PATH) == found[PATH]
    assert tiers.peek("shop.prices/0b0b0b0b.json") is None
    assert [entry.path for entry in tiers.entries("shop.stock")] == [OTHER]


def test_a_listing_is_streamed(memory):
    class Endless(Far):
        def entries(self, function: str | None = None) -> Iterator[Entry]:
            number = 0
            while True:
                yield entry_of(0, f"f/{number:040x}.json")
                number += 1

    tiers = TieredStorage([memory, Endless()])
    put(memory, b"1", arguments="x=1")
    paths = [entry.path for entry in islice(tiers.entries(), 10_000)]
    assert paths[0] == PATH
    assert len(set(paths)) == 10_000


def test_looking_asks_lower_tiers_only_for_what_upper_ones_do_not_know(tiers, memory, far):
    put(memory, b"1", arguments="x=1")
    assert tiers.peek(PATH).arguments == "x=1"
    assert tiers.holds(PATH, 60)
    assert far.asked == []
    assert not tiers.holds(OTHER)


def test_what_is_fresh_in_a_lower_tier_is_contained(tiers, memory, far):
    cached = Cache("json", tiers, ttl=100)
    f = cached(lambda x: x)
    path = f.cache.key(1)
    put(memory, b"1", seconds=1000, path=path)
    assert not f.cache_contains(1)
    put(far, b"1", seconds=10, path=path)
    assert f.cache_contains(1)


def test_a_tier_that_fails_does_not_hide_what_the_others_have(tiers, memory, local, far):
    tiers.store(entry_of(0, arguments="x=1"), b"1")
    far.trouble = ConnectionError("no route to host")
    assert tiers.peek(PATH) is not None
    assert tiers.holds(PATH)
    with pytest.warns(PerscacheWarning, match="far: look failed"):
        assert tiers.peek(OTHER) is None
    listing = tiers.entries()
    assert next(listing).path == PATH
    with pytest.raises(TierError, match="far: ConnectionError"):
        next(listing)


def test_what_a_storage_of_two_methods_cannot_tell_is_not_made_up(memory):
    f = Cache("json", [memory, TwoMethods()])(lambda x: x)
    f(1)
    assert f.cache.peek(1) is not None
    memory.clear()
    assert f.cache_contains(1)
    assert not f.cache_contains(2)
    memory.clear()
    with pytest.raises(Unsupported, match="TwoMethods cannot look"):
        f.cache.peek(1)
    with pytest.raises(Unsupported, match="TwoMethods cannot list"):
        list(f.cache.entries())
    assert f.cache_info().currsize is None


def test_every_copy_is_inspected(local, far, tmp_path):
    other = LocalFileStorage(tmp_path / "other")
    tiers = TieredStorage([local, other])
    tiers.write(PATH, b'{"a": 1}')
    assert tiers.inspect(PATH) == (b'{"a": 1}', True)
    assert TieredStorage([local, far]).inspect(PATH) == (b'{"a": 1}', True)
    put(far, b'{"a": 1}')
    assert TieredStorage([local, far]).inspect(PATH) == (b'{"a": 1}', False)
    file = other.location / PATH
    file.write_bytes(file.read_bytes().replace(b"1", b"2"))
    with pytest.raises(DamagedEntry, match="other"):
        tiers.inspect(PATH)
    with pytest.raises(FileNotFoundError):
        tiers.inspect(OTHER)


def test_who_listens_hears_of_every_tier_once(memory, local):
    heard: list[tuple[str, str]] = []

    class Watcher:
        @hookimpl
        def perscache_evict(self, storage, entry, reason):
            heard.append((type(storage).__name__, reason))

    watcher = Watcher()
    small = MemoryStorage(max_entries=1)
    f = Cache("json", [small, local], observers=[watcher])(lambda x: x)
    g = Cache("json", small, observers=[watcher])(lambda x: x + 1)
    f(1)
    assert f(2) == 2
    assert heard == [("MemoryStorage", "limit")]
    f.cache_invalidate(2)
    assert heard[1:] == [("LocalFileStorage", "invalidated"), ("MemoryStorage", "invalidated")]
    g(1)
    small.clear()
    assert heard[3:] == [("MemoryStorage", "cleared")]


def test_listeners_can_be_taken_away_again(memory, local):
    heard: list[str] = []
    kept = lambda *_: heard.append("kept")  # noqa: E731
    memory.listeners = (kept,)
    tiers = TieredStorage([memory, local])
    tiers.listeners += (lambda *_: heard.append("taken away"),)
    assert tiers.watched
    tiers.listeners = ()
    assert not tiers.watched
    tiers.write(PATH, b"1")
    tiers.delete(PATH)
    assert heard == ["kept"]


def test_statistics_lie_in_the_first_tier_that_keeps_them(memory, local, far):
    assert TieredStorage([memory, far, local]).ledger() == local.ledger()
    assert TieredStorage([memory, far]).ledger() is None


# --- Accepted edits.


EDITED = """
from perscache import Cache
import sys

cache = Cache("json", ["memory://", sys.argv[1], "shared"], track="source")

@cache(name="shop.price")
def price(day):
    print("ran", end=" ")
    return {value}

{then}
"""


def test_an_edit_accepted_on_one_machine_is_accepted_and_taken_back_on_all():
    def run(machine: str, then: str, value: str = "1") -> str:
        Path("script.py").write_text(EDITED.format(value=value, then=then))
        done = subprocess.run(
            [sys.executable, "script.py", machine], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("here", "print(price(1))") == "ran 1\n"
    assert run("there", "print(price(1))") == "1\n"
    assert run("here", "print(price.cache.accept(), price(1))", "0 + 1") == "1 1\n"
    assert run("there", "print(price(1))", "0 + 1") == "1\n"
    assert run("there", "print(price.cache.accept(undo=True), price(1))", "0 + 1") == "ran 1 1\n"
    # The machine that accepted it has a record of its own, which counts no more.
    assert run("here", "print(price(2))", "0 + 1") == "ran 1\n"
    assert run("here", "print(price.cache.explain(1).accepted)", "0 + 1") == "False\n"


def test_an_accepted_edit_counts_while_the_shared_tier_fails(local, far):
    cached = Cache("json", [local, far], track="source")
    f = cached(name="f")(lambda x: 2 * x)
    f(1)
    cached(name="f")(lambda x: x * 2).cache.accept()
    far.trouble = ConnectionError("no route to host")
    again = cached(name="f")(lambda x: x * 2)
    with pytest.warns(PerscacheWarning, match="far: ConnectionError"):
        assert again(1) == 2
    assert again.cache_info().hits == 1


def test_an_edit_is_accepted_here_where_a_tier_cannot_record_it(local, far):
    cached = Cache("json", [local, far], track="source")
    cached(name="f")(lambda x: 2 * x)(1)
    g = cached(name="f")(lambda x: x * 2)
    store, far.store = far.store, _full
    with pytest.raises(TierError):
        g.cache.accept()
    far.store = store
    assert g(1) == 2
    assert g.cache_info().hits == 1


# --- Storages without folders.


def test_a_storage_without_folders_is_a_tier_under_the_paths_that_it_has_alone(memory, tmp_path):
    def double(x):
        return 2 * x

    for own in (TwoMethods(), Attic(tmp_path / "attic")):
        alone = Cache("json", own)(double)
        alone(1)
        f = Cache("json", [MemoryStorage(), own])(double)
        assert f.cache.key(1).replace("/", "-") == alone.cache.key(1)
        assert f(1) == 2
        f(2)
        assert alone(2) == 4
        assert (f.cache_info().hits, alone.cache_info().hits) == (1, 1)


def test_a_storage_without_folders_offers_as_a_tier_what_it_offers_alone(tmp_path):
    attic = Attic(tmp_path / "attic")
    f = Cache("json", [MemoryStorage(), attic])(lambda x: x)
    f(1)
    f(2)
    key = f.cache.key(1)
    assert sorted(entry.path for entry in f.cache.entries()) == sorted([key, f.cache.key(2)])
    assert TieredStorage([attic, MemoryStorage()]).peek(key).path == key
    assert f.cache.peek(1).path == key
    assert f.cache_invalidate(1)
    assert len(list(attic.entries())) == 1
    f.cache_clear()
    assert list(attic.entries()) == []


# --- Being one storage.


def test_a_list_means_tiers(tmp_path):
    cache = Cache(storage=["memory://?max_size=256MB", tmp_path / "a", LocalFileStorage(tmp_path / "b")])
    tiers = cache.storage
    assert isinstance(tiers, TieredStorage)
    assert [type(tier).__name__ for tier in tiers.tiers] == ["MemoryStorage", "LocalFileStorage", "LocalFileStorage"]
    assert tiers.tiers[0].max_size == 256_000_000
    assert tiers.max_size is None
    assert tiers.local
    assert not TieredStorage([MemoryStorage(), Far()]).local
    assert repr(tiers).startswith("TieredStorage([MemoryStorage(name='', max_size=256000000), LocalFileStorage('/")
    # What is only in this process is no place that others see.
    assert tiers.identity == f"file:{tmp_path / 'a'}, file:{tmp_path / 'b'}"
    assert TieredStorage([MemoryStorage(name="x"), MemoryStorage(name="y")]).identity == "memory:x, memory:y"
    above = Cache(storage=("memory://", tiers))
    assert [type(tier).__name__ for tier in above.storage.tiers].count("MemoryStorage") == 2
    assert isinstance(Cache(storage=[tmp_path / "a"], max_size="1GB").storage, LocalFileStorage)


def test_a_function_can_have_tiers_of_its_own(tmp_path):
    f = Cache("json", "memory://")(storage=["memory://", tmp_path / "own"])(lambda x: x)
    f(1)
    assert (tmp_path / "own" / f.cache.key(1)).is_file()
    assert f.cache_parameters()["storage"] == f"file:{tmp_path / 'own'}"


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ([], "name tiers, the nearest first"),
        ([".cache", "memory://", "file://.cache"], "is more than one of the tiers"),
        (["memory://", [".cache"]], "holds no lists: write one list"),
        (["memory://", 3], "storage=3: it takes a path"),
        (["memory://?max_sise=1", ".cache"], "did you mean 'max_size'"),
    ],
)
def test_a_list_without_meaning_is_refused(storage, message):
    with pytest.raises(ConfigurationError, match=message):
        Cache(storage=storage)


def test_a_limit_for_several_tiers_is_refused(monkeypatch):
    with pytest.raises(ConfigurationError, match=r"does not say which tier .*such as 'memory://\?max_size=1GB'"):
        Cache(storage=["memory://", ".cache"], max_size="1GB")
    monkeypatch.setenv("PERSCACHE_MAX_SIZE", "2GB")
    with pytest.raises(ConfigurationError, match="does not say which tier"):
        Cache(storage=["memory://", ".cache"])


def test_a_file_can_give_tiers_whose_paths_start_there(monkeypatch):
    Path("perscache.toml").write_text('storage = ["memory://?max_size=1MB", "kept", "~/team"]\n')
    here = Path.cwd()
    (here / "below").mkdir()
    monkeypatch.chdir(here / "below")
    memory, kept, team = Cache().storage.tiers
    assert (memory.max_size, kept.location, team.location) == (1_000_000, here / "kept", Path("~/team").expanduser())
    (here / "perscache.toml").write_text("storage = [1]\n")
    with pytest.raises(ConfigurationError, match=r"perscache.toml: storage = \[1\]: the tiers in it are to be paths"):
        Cache()


def test_the_environment_can_give_tiers_as_json(monkeypatch):
    monkeypatch.setenv("PERSCACHE_STORAGE", '["memory://", ".cache"]')
    assert [type(tier).__name__ for tier in configured_storage().tiers] == ["MemoryStorage", "LocalFileStorage"]
    for text in ('["memory://", ".cache"', '[1, ".cache"]'):
        monkeypatch.setenv("PERSCACHE_STORAGE", text)
        with pytest.raises(ConfigurationError, match=r"PERSCACHE_STORAGE=.*write it as JSON"):
            Cache()


def test_a_pickled_copy_has_the_same_tiers_and_nothing_in_memory(memory, local):
    tiers = TieredStorage([memory, local], quiet=True)
    tiers.listeners = (print,)
    tiers.write(PATH, b"1")
    copy = pickle.loads(pickle.dumps(tiers))
    assert (copy.identity, copy.quiet, copy.listeners) == (tiers.identity, True, ())
    assert held(copy.tiers[0]) is None
    assert held(copy) == b"1"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_fills_what_its_parent_was_changing(memory, local, far):
    tiers = TieredStorage([memory, far])
    put(far, b"1")
    with tiers._fills.changing(PATH):
        child = os.fork()
        if not child:
            load(tiers)
            os._exit(0 if held(memory) == b"1" else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_goes_on_with_the_same_tiers(memory, local):
    tiers = TieredStorage([memory, local])
    tiers.write(PATH, b"1")
    child = os.fork()
    if not child:
        good = held(tiers) == b"1"
        tiers.write(PATH, b"2")
        os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert (held(memory), held(local)) == (b"1", b"2")


def test_all_modes_and_colours_of_calls_work_on_tiers(memory, local, far):
    cache = Cache("json", [memory, local, far], on_error="raise")
    ran = []

    @cache
    def double(x):
        ran.append(x)
        return 2 * x

    @cache
    def count(x):
        ran.append(x)
        yield from range(x)

    assert [double(1), double(1)] == [2, 2]
    assert [list(count(3)), list(count(3))] == [[0, 1, 2]] * 2
    with cache.mode("refresh"):
        double(1)
    with cache.mode("offline"):
        assert double(1) == 2
    with cache.mode("readonly"):
        double(5)
        memory.clear()
        assert double(1) == 2
    assert ran == [1, 3, 1, 5]
    assert held(far, double.cache.key(5)) is None
    # What is there already may come nearer in every mode.
    assert held(memory, double.cache.key(1)) == b"2"
    double.cache.put(7, 1)
    assert [json.loads(held(tier, double.cache.key(1))) for tier in (memory, local, far)] == [7, 7, 7]
    assert double.cache_invalidate(1)
    assert double.cache.explain(1).reason == "absent"


def test_the_terminal_works_on_configured_tiers():
    Path("perscache.toml").write_text('storage = ["memory://?max_size=1MB", "near", "far"]\n')
    f = Cache("json")(name="shop.prices")(lambda day: [1, 2, 3])
    f("Monday")
    f("Tuesday")
    LocalFileStorage("near").delete(f.cache.key("Monday"))

    def perscache(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "perscache", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    listed = [json.loads(line) for line in perscache("ls", "--json").splitlines()]
    assert sorted(entry["path"] for entry in listed) == sorted([f.cache.key("Monday"), f.cache.key("Tuesday")])
    shown = json.loads(perscache("show", f.cache.key("Monday"), "--json"))
    assert (shown["arguments"], shown["seal"]) == ("day='Monday'", "intact")
    assert shown["file"] == str(Path("far").absolute() / f.cache.key("Monday"))
    assert json.loads(perscache("show", f"near/{f.cache.key('Tuesday')}", "--json"))["arguments"] == "day='Tuesday'"
    assert "2 ok" in perscache("verify")
    assert json.loads(perscache("prune", "--older-than", "1d", "-y", "--json"))["entries"] == 0
    assert json.loads(perscache("clear", "-y", "--json"))["entries"] == 2
    assert perscache("ls", "--json") == ""
    assert [list(LocalFileStorage(folder).entries()) for folder in ("near", "far")] == [[], []]
