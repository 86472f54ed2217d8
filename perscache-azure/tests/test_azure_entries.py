"""What lies in the container, and what is known of it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from perscache import Cache
from perscache.entry import Entry
from perscache_azure import AzureStorage

PATH = "f/0123456789abcdef0123456789abcdef.json"
OTHER = "f/fedcba9876543210fedcba9876543210.json"


def test_the_blob_is_what_the_serializer_wrote(storage: AzureStorage):
    @Cache("json", storage)
    def f(x):
        return [x]

    f(1)

    stream = storage._client().download_blob(f"folder/{f.cache.key(1)}")
    assert stream.readall().strip() == b"[1]"
    assert stream.properties.content_settings.content_type == "application/json"


@pytest.mark.parametrize("arguments", ["x='ключ'", "x='two  spaces,   three'", "x='%20', y=\"a,b;c=d&e\""])
def test_what_is_known_of_an_entry_is_kept_with_it(storage: AzureStorage, arguments: str):
    known = Entry(
        PATH,
        datetime.now(UTC),
        1,
        compute_time=0.125,
        format="json",
        function="app.f",
        arguments=arguments,
        parts={"code": "1", "x": "2"},
    )
    storage.store(known, b"x")

    (listed,) = storage.entries()

    assert listed == storage.peek(PATH)
    assert (listed.compute_time, listed.format, listed.function) == (0.125, "json", "app.f")
    assert (listed.arguments, listed.parts) == (arguments, {"code": "1", "x": "2"})
    assert abs((listed.created - datetime.now(UTC)).total_seconds()) < 60
    assert storage.load(PATH).compute_time == 0.125


def test_clearing_removes_what_is_ours_and_nothing_else(storage: AzureStorage):
    foreign = storage._client().get_blob_client(f"folder/{OTHER}")
    foreign.upload_blob(b"mine")
    storage.write(PATH, b"1")
    storage.write(PATH.replace("f/", "g/"), b"2")

    assert [entry.path for entry in storage.entries("f")] == [PATH]
    assert storage.clear("f") == 1
    assert storage.clear() == 1
    assert foreign.download_blob().readall() == b"mine"


def test_listings_come_in_pages(storage: AzureStorage, monkeypatch: pytest.MonkeyPatch):
    paths = [f"f/{number:032x}.json" for number in range(5)]
    for path in paths:
        storage.write(path, b"1")
    list_blobs = storage._client().list_blobs
    monkeypatch.setattr(storage._client(), "list_blobs", lambda *a, **k: list_blobs(*a, **k, results_per_page=2))

    assert sorted(entry.path for entry in storage.entries()) == paths
    assert storage.clear() == 5


def test_an_entry_that_was_written_again_after_it_was_listed_stays(storage: AzureStorage):
    storage.write(PATH, b"old")
    (listed,) = storage._list("folder/f/", None).objects
    storage.write(PATH, b"new")

    assert not storage._remove(listed.name, listed.generation)
    assert storage.load(PATH).data == b"new"
    (listed,) = storage._list("folder/f/", None).objects
    assert listed.generation == storage._get(listed.name).generation
    assert storage._remove(listed.name, listed.generation)
