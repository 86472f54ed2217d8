"""Entries by use, on objects that have no time of access: a touch a day tells, and nobody waits for it."""

from __future__ import annotations

import json
import threading

import pytest

from perscache.errors import CacheExpired, ConfigurationError
from perscache_gcs import GoogleCloudStorage
from perscache_gcs.testing import StrictServer

DAY = 86400


@pytest.fixture
def storage(strict_gcs: StrictServer) -> GoogleCloudStorage:
    """A storage that keeps what is used, with an entry of two days ago."""
    made = on(strict_gcs)
    strict_gcs.clock_offset = -2 * DAY
    made.write("f/a.json", b"x")
    strict_gcs.clock_offset = 0
    strict_gcs.forget()
    return made


def on(server: StrictServer, **options: object) -> GoogleCloudStorage:
    return GoogleCloudStorage("bucket/folder", endpoint_url=server.endpoint, **{"lru": True, **options})  # type: ignore[arg-type]


def settle() -> None:
    for thread in threading.enumerate():
        if thread.name == "perscache-touch":
            thread.join(30)
            assert not thread.is_alive()


def touches(server: StrictServer) -> int:
    settle()
    return sum(request.startswith("PATCH") for request in server.requests)


def test_an_entry_is_touched_once_a_day(storage: GoogleCloudStorage, strict_gcs: StrictServer):
    for _ in range(3):
        storage.load("f/a.json")
    assert touches(strict_gcs) == 1
    # Another process sees it at the object.
    on(strict_gcs).load("f/a.json")
    assert touches(strict_gcs) == 1
    strict_gcs.clock_offset = DAY + 1
    on(strict_gcs).load("f/a.json")
    assert touches(strict_gcs) == 2


def test_nothing_is_touched_unless_asked_for(storage: GoogleCloudStorage, strict_gcs: StrictServer):
    on(strict_gcs, lru=False).load("f/a.json")

    assert touches(strict_gcs) == 0


def test_a_touch_does_not_make_fresh(storage: GoogleCloudStorage, strict_gcs: StrictServer):
    storage.load("f/a.json")
    assert touches(strict_gcs) == 1

    with pytest.raises(CacheExpired):
        storage.load("f/a.json", max_age=DAY)
    assert storage.prune(max_age=DAY) == 1


def test_over_the_limit_goes_what_was_not_used(storage: GoogleCloudStorage, strict_gcs: StrictServer):
    strict_gcs.clock_offset = -DAY
    for name in "bcd":
        storage.write(f"f/{name}.json", b"x")
    strict_gcs.clock_offset = 0
    storage.load("f/a.json")
    settle()
    storage.max_size = 2

    assert storage.prune() == 3
    assert [entry.path for entry in storage.entries()] == ["f/a.json"]


@pytest.mark.parametrize("fault", ["503", "403", "stall", "reset"])
def test_a_touch_that_fails_is_forgotten(strict_gcs: StrictServer, fault: str, caplog: pytest.LogCaptureFixture):
    storage = on(strict_gcs, timeout=0.3)
    strict_gcs.clock_offset = -2 * DAY
    storage.write("f/a.json", b"x")
    strict_gcs.clock_offset = 0
    strict_gcs.where["PATCH"] = fault

    assert storage.load("f/a.json").data == b"x"
    assert touches(strict_gcs) >= 1
    assert storage.load("f/a.json").data == b"x"
    assert caplog.text == ""


def test_a_hit_does_not_wait_for_its_touch(storage: GoogleCloudStorage, strict_gcs: StrictServer):
    strict_gcs.where["PATCH"] = "stall"

    assert storage.load("f/a.json").data == b"x"
    # Still under way: only now may it end.
    assert not strict_gcs.released.is_set()
    strict_gcs.released.set()
    assert touches(strict_gcs) == 1


def test_what_was_written_again_is_not_touched(storage: GoogleCloudStorage, strict_gcs: StrictServer):
    strict_gcs.where["PATCH"] = "412"
    storage.load("f/a.json")
    assert touches(strict_gcs) == 1
    (query,) = [query for query in strict_gcs.queries if "ifGenerationMatch" in query]
    assert query["ifGenerationMatch"] == str(strict_gcs.objects["folder/f/a.json"].generation)


def test_a_url_says_it_too():
    assert GoogleCloudStorage.from_url("gs://bucket/folder?lru=true").lru is True
    assert GoogleCloudStorage.from_url("gs://bucket/folder").lru is False


@pytest.mark.parametrize(
    ("location", "where", "leases"),
    [
        ("bucket", {}, "perscache.leases/"),
        ("bucket/a/folder", {"matchesPrefix": ["a/folder/"]}, "a/folder/perscache.leases/"),
    ],
)
def test_lifecycle_rules_name_the_folder_and_its_leases(location: str, where: dict[str, list[str]], leases: str):
    rules = json.loads(GoogleCloudStorage(location).lifecycle(30))["rule"]

    assert [rule["condition"] for rule in rules] == [{"age": 30, **where}, {"age": 1, "matchesPrefix": [leases]}]
    assert {rule["action"]["type"] for rule in rules} == {"Delete"}
    with pytest.raises(ConfigurationError, match="whole days"):
        GoogleCloudStorage(location).lifecycle(0)
