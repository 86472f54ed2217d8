"""How many requests a call costs. Each is counted by the server."""

from __future__ import annotations

import asyncio

import pytest

from perscache import Cache
from perscache.errors import StorageError
from perscache_gcs import GoogleCloudStorage
from perscache_gcs.testing import StrictServer


def test_a_hit_is_one_request(strict: GoogleCloudStorage, strict_gcs: StrictServer):
    strict.write("f/a.json", b"x" * 1000)
    strict_gcs.forget()

    strict.load("f/a.json", max_age=60)
    asyncio.run(strict.aload("f/a.json", max_age=60))

    assert strict_gcs.requests == ["GET media folder/f/a.json"] * 2


def test_the_first_request_of_a_storage_is_the_hit_itself(strict_gcs: StrictServer):
    GoogleCloudStorage("bucket/folder", endpoint_url=strict_gcs.endpoint).write("f/a.json", b"x")
    strict_gcs.forget()

    GoogleCloudStorage("bucket/folder", endpoint_url=strict_gcs.endpoint).load("f/a.json")

    assert strict_gcs.requests == ["GET media folder/f/a.json"]


def test_a_look_up_that_misses_is_one_request(strict: GoogleCloudStorage, strict_gcs: StrictServer):
    with pytest.raises(FileNotFoundError):
        strict.load("f/a.json")
    with pytest.raises(FileNotFoundError):
        asyncio.run(strict.aload("f/a.json"))

    assert strict_gcs.requests == ["GET media folder/f/a.json"] * 2


def test_the_bucket_is_asked_for_once_at_the_first_miss(strict_gcs: StrictServer):
    storage = GoogleCloudStorage("bucket/folder", endpoint_url=strict_gcs.endpoint)

    for _ in range(3):
        with pytest.raises(FileNotFoundError):
            storage.load("f/a.json")

    assert strict_gcs.requests == ["GET media folder/f/a.json", "GET list", *["GET media folder/f/a.json"] * 2]


def test_a_store_is_one_request(strict: GoogleCloudStorage, strict_gcs: StrictServer):
    strict.write("f/a.json", b"x" * 20_000_000)
    strict.write("f/a.json", b"")

    assert strict_gcs.requests == ["POST multipart folder/f/a.json"] * 2


def test_a_store_under_a_limit_is_one_request(strict_gcs: StrictServer):
    storage = GoogleCloudStorage("bucket", endpoint_url=strict_gcs.endpoint, max_size="1GB", sweep_every=10**9)

    storage.write("f/a.json", b"x")

    assert strict_gcs.requests == ["POST multipart f/a.json"]


def test_what_is_larger_than_the_limit_is_not_sent(strict_gcs: StrictServer):
    storage = GoogleCloudStorage("bucket", endpoint_url=strict_gcs.endpoint, max_size=10)

    with pytest.raises(StorageError, match="11 bytes, more than max_size"):
        storage.write("f/a.json", b"x" * 11)
    assert strict_gcs.requests == []

    storage.write("f/a.json", b"x" * 10)


def test_hits_of_a_map_are_one_request_each(strict: GoogleCloudStorage, strict_gcs: StrictServer):
    f = Cache("json", strict, lock=False)(lambda x: x)
    assert list(f.cache.map(range(50))) == [*range(50)]
    strict_gcs.forget()

    assert list(f.cache.map([*range(50), *range(50)])) == [*range(50)] * 2

    assert sorted(strict_gcs.requests) == sorted(f"GET media folder/{f.cache.key(x)}" for x in range(50))


def test_peek_and_delete_are_one_request_each(strict: GoogleCloudStorage, strict_gcs: StrictServer):
    strict.write("f/a.json", b"x")
    strict_gcs.forget()

    assert strict.peek("f/a.json") is not None
    assert strict.delete("f/a.json")

    assert strict_gcs.requests == ["GET object folder/f/a.json", "DELETE object folder/f/a.json"]


def test_a_listing_asks_only_for_its_folder_and_for_what_it_tells(strict: GoogleCloudStorage, strict_gcs: StrictServer):
    for n in range(5):
        strict.write(f"f/{n}.json", b"x")
        strict.write(f"g/{n}.json", b"x")
    strict_gcs.page_size = 2
    strict_gcs.forget()

    assert sorted(entry.path for entry in strict.entries("f")) == [f"f/{n}.json" for n in range(5)]

    assert strict_gcs.requests == ["GET list"] * 3
    assert {query["prefix"] for query in strict_gcs.queries} == {"folder/f/"}
    assert {query["fields"] for query in strict_gcs.queries} == {
        "items(name,size,timeCreated,updated,generation,metadata),nextPageToken"
    }


def test_a_listing_is_streamed(strict: GoogleCloudStorage, strict_gcs: StrictServer):
    for n in range(6):
        strict.write(f"f/{n}.json", b"x")
    strict_gcs.page_size = 2
    strict_gcs.forget()

    next(strict.entries())

    assert strict_gcs.requests == ["GET list"]
