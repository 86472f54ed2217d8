"""What leaves a bucket: only what has our mark, under our prefix, of the generation that was looked at."""

from __future__ import annotations

import threading

import pytest

from perscache.errors import StorageError
from perscache.storage.base import Entry, Storage
from perscache_gcs import GoogleCloudStorage
from perscache_gcs.testing import StrictServer


def on(server: StrictServer, location: str = "bucket/folder", **options: object) -> GoogleCloudStorage:
    return GoogleCloudStorage(location, endpoint_url=server.endpoint, **options)  # type: ignore[arg-type]


def paths(storage: GoogleCloudStorage) -> list[str]:
    return sorted(entry.path for entry in storage.entries())


def test_prune_removes_the_oldest_down_to_nine_tenths(strict_gcs: StrictServer):
    storage = on(strict_gcs, max_size=1000, sweep_every=10**9)
    for n in range(15):
        strict_gcs.clock_offset = n
        storage.write(f"f/{n:02}.json", b"x" * 100)

    assert storage.prune() == 6

    assert paths(storage) == [f"f/{n:02}.json" for n in range(6, 15)]


def test_the_newest_entry_stays_where_it_fits(strict_gcs: StrictServer):
    storage = on(strict_gcs, max_size=100, sweep_every=10**9)
    for n in range(3):
        strict_gcs.clock_offset = n
        storage.write(f"f/{n}.json", b"x" * 100)

    assert storage.prune() == 2
    assert paths(storage) == ["f/2.json"]


def test_prune_below_the_limit_removes_nothing(strict_gcs: StrictServer):
    storage = on(strict_gcs, max_size=1000, sweep_every=10**9)
    for n in range(10):
        storage.write(f"f/{n}.json", b"x" * 100)

    assert storage.prune() == 0
    assert len(strict_gcs.objects) == 10


def test_prune_removes_what_is_too_old_by_the_server_s_clock(strict_gcs: StrictServer):
    storage = on(strict_gcs)
    strict_gcs.clock_offset = 5000
    storage.write("f/old.json", b"x")
    strict_gcs.clock_offset = 5600
    storage.write("f/new.json", b"x")

    assert storage.prune(max_age=300) == 1
    assert paths(storage) == ["f/new.json"]


def test_an_entry_written_again_after_the_listing_stays(strict_gcs: StrictServer, monkeypatch: pytest.MonkeyPatch):
    storage = on(strict_gcs, max_size=20, sweep_every=10**9)
    for name in ("a", "b", "c"):
        storage.write(f"f/{name}.json", b"old" * 3)
        strict_gcs.clock_offset += 10
    other = on(strict_gcs)

    def write_again(_: Storage, entry: Entry, reason: str) -> None:
        # After the first removal, before the second.
        assert entry.path == "f/a.json"
        other.write("f/b.json", b"new")

    storage.listeners = (write_again,)
    storage.max_size = 17
    monkeypatch.setattr("perscache.storage.remote.PARALLEL", 1)

    assert storage.prune() == 1

    assert other.load("f/b.json").data == b"new"


def test_one_store_in_so_many_sweeps_in_the_background(strict_gcs: StrictServer):
    storage = on(strict_gcs, max_size=1000, sweep_every=1)
    for n in range(15):
        storage.write(f"f/{n:02}.json", b"x" * 100)
        wait_for_sweeps()

    assert sum(len(kept.data) for kept in strict_gcs.objects.values()) <= 1000
    assert "f/14.json" in paths(storage)


def test_a_store_does_not_wait_for_its_sweep(strict_gcs: StrictServer):
    storage = on(strict_gcs, max_size=1000, sweep_every=1, timeout=5, lease=0)
    storage.write("f/a.json", b"x" * 100)
    wait_for_sweeps()
    strict_gcs.faults.extend(["ok", "stall"])

    storage.write("f/b.json", b"x" * 100)
    storage.write("f/c.json", b"x" * 100)

    assert len(strict_gcs.objects) == 3
    wait_for_sweeps()


def test_a_sweep_that_fails_is_survived_and_told(strict_gcs: StrictServer, caplog: pytest.LogCaptureFixture):
    storage = on(strict_gcs, max_size=1000, sweep_every=1)
    strict_gcs.denied = {"GET"}

    storage.write("f/a.json", b"x" * 100)
    wait_for_sweeps()

    assert "may grow beyond max_size" in caplog.text
    assert "Storage Object User" in caplog.text


def wait_for_sweeps() -> None:
    for name in ("perscache-sweep", "perscache-lease"):
        for thread in threading.enumerate():
            if thread.name == name:
                thread.join(10)


def test_clear_removes_only_what_has_our_mark_and_our_prefix(strict_gcs: StrictServer):
    strict_gcs.put("bucket", "folder/f/theirs.json", b"x", {"author": "them"})
    strict_gcs.put("bucket", "folder/README", b"x", {})
    on(strict_gcs, "bucket/folder2").write("f/a.json", b"x")
    on(strict_gcs, "bucket/folder/inner").write("f/a.json", b"x")
    on(strict_gcs, "bucket").write("f/a.json", b"x")
    others = set(strict_gcs.objects)
    storage = on(strict_gcs)
    for n in range(40):
        storage.write(f"f/{n}.json", b"x")

    assert len(list(storage.entries())) == 40
    assert storage.clear() == 40

    assert set(strict_gcs.objects) == others


def test_clear_of_one_function_leaves_the_others(real: GoogleCloudStorage):
    for path in ("f/a.json", "f/b.json", "ff/a.json", "g/a.json"):
        real.write(path, b"x")

    assert real.clear("f") == 2

    assert paths(real) == ["ff/a.json", "g/a.json"]


def test_a_sweep_goes_by_pages(strict_gcs: StrictServer):
    storage = on(strict_gcs, max_size=100, sweep_every=10**9)
    for n in range(20):
        storage.write(f"f/{n}.json", b"x" * 10)
    strict_gcs.page_size = 7

    assert storage.prune() == 11
    assert storage.clear() == 9


def test_listeners_hear_of_each_removal_and_why(strict_gcs: StrictServer):
    heard: list[tuple[str, str]] = []
    storage = on(strict_gcs, max_size=20, sweep_every=10**9)
    storage.listeners = (lambda _, entry, reason: heard.append((entry.path, reason)),)

    for name in ("a", "b", "c", "d"):
        storage.write(f"f/{name}.json", b"x" * 9)
        strict_gcs.clock_offset += 10
    storage.prune(max_age=35)
    storage.delete("f/c.json")
    storage.clear()

    assert heard == [
        ("f/a.json", "expired"),
        ("f/b.json", "limit"),
        ("f/c.json", "invalidated"),
        ("f/d.json", "cleared"),
    ]


def test_what_was_already_gone_is_not_counted(strict_gcs: StrictServer):
    storage = on(strict_gcs)
    storage.write("f/a.json", b"x")

    assert storage.delete("f/a.json") is True
    assert storage.delete("f/a.json") is False
    assert storage.clear() == 0


def test_a_removal_that_is_refused_is_told(strict_gcs: StrictServer):
    storage = on(strict_gcs)
    storage.write("f/a.json", b"x")
    strict_gcs.denied = {"DELETE"}

    with pytest.raises(StorageError, match="Storage Object User"):
        storage.clear()
    assert len(strict_gcs.objects) == 1
