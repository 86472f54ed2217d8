"""What remote storages share, on a backend of plain functions over a dictionary, as a client library would be."""

from __future__ import annotations

import asyncio
import pickle
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from perscache.entry import Entry
from perscache.errors import CacheExpired, ConfigurationError, DamagedEntry, StorageError
from perscache.storage.remote import Found, Listed, Page, Refused, RemoteStorage

SERVER: dict[str, Listed] = {}
BODIES: dict[str, bytes] = {}


class Shelf(RemoteStorage):
    """Objects in a dictionary; bucket "absent" is none."""

    schemes = ("shelf",)
    trouble: Exception | None = None
    asked: list[str]

    def _ask(self, what: str) -> None:
        self.__dict__.setdefault("asked", []).append(what)
        if self.trouble is not None:
            raise self.trouble

    def _get(self, name: str) -> Found:
        self._ask("get")
        if name not in SERVER:
            raise FileNotFoundError(name)
        return Found(BODIES[name], SERVER[name].created, time.time(), SERVER[name].metadata)

    def _put(self, name: str, data: bytes, metadata: Mapping[str, str]) -> None:
        self._ask("put")
        if self.bucket == "absent":
            raise FileNotFoundError(self.bucket)
        generation = str(int(SERVER[name].generation) + 1) if name in SERVER else "1"
        SERVER[name] = Listed(name, len(data), time.time(), generation, metadata)
        BODIES[name] = data

    def _stat(self, name: str) -> Listed:
        self._ask("stat")
        if name not in SERVER:
            raise FileNotFoundError(name)
        return SERVER[name]

    def _list(self, prefix: str, token: str | None) -> Page:
        self._ask("list")
        if self.bucket == "absent":
            raise FileNotFoundError(self.bucket)
        names = sorted(name for name in SERVER if name.startswith(prefix) and name > (token or ""))
        return Page([SERVER[name] for name in names[:3]], names[2] if len(names) > 3 else None, time.time())

    def _remove(self, name: str, generation: str | None) -> bool:
        self._ask("remove")
        if name not in SERVER or generation not in (None, SERVER[name].generation):
            return False
        del SERVER[name]
        return True

    def _no_bucket(self) -> str:
        return f"there is no bucket {self.bucket!r}: make it"


@pytest.fixture(autouse=True)
def _empty() -> None:
    SERVER.clear()
    BODIES.clear()


@pytest.fixture
def shelf() -> Shelf:
    """A storage on it."""
    return Shelf("bucket/folder", cooldown=0.5)


def test_a_backend_of_plain_functions_serves_threads_and_coroutines(shelf: Shelf):
    asyncio.run(shelf.astore(Entry("f/a.json", datetime.now(UTC), 1, compute_time=2.0), b"x"))

    assert shelf.load("f/a.json") == asyncio.run(shelf.aload("f/a.json"))
    assert shelf.load("f/a.json").compute_time == 2.0
    assert list(BODIES) == ["folder/f/a.json"]


def test_coroutines_ask_off_the_event_loop(shelf: Shelf, monkeypatch: pytest.MonkeyPatch):
    threads: list[str] = []
    monkeypatch.setattr(Shelf, "_ask", lambda _, __: threads.append(threading.current_thread().name))
    shelf.write("f/a.json", b"x")

    asyncio.run(shelf.aload("f/a.json"))

    assert threads[0] == "MainThread"
    assert threads[1] != "MainThread"


def test_a_changed_body_is_damage(shelf: Shelf):
    shelf.write("f/a.json", b"x")
    BODIES["folder/f/a.json"] = b"y"

    with pytest.raises(DamagedEntry):
        shelf.load("f/a.json")


def test_an_entry_from_the_future_is_expired_where_age_matters(shelf: Shelf):
    shelf.write("f/a.json", b"x")
    SERVER["folder/f/a.json"] = SERVER["folder/f/a.json"]._replace(created=time.time() + 3600)

    assert shelf.load("f/a.json").data == b"x"
    with pytest.raises(CacheExpired):
        shelf.load("f/a.json", max_age=10)


def test_foreign_metadata_that_cannot_be_read_is_left_out(shelf: Shelf):
    shelf.write("f/a.json", b"x")
    strange = {"perscache": "1", "seconds": "long", "expires": "never", "parts": "=", "arguments": "%ZZ%C3"}
    SERVER["folder/f/a.json"] = SERVER["folder/f/a.json"]._replace(metadata=strange)

    (entry,) = shelf.entries()

    assert (entry.compute_time, entry.expires) == (None, None)
    assert shelf.load("f/a.json").compute_time is None


def test_what_is_known_survives_the_way_through_metadata(shelf: Shelf):
    created = datetime.now(UTC)
    known = Entry(
        "f/a.json",
        created,
        1,
        expires=created + timedelta(hours=1),
        compute_time=0.125,
        format="json",
        function="app.f",
        arguments="  x='a  b', ключ=100 % ",
        parts={"argument x y": "a=b c"},
    )
    shelf.store(known, b"x")

    (entry,) = shelf.entries()

    assert entry.arguments == known.arguments.strip()
    assert (entry.expires, entry.compute_time, entry.parts) == (known.expires, 0.125, known.parts)
    assert (entry.function, entry.format) == ("app.f", "json")


@pytest.mark.parametrize("text", ["a" * 5000, "ü" * 5000, "€" * 700, "\N{GRINNING FACE}" * 300, "\udcff" * 10])
def test_long_and_strange_summaries_are_cut_to_whole_characters(shelf: Shelf, text: str):
    shelf.store(Entry("f/a.json", datetime.now(UTC), 1, arguments=text), b"x")

    sent = SERVER["folder/f/a.json"].metadata["arguments"]
    (entry,) = shelf.entries()

    assert sent.isascii()
    assert len(sent) <= 640
    assert entry.arguments
    assert set(entry.arguments) <= {*text, "?"}


def test_trouble_stops_both_ways_for_a_while_and_one_trial_decides(shelf: Shelf):
    shelf.write("f/a.json", b"x")
    shelf.trouble = StorageError("no answer")
    with pytest.raises(StorageError, match="no answer"):
        shelf.load("f/a.json")
    shelf.asked.clear()
    with pytest.raises(StorageError, match=r"no answer \(left alone for another \d s\)"):
        shelf.load("f/a.json")
    with pytest.raises(StorageError, match="left alone"):
        shelf.write("f/a.json", b"x")
    assert shelf.asked == []

    time.sleep(0.6)
    shelf.trouble = None
    assert shelf.load("f/a.json").data == b"x"
    shelf.write("f/a.json", b"y")
    assert shelf.asked == ["get", "put"]


def test_while_one_call_tries_again_the_others_still_fail_at_once(shelf: Shelf, monkeypatch: pytest.MonkeyPatch):
    shelf.write("f/a.json", b"x")
    shelf.trouble = StorageError("no answer")
    with pytest.raises(StorageError):
        shelf.load("f/a.json")
    time.sleep(0.6)
    shelf.trouble = None
    meanwhile: list[str] = []
    get = Shelf._get

    def slow_get(self: Shelf, name: str) -> Found:
        with pytest.raises(StorageError) as raised:
            self.load("f/a.json")
        meanwhile.append(str(raised.value))
        return get(self, name)

    monkeypatch.setattr(Shelf, "_get", slow_get)

    assert shelf.load("f/a.json").data == b"x"
    assert "left alone" in meanwhile[0]


def test_a_refusal_stops_only_its_own_way(shelf: Shelf):
    shelf.write("f/a.json", b"x")
    shelf.trouble = Refused("may not write")
    with pytest.raises(StorageError):
        shelf.write("f/a.json", b"y")
    shelf.trouble = None

    assert shelf.load("f/a.json").data == b"x"
    with pytest.raises(StorageError, match=r"may not write .*left alone"):
        shelf.write("f/a.json", b"y")


def test_an_expired_or_damaged_entry_is_no_trouble(shelf: Shelf):
    shelf.write("f/a.json", b"x")
    BODIES["folder/f/a.json"] = b"y"
    for _ in range(2):
        with pytest.raises(DamagedEntry):
            shelf.load("f/a.json")


def test_an_absent_bucket_is_asked_about_once_and_is_no_miss():
    shelf = Shelf("absent/folder")
    with pytest.raises(StorageError, match="there is no bucket 'absent'"):
        shelf.load("f/a.json")
    assert shelf.asked == ["get", "list"]

    present = Shelf("bucket/folder")
    for _ in range(3):
        with pytest.raises(FileNotFoundError):
            present.load("f/a.json")
    assert present.asked == ["get", "list", "get", "get"]


def test_a_path_or_a_size_that_cannot_be_is_no_trouble_either(shelf: Shelf):
    shelf.max_size = 5
    for path, data in (("../a.json", b""), ("f/a.json", b"too long")):
        with pytest.raises(StorageError):
            shelf.write(path, data)

    shelf.write("f/a.json", b"short")


def test_a_copy_knows_the_settings_only(shelf: Shelf):
    shelf.listeners = (lambda *_: None,)
    shelf.write("f/a.json", b"x")

    copy = pickle.loads(pickle.dumps(shelf))

    assert (copy.url, copy.cooldown, copy.listeners) == (shelf.url, 0.5, ())
    assert copy.load("f/a.json").data == b"x"


@pytest.mark.parametrize("trap", ["a#b", "a//b", "/a", "../a", "a/..", "a\\b", "a\tb", "a\nb", "a/", "a?b", "a*"])
def test_a_folder_that_some_store_cannot_take_is_refused(trap: str):
    with pytest.raises(ConfigurationError, match="which one store or another cannot take"):
        Shelf(f"bucket/{trap}")


@pytest.mark.parametrize("folder", ["", "a", "a/b/c", "2026-11", "a b", "ä", ".hidden", "a.b", "100%"])
def test_other_folders_are_taken_as_they_are(folder: str):
    assert Shelf(f"/bucket/{folder}".rstrip("/")).prefix == folder
    assert Shelf(f"shelf://bucket/{folder}".rstrip("/")).prefix == folder


class Silent(Shelf):
    """A server whose listings tell no metadata."""

    lists_metadata = False

    def _list(self, prefix: str, token: str | None) -> Page:
        page = super()._list(prefix, token)
        return page._replace(objects=[listed._replace(metadata={}) for listed in page.objects])


def test_a_listing_without_metadata_is_completed_object_by_object():
    shelf = Silent("bucket/folder", max_size=30)
    paths = [f"f/{number:040x}.json" for number in range(4)]
    for path in paths:
        shelf.store(Entry(path, datetime.now(UTC), 10, arguments="x=1"), b"x" * 10)
    for theirs in (f"f/{9:040x}.json", "f/notes.json"):
        SERVER[f"folder/{theirs}"] = SERVER[f"folder/{paths[0]}"]._replace(name=f"folder/{theirs}", metadata={})
    told: list[str] = []
    shelf.listeners = (lambda _, entry, reason: told.append(f"{entry.arguments} {reason}"),)

    assert [(entry.path, entry.arguments) for entry in shelf.entries()] == [(path, "x=1") for path in paths]
    assert shelf.prune(max_age=-1) == 4
    assert told == ["x=1 expired"] * 4
    assert sorted(SERVER) == [f"folder/f/{9:040x}.json", "folder/f/notes.json"]


def test_prune_and_clear_go_by_pages_and_by_generation(shelf: Shelf):
    for number in range(10):
        shelf.write(f"f/{number}.json", b"x" * 10)
    shelf.max_size = 50

    assert shelf.prune() == 6
    assert sorted(entry.path for entry in shelf.entries()) == [f"f/{number}.json" for number in range(6, 10)]
    assert shelf.clear() == 4


def test_a_server_that_cannot_tell_of_use_says_so():
    with pytest.raises(ConfigurationError, match="Shelf cannot tell when an entry was used: leave lru out"):
        Shelf("bucket/folder", lru=True)
