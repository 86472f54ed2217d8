"""What is stored comes back, as plain objects that any tool can open."""

from __future__ import annotations

import asyncio
import json
import os
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from perscache.entry import Entry, moment
from perscache.errors import CacheExpired, DamagedEntry
from perscache_gcs import GoogleCloudStorage
from perscache_gcs.storage import RESUMABLE
from perscache_gcs.testing import Bucket, StrictServer


def entry(path: str = "f/a.json", **known: object) -> Entry:
    return Entry(path, moment(time.time()), 0, **known)  # type: ignore[arg-type]


BODIES = {
    "empty": b"",
    "1 KB": os.urandom(1000),
    "20 MB": os.urandom(20_000_000),
    "the boundary that gcsfs cuts at": b"before\n--==0==--\nafter",
    "header-like": b"\r\n\r\n--perscache-\r\nContent-Type: x\r\n\r\n--\r\n",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_bytes_come_back_as_they_were(real: GoogleCloudStorage, body: bytes):
    real.store(entry(), body)

    assert real.load("f/a.json").data == body
    assert real.read("f/a.json", None) == body


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_bytes_come_back_in_coroutines(real: GoogleCloudStorage, body: bytes):
    async def there_and_back() -> bytes:
        await real.astore(entry(), body)
        return bytes((await real.aload("f/a.json")).data)

    assert asyncio.run(there_and_back()) == body


@pytest.mark.parametrize("server", ["real", "strict"])
def test_a_large_body_goes_in_parts(server: str, request: pytest.FixtureRequest):
    storage: GoogleCloudStorage = request.getfixturevalue(server)
    body = os.urandom(RESUMABLE + 1)

    storage.store(entry(arguments="n=1"), body)

    assert storage.load("f/a.json").data == body
    known = storage.peek("f/a.json")
    assert known is not None
    assert (known.size, known.arguments) == (len(body), "n=1")


def test_the_object_is_the_serialized_value_and_nothing_else(real: GoogleCloudStorage, gcs_bucket: Bucket):
    real.store(entry("app.prices/9c1e.json"), b'{"a": 1}')

    name = quote("folder/app.prices/9c1e.json", safe="")
    url = f"{gcs_bucket.endpoint}/storage/v1/b/{gcs_bucket.name}/o/{name}"
    with urllib.request.urlopen(f"{url}?alt=media") as body:
        assert body.read() == b'{"a": 1}'
        assert body.headers["Content-Type"] == "application/json"
    with urllib.request.urlopen(f"{gcs_bucket.endpoint}/storage/v1/b/{gcs_bucket.name}/o") as listing:
        assert [item["name"] for item in json.load(listing)["items"]] == ["folder/app.prices/9c1e.json"]


def test_an_entry_comes_back_with_what_is_known_of_it(real: GoogleCloudStorage):
    created = datetime.now(UTC)
    stored = Entry(
        "f/a.json",
        created,
        5,
        expires=created + timedelta(days=1),
        compute_time=12.5,
        format="json",
        function="app.straße",
        arguments="x='ü\n% ', y=1",
        parts={"code": "ab12", "argument x": "cd34"},
    )
    real.store(stored, b"hello")

    known = real.peek("f/a.json")

    assert known is not None
    assert abs(known.created - created) < timedelta(seconds=5)
    assert known == Entry(
        "f/a.json",
        known.created,
        5,
        expires=stored.expires,
        compute_time=12.5,
        format="json",
        function="app.straße",
        arguments="x='ü\n% ', y=1",
        parts={"code": "ab12", "argument x": "cd34"},
    )
    assert list(real.entries()) == [known]


def test_metadata_is_short_and_ascii(strict: GoogleCloudStorage, strict_gcs: StrictServer):
    parts = {f"argument {n}": "0" * 32 for n in range(9)}
    strict.store(
        entry(function="f" * 900, format="ж" * 99, arguments="ключ=" + "ü" * 5000, parts=parts, compute_time=1 / 3),
        b"",
    )

    (kept,) = strict_gcs.objects.values()

    assert all(text.isascii() and text.isprintable() for text in kept.metadata.values())
    assert sum(len(name) + len(text) for name, text in kept.metadata.items()) < 2048
    assert next(strict.entries()).arguments.startswith("ключ=üüü")


def test_where_a_server_sends_no_metadata_along_the_time_is_still_known(strict: GoogleCloudStorage):
    before = time.time()
    strict.store(entry(compute_time=3.0), b"x")

    stored = strict.load("f/a.json")

    assert stored.created is not None
    assert before - 1 <= stored.created <= time.time()
    assert stored.compute_time is None


def test_where_a_server_sends_it_the_compute_time_comes_with_a_hit(real: GoogleCloudStorage):
    real.store(entry(compute_time=3.0), b"x")

    assert real.load("f/a.json").compute_time == 3.0


def test_age_is_judged_by_the_server_s_clock(strict: GoogleCloudStorage, strict_gcs: StrictServer):
    strict_gcs.clock_offset = -86400
    strict.store(entry(), b"x")

    strict_gcs.clock_offset += 600
    assert strict.load("f/a.json", max_age=700).data == b"x"
    with pytest.raises(CacheExpired):
        strict.load("f/a.json", max_age=500)
    with pytest.raises(CacheExpired):
        asyncio.run(strict.aload("f/a.json", max_age=500))


def test_a_deadline_is_judged_by_the_time_of_writing(real: GoogleCloudStorage):
    real.write("f/a.json", b"x")

    assert real.read("f/a.json", datetime.now(UTC) - timedelta(hours=1)) == b"x"
    with pytest.raises(CacheExpired):
        real.read("f/a.json", datetime.now(UTC) + timedelta(hours=1))


def test_a_new_comment_on_an_object_does_not_make_it_younger(strict: GoogleCloudStorage, strict_gcs: StrictServer):
    strict.store(entry(), b"x")
    strict_gcs.clock_offset = 600
    patch = urllib.request.Request(
        f"{strict_gcs.endpoint}/storage/v1/b/bucket/o/folder%2Ff%2Fa.json",
        b'{"metadata": {"seen": "today"}}',
        method="PATCH",
    )
    urllib.request.urlopen(patch).close()

    with pytest.raises(CacheExpired):
        strict.load("f/a.json", max_age=500)


def test_storing_again_replaces_and_renews(strict: GoogleCloudStorage, strict_gcs: StrictServer):
    strict.store(entry(), b"old")
    strict_gcs.clock_offset = 600
    strict.store(entry(), b"new")

    assert strict.load("f/a.json", max_age=60).data == b"new"


def test_a_body_that_changed_on_the_way_is_damaged(strict: GoogleCloudStorage, strict_gcs: StrictServer):
    strict.store(entry(), b"a value")
    strict_gcs.faults.append("corrupt")

    with pytest.raises(DamagedEntry):
        strict.load("f/a.json")
    assert strict.load("f/a.json").data == b"a value"


def test_an_object_with_another_body_than_was_stored_is_damaged(strict: GoogleCloudStorage, strict_gcs: StrictServer):
    strict.store(entry(), b"a value")
    strict_gcs.sends_metadata = True
    strict_gcs.objects["folder/f/a.json"].data = b"another"

    with pytest.raises(DamagedEntry):
        strict.load("f/a.json")


def test_another_process_s_write_and_delete_are_seen_at_once(real: GoogleCloudStorage):
    other = GoogleCloudStorage(f"{real.bucket}/{real.prefix}", endpoint_url=real.endpoint_url)
    with pytest.raises(FileNotFoundError):
        real.load("f/a.json")
    assert list(real.entries()) == []

    other.write("f/a.json", b"x")
    assert real.load("f/a.json").data == b"x"
    assert [each.path for each in real.entries()] == ["f/a.json"]

    assert other.delete("f/a.json")
    with pytest.raises(FileNotFoundError):
        real.load("f/a.json")
    assert real.peek("f/a.json") is None
    assert list(real.entries()) == []


def test_a_storage_works_in_the_root_of_a_bucket(gcs_bucket: Bucket):
    storage = GoogleCloudStorage(gcs_bucket.name, endpoint_url=gcs_bucket.endpoint)
    storage.write("f/a.json", b"x")

    assert storage.load("f/a.json").data == b"x"
    assert [each.path for each in storage.entries()] == ["f/a.json"]
    assert storage.clear() == 1


def test_awkward_folder_names_are_kept_apart(gcs_bucket: Bucket):
    folders = ["a b", "a%20b", "a+b", "ä", "a'b", "a&b=c", "a:b"]
    storages = [GoogleCloudStorage(f"{gcs_bucket.name}/{f}", endpoint_url=gcs_bucket.endpoint) for f in folders]

    for folder, storage in zip(folders, storages, strict=True):
        storage.write("f/a.json", folder.encode())

    for folder, storage in zip(folders, storages, strict=True):
        assert storage.load("f/a.json").data == folder.encode()
        assert [each.path for each in storage.entries()] == ["f/a.json"]


def test_the_environment_names_the_server(gcs_bucket: Bucket, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_bucket.endpoint.removeprefix("http://"))
    storage = GoogleCloudStorage(f"/{gcs_bucket.name}/folder")

    storage.write("f/a.json", b"x")

    assert storage.load("f/a.json").data == b"x"
