"""What lies in the database, and what is known of it."""

from __future__ import annotations

import os
import pickle
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from perscache import Cache
from perscache.entry import Entry
from perscache.errors import CacheExpired, DamagedEntry, StorageError
from perscache_redis import RedisStorage
from perscache_redis import storage as module

if TYPE_CHECKING:
    from redis import Redis

PATH = "f/0123456789abcdef0123456789abcdef.json"
OTHER = "f/fedcba9876543210fedcba9876543210.json"
YEAR = 365 * 86_400_000


def key(storage: RedisStorage, path: str = PATH) -> str:
    return f"{storage.prefix}/{path}"


@pytest.mark.parametrize("data", [b"", os.urandom(1000), b"\n--==0==--\n", os.urandom(20_000_000)], ids=len)
def test_bytes_come_back_as_they_were(storage: RedisStorage, data: bytes):
    storage.write(PATH, data)

    assert storage.load(PATH).data == data


def test_a_key_holds_what_is_known_and_then_what_the_serializer_wrote(storage: RedisStorage, bare: Redis):
    @Cache("json", storage)
    def f(x):
        return [x]

    f(1)

    line, _, body = bare.get(key(storage, f.cache.key(1))).partition(b"\n")
    assert body.strip() == b"[1]"
    assert line.startswith(b"perscache ")
    assert b"x=1" in line


def test_what_is_known_of_an_entry_is_kept_with_it(storage: RedisStorage):
    storage.store(
        Entry(PATH, datetime.now(UTC), 1, compute_time=0.125, format="json", function="app.f", arguments="x='ключ'"),
        b"x",
    )

    (listed,) = storage.entries()
    peeked = storage.peek(PATH)

    assert peeked is not None
    assert (listed.path, listed.size, listed.arguments) == (peeked.path, peeked.size, peeked.arguments)
    assert (listed.compute_time, listed.format, listed.function) == (0.125, "json", "app.f")
    assert (listed.size, listed.arguments) == (1, "x='ключ'")
    assert abs((listed.created - datetime.now(UTC)).total_seconds()) < 60


def test_the_longest_that_can_be_known_of_an_entry_is_kept_whole(storage: RedisStorage):
    quotes = Entry(PATH, datetime.now(UTC), 1, format='"' * 999, function='"' * 999, arguments='"\\' * 999)
    storage.store(quotes, b"x" * 10_000)

    assert [entry.size for entry in storage.entries()] == [10_000]
    assert storage.load(PATH).data == b"x" * 10_000


def test_clearing_removes_what_is_ours_and_nothing_else(storage: RedisStorage, bare: Redis):
    foreign = [
        key(storage, OTHER),
        key(storage, OTHER.replace("json", "txt")),
        f"{key(storage)}-not",
        f"x{key(storage)}",
    ]
    for name in foreign:
        bare.set(name, b"perscache mine\nx")
    bare.rpush(key(storage, "f/list"), b"mine")
    storage.write(PATH, b"1")
    storage.write(PATH.replace("f/", "g/"), b"2")

    assert [entry.path for entry in storage.entries("f")] == [PATH]
    assert storage.clear("f") == 1
    assert storage.clear() == 1
    assert bare.mget(foreign) == [b"perscache mine\nx"] * 4
    assert bare.llen(key(storage, "f/list")) == 1


def test_what_a_prefix_spells_is_no_pattern(redis_url: str):
    pattern, other = RedisStorage(f"{redis_url}[ab]"), RedisStorage(f"{redis_url}a")
    pattern.write(PATH, b"1")
    other.write(PATH, b"2")

    assert pattern.clear() == 1
    assert other.load(PATH).data == b"2"


def test_an_entry_that_was_written_again_after_it_was_listed_stays(storage: RedisStorage):
    storage.write(PATH, b"old")
    (listed,) = storage._list(key(storage, "f/"), None).objects
    storage.write(PATH, b"new")

    assert not storage._remove(listed.name, listed.generation)
    assert storage.load(PATH).data == b"new"


def test_each_entry_is_listed_once_however_the_server_moves_its_keys(storage: RedisStorage, bare: Redis):
    paths = {f"f/{number:032x}.json" for number in range(3000)}
    with bare.pipeline(transaction=False) as together:
        for number in range(30_000):
            together.set(f"{storage.prefix}-else-{number}", b"")
        together.execute()
    for path in paths:
        storage.write(path, b"1")

    listing = storage.entries()
    listed = [next(listing).path for _ in range(1500)]
    # What is left of the table is moved to a smaller one meanwhile.
    with bare.pipeline(transaction=False) as together:
        for number in range(30_000):
            together.delete(f"{storage.prefix}-else-{number}")
        together.execute()
    listed += [entry.path for entry in listing]

    assert len(listed) == len(paths)
    assert set(listed) == paths


def test_delete_says_whether_there_was_one(storage: RedisStorage):
    storage.write(PATH, b"1")

    assert storage.delete(PATH)
    assert not storage.delete(PATH)


def test_pruning_keeps_the_limit_and_removes_the_oldest(redis_url: str):
    storage = RedisStorage(redis_url, max_size=10, sweep_every=10**9, timeout=60)
    paths = [f"f/{number:032x}.json" for number in range(4)]
    for path in paths:
        storage.write(path, b"1234")
        time.sleep(0.005)  # the server counts in milliseconds

    assert storage.prune() == 2

    assert sorted(entry.path for entry in storage.entries()) == paths[2:]
    assert storage.prune(max_age=3600) == 0
    assert storage.prune(max_age=-3600) == 2


def test_age_is_judged_at_reading(storage: RedisStorage):
    storage.write(PATH, b"1")

    assert storage.load(PATH, max_age=3600).data == b"1"
    with pytest.raises(CacheExpired):
        storage.load(PATH, max_age=-1)


@pytest.mark.parametrize("wrong", [-3600, 3600])
def test_machines_whose_clocks_disagree_see_the_same_age(
    storage: RedisStorage, monkeypatch: pytest.MonkeyPatch, wrong: int
):
    right = time.time
    with monkeypatch.context() as there:
        there.setattr(time, "time", lambda: right() + wrong)
        storage.write(PATH, b"1")
        assert storage.load(PATH, max_age=600).data == b"1"

    stored = storage.load(PATH, max_age=600)
    (listed,) = storage.entries()

    assert abs(stored.created - right()) < 600
    assert abs(listed.created.timestamp() - right()) < 600


def test_what_somebody_took_the_end_from_is_as_old_as_its_writer_said(storage: RedisStorage, bare: Redis):
    storage.write(PATH, b"1")
    bare.persist(key(storage))

    assert storage.load(PATH, max_age=600).data == b"1"
    with pytest.raises(CacheExpired):
        storage.load(PATH, max_age=-1)


def test_the_server_forgets_an_entry_when_its_time_to_live_ends(storage: RedisStorage, bare: Redis):
    now = datetime.now(UTC)
    storage.store(Entry(PATH, now, 1, expires=now + timedelta(seconds=3600)), b"1")
    assert 3500_000 < bare.pttl(key(storage)) <= 3600_000

    storage.store(Entry(PATH, now, 1, expires=now), b"1")
    while bare.exists(key(storage)):
        time.sleep(0.01)

    with pytest.raises(FileNotFoundError):
        storage.load(PATH)


def test_the_time_to_live_of_a_function_reaches_the_server(storage: RedisStorage, bare: Redis):
    cache = Cache("json", storage)

    @cache(ttl="1h")
    def f(x):
        return x

    @cache
    def g(x):
        return x

    f(1), g(1)

    assert 3500_000 < bare.pttl(key(storage, f.cache.key(1))) <= 3600_000
    assert bare.pttl(key(storage, g.cache.key(1))) > 9 * YEAR


def test_a_copy_of_what_a_lower_tier_has_is_as_old_as_it_is_there(storage: RedisStorage, bare: Redis):
    now = datetime.now(UTC)
    old = Entry(PATH, now - timedelta(hours=1), 3, expires=now + timedelta(hours=1), arguments="x=1")

    assert storage.fill(old, memoryview(b"old"))

    assert storage.load(PATH, max_age=2 * 3600).data == b"old"
    with pytest.raises(CacheExpired):
        storage.load(PATH, max_age=1800)
    assert abs(storage.peek(PATH).created - old.created) < timedelta(minutes=5)
    assert 1800_000 < bare.pttl(key(storage)) <= 3600_000
    assert storage.fill(Entry(PATH, now - timedelta(minutes=30), 3), b"new")
    assert storage.load(PATH, max_age=2400).data == b"new"
    assert storage.fill(old, b"old")
    assert storage.load(PATH, max_age=2400).data == b"new"


def test_a_copy_that_is_too_old_or_too_large_is_not_kept(redis_url: str):
    storage = RedisStorage(redis_url, max_size=10, timeout=60)
    now = datetime.now(UTC)

    assert not storage.fill(Entry(PATH, now - timedelta(hours=2), 1, expires=now - timedelta(hours=1)), b"1")
    assert not storage.fill(Entry(PATH, datetime.fromtimestamp(0, UTC), 1), b"1")
    assert not storage.fill(Entry(PATH, now, 11), b"x" * 11)
    assert list(storage.entries()) == []


def test_as_a_tier_it_is_filled_from_below(storage: RedisStorage, tmp_path: Path):
    @Cache("json", [storage, str(tmp_path)])
    def f(x):
        return [x]

    f(1)
    assert storage.clear() == 1
    assert f(1) == [1]

    assert f.cache_info()[:2] == (1, 1)
    assert storage.load(f.cache.key(1)).data.strip() == b"[1]"


def test_changed_bytes_are_damage(storage: RedisStorage, bare: Redis):
    storage.write(PATH, b"12345")
    bare.setrange(key(storage), bare.strlen(key(storage)) - 1, b"6")
    with pytest.raises(DamagedEntry):
        storage.load(PATH)

    storage.write(PATH, b"12345")
    bare.append(key(storage), b"6")
    with pytest.raises(DamagedEntry):
        storage.load(PATH)


def test_what_others_put_under_our_key_is_damage_and_replaced(storage: RedisStorage, bare: Redis):
    @Cache("json", storage, on_error="ignore")
    def f(x):
        return [x]

    for number, put in enumerate((lambda name: bare.set(name, b"perscache \n"), lambda name: bare.rpush(name, b"x"))):
        path = f.cache.key(number)
        put(key(storage, path))
        with pytest.raises(DamagedEntry, match="perscache did not write"):
            storage.load(path)
        assert storage.peek(path) is None

        assert f(number) == [number]
        assert f.cache.get(number) == [number]


def test_what_is_larger_than_redis_takes_is_not_sent_and_says_so(
    storage: RedisStorage, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "LARGEST", 10_000)

    with pytest.raises(StorageError, match=r"6,000 bytes, and Redis keeps 10,000 under a key: not stored"):
        storage.write(PATH, b"x" * 6_000)

    storage.write(PATH, b"x" * 5_000)
    assert storage.load(PATH).data == b"x" * 5_000


def test_instances_pickle_with_their_options_only(storage: RedisStorage):
    storage.write(PATH, b"1")
    twin = pickle.loads(pickle.dumps(storage))

    assert twin.identity == storage.identity
    assert twin.load(PATH).data == b"1"
