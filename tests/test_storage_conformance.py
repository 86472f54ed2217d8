"""What every storage promises, asked of each of them, from threads and from coroutines.

The stored bytes are also looked at around the storage under test, so that it cannot agree with itself and be wrong.
What a storage does not offer it must say.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import pickle
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from perscache import Cache
from perscache.entry import Entry, Stored
from perscache.errors import CacheExpired, DamagedEntry, StorageError, Unsupported
from perscache.storage import FileStorage, GoogleCloudStorage, LocalFileStorage, MemoryStorage, Storage
from perscache.storage.tiers import TieredStorage
from perscache_gcs.testing import gcs, gcs_bucket
from perscache_s3 import S3Storage
from perscache_s3.testing import s3, s3_bucket

__all__ = ["gcs", "gcs_bucket", "s3", "s3_bucket"]

# --- The storages.


class TwoMethods(Storage):
    """A user's own, as the document has it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def read(self, path: str, deadline: datetime | None) -> bytes:
        file = self.folder / path
        if deadline is not None and datetime.fromtimestamp(file.stat().st_mtime, UTC) < deadline:
            raise CacheExpired(path)
        return file.read_bytes()

    def write(self, path: str, data: bytes) -> None:
        draft = self.folder / f"{path}.{threading.get_ident()}.draft"
        draft.write_bytes(data)
        draft.replace(self.folder / path)


class Attic(FileStorage):
    """A user's own, of the nine file operations."""

    def read_file(self, path: Path) -> bytes:
        return path.read_bytes()

    def write_file(self, path: Path, data: bytes) -> None:
        draft = path.with_suffix(f".{threading.get_ident()}.draft")
        draft.write_bytes(data)
        draft.replace(path)

    def ensure_path(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)

    def iterdir(self, path: Path) -> Iterable[Path]:
        return list(path.iterdir()) if path.exists() else []

    def rmdir(self, path: Path) -> None:
        path.rmdir()

    def mtime(self, path: Path) -> datetime:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)

    def atime(self, path: Path) -> datetime:
        return datetime.fromtimestamp(path.stat().st_atime, UTC)

    def size(self, path: Path) -> int:
        if path.is_dir():
            return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        return path.stat().st_size if path.exists() else 0

    def delete(self, path: Path) -> None:
        path.unlink()


@dataclass
class Place:
    """Somewhere to store, and ways to get there, with the storage under test and around it."""

    open: Callable[..., Storage]
    """A new instance on the place; takes ``max_size``."""
    body: Callable[[str], bytes] | None = None
    """What lies under a path, looked at by other means."""
    overwrite: Callable[[str, bytes], None] | None = None
    """Change that, by other means."""
    outlives: bool = True
    """Whether another process sees the same."""
    lists: bool = True
    """Whether entries can be looked at, listed and removed."""
    knows: bool = True
    """Whether function, arguments and compute time of an entry are kept."""
    verifies: bool = True
    """Whether changed bytes are noticed."""
    limits: bool = True
    """Whether it takes ``max_size``."""
    copies: int = 1
    """How often an entry is kept, and its removal told."""
    url: str | None = None


def local(tmp_path: Path, _: pytest.FixtureRequest) -> Place:
    folder = tmp_path / "local"
    return Place(
        lambda **options: LocalFileStorage(folder, **options),
        body=lambda path: (folder / path).read_bytes(),
        overwrite=lambda path, data: void((folder / path).write_bytes(data)),
        url=f"file://{folder}",
    )


def memory(_: Path, request: pytest.FixtureRequest) -> Place:
    name = f"conformance-{abs(hash(request.node.name))}"
    return Place(
        lambda **options: MemoryStorage(name=name, **options), outlives=False, verifies=False, url=f"memory://{name}"
    )


def file(tmp_path: Path, _: pytest.FixtureRequest) -> Place:
    folder = tmp_path / "attic"
    return Place(
        lambda **options: Attic(folder, **options),
        body=lambda path: (folder / path).read_bytes(),
        knows=False,
        verifies=False,
    )


def two_methods(tmp_path: Path, _: pytest.FixtureRequest) -> Place:
    folder = tmp_path / "own"
    return Place(
        lambda: TwoMethods(folder),
        body=lambda path: (folder / path).read_bytes(),
        lists=False,
        knows=False,
        verifies=False,
        limits=False,
    )


def google(_: Path, request: pytest.FixtureRequest) -> Place:
    bucket = request.getfixturevalue("gcs_bucket")
    request.getfixturevalue("monkeypatch").setenv("STORAGE_EMULATOR_HOST", bucket.endpoint)

    objects = f"{bucket.endpoint}/storage/v1/b/{bucket.name}/o"

    def ask(url: str, data: bytes | None = None, **headers: str) -> bytes:
        request = urllib.request.Request(url, data, {name.replace("_", "-"): text for name, text in headers.items()})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read()

    def body(path: str) -> bytes:
        return ask(f"{objects}/{quote(f'folder/{path}', safe='')}?alt=media")

    def overwrite(path: str, data: bytes) -> None:
        known = json.loads(ask(f"{objects}/{quote(f'folder/{path}', safe='')}"))
        kept = {name: known[name] for name in ("name", "metadata", "contentType")}
        parts = [b"", b"\r\n\r\n" + json.dumps(kept).encode() + b"\r\n", b"\r\n\r\n" + data + b"\r\n", b"--"]
        ask(
            objects.replace("/storage/", "/upload/storage/") + "?uploadType=multipart",
            b"--fence".join(parts),
            Content_Type="multipart/related; boundary=fence",
        )

    return Place(
        lambda **options: GoogleCloudStorage(f"/{bucket.name}/folder", **options),
        body=body,
        overwrite=overwrite,
        url=f"gs://{bucket.name}/folder",
    )


def amazon(_: Path, request: pytest.FixtureRequest) -> Place:
    bucket = request.getfixturevalue("s3_bucket")
    request.getfixturevalue("monkeypatch").setenv("AWS_ENDPOINT_URL_S3", bucket.endpoint)
    place = {"Bucket": bucket.name}
    import boto3

    def overwrite(path: str, data: bytes) -> None:
        known = boto3.client("s3").head_object(**place, Key=f"folder/{path}")
        boto3.client("s3").put_object(**place, Key=f"folder/{path}", Body=data, Metadata=known["Metadata"])

    return Place(
        lambda **options: S3Storage(f"{bucket.name}/folder", path_style=True, **options),
        body=lambda path: boto3.client("s3").get_object(**place, Key=f"folder/{path}")["Body"].read(),
        overwrite=overwrite,
        url=f"s3://{bucket.name}/folder?path_style=yes",
    )


def tiers(tmp_path: Path, request: pytest.FixtureRequest) -> Place:
    # Without memory, in which each process has what it has seen.
    far, near = google(tmp_path, request), tmp_path / "near"
    return Place(
        lambda: TieredStorage([LocalFileStorage(near), far.open()]),
        body=far.body,
        verifies=False,
        limits=False,
        copies=2,
    )


PLACES = {
    "local": local,
    "memory": memory,
    "file": file,
    "two methods": two_methods,
    "gcs": google,
    "tiers": tiers,
    "s3": amazon,
}


@pytest.fixture(params=PLACES.values(), ids=PLACES)
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Place:
    """An empty place of each kind."""
    made: Place = request.param(tmp_path, request)
    return made


@pytest.fixture
def storage(place: Place) -> Storage:
    """A storage on the place."""
    return place.open()


# --- From threads, and from coroutines.


class Sync:
    """The storage's methods as they are."""

    def load(self, storage: Storage, path: str, max_age: float | None = None) -> Stored:
        return storage.load(path, max_age)

    def store(self, storage: Storage, entry: Entry, data: bytes) -> None:
        storage.store(entry, data)


class Async:
    """Their async twins, each call in an event loop of its own."""

    def load(self, storage: Storage, path: str, max_age: float | None = None) -> Stored:
        return asyncio.run(storage.aload(path, max_age))

    def store(self, storage: Storage, entry: Entry, data: bytes) -> None:
        asyncio.run(storage.astore(entry, data))


@pytest.fixture(params=[Sync, Async], ids=["sync", "async"])
def via(request: pytest.FixtureRequest) -> Sync | Async:
    """One of the two."""
    made: Sync | Async = request.param()
    return made


def void(_: object) -> None:
    """For lambdas that give nothing."""


def path_in(storage: Storage, function: str = "app.prices", number: int = 0) -> str:
    """A path as the core makes it for this storage."""
    return f"{function}{'/' if storage.folders else '-'}{number:032x}.json"


def entry_at(path: str, data: bytes = b"", **known: Any) -> Entry:
    return Entry(path, datetime.now(UTC), len(data), **known)


def unoffered(place: Place, deed: Callable[[], object]) -> None:
    """A storage without the capability says so, and who it is."""
    with pytest.raises(Unsupported, match=f"{type(place.open()).__name__} cannot"):
        deed()


# --- Reading and writing.


BODIES = {
    "empty": b"",
    "1 KB": os.urandom(1000),
    "20 MB": os.urandom(20_000_000),
    "a multipart boundary": b"a\n--==0==--\nb",
    "white space": b" \r\n\t\n",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_bytes_come_back_as_they_were(storage: Storage, via: Sync | Async, body: bytes):
    path = path_in(storage)

    via.store(storage, entry_at(path, body), body)

    assert bytes(via.load(storage, path).data) == body
    assert storage.read(path, None) == body


def test_the_stored_file_opens_as_what_its_extension_says(place: Place, storage: Storage):
    if place.body is None:
        pytest.skip("memory has no files")
    path = path_in(storage)
    storage.store(entry_at(path), b'{"a": 1}')

    # A seal may follow, as white space that JSON allows.
    assert place.body(path).strip() == b'{"a": 1}'


def test_what_is_absent_is_not_found(storage: Storage, via: Sync | Async):
    path = path_in(storage)

    with pytest.raises(FileNotFoundError):
        via.load(storage, path)
    with pytest.raises(FileNotFoundError):
        via.load(storage, path, 60)
    with pytest.raises(FileNotFoundError):
        storage.read(path, datetime.now(UTC))


def test_a_second_store_replaces_the_first(storage: Storage, via: Sync | Async):
    path = path_in(storage)

    for body in (b"a long first value", b"second"):
        via.store(storage, entry_at(path, body), body)
        assert bytes(via.load(storage, path).data) == body


def test_entries_are_kept_apart(storage: Storage):
    paths = [path_in(storage, function, number) for function in ("f", "F", "f.g", "f-g") for number in range(3)]

    for path in paths:
        storage.write(path, path.encode())

    assert [storage.read(path, None) for path in paths] == [path.encode() for path in paths]


def test_an_entry_expires_by_its_age(storage: Storage, via: Sync | Async):
    path = path_in(storage)
    via.store(storage, entry_at(path), b"x")
    time.sleep(0.2)

    assert bytes(via.load(storage, path, 3600).data) == b"x"
    with pytest.raises(CacheExpired):
        via.load(storage, path, 0.1)


def test_an_entry_expires_by_a_deadline(storage: Storage):
    path = path_in(storage)
    storage.write(path, b"x")

    assert storage.read(path, datetime.now(UTC) - timedelta(hours=1)) == b"x"
    with pytest.raises(CacheExpired):
        storage.read(path, datetime.now(UTC) + timedelta(hours=1))


def test_storing_again_makes_fresh(storage: Storage, via: Sync | Async):
    path = path_in(storage)
    via.store(storage, entry_at(path), b"old")
    time.sleep(1.1)
    via.store(storage, entry_at(path), b"new")

    assert bytes(via.load(storage, path, 1.0).data) == b"new"


def test_the_time_of_writing_comes_with_a_hit_or_is_left_out(storage: Storage, via: Sync | Async):
    path = path_in(storage)
    before = time.time()
    via.store(storage, entry_at(path), b"x")

    created = via.load(storage, path, 3600).created

    assert created is None or before - 2 <= created <= time.time() + 2


def test_the_compute_time_comes_with_a_hit_or_is_left_out(storage: Storage, via: Sync | Async):
    path = path_in(storage)
    via.store(storage, entry_at(path, compute_time=1.5), b"x")

    assert via.load(storage, path).compute_time in (None, 1.5)


def test_changed_bytes_are_damage(place: Place, storage: Storage, via: Sync | Async):
    if place.overwrite is None or not place.verifies:
        pytest.skip("this storage does not verify, or is only reached through itself")
    path = path_in(storage)
    via.store(storage, entry_at(path), b'{"price": 1000}')
    assert place.body is not None
    place.overwrite(path, place.body(path).replace(b"1000", b"9000"))

    with pytest.raises(DamagedEntry):
        via.load(storage, path)


def test_a_reader_sees_one_writer_s_value_whole(storage: Storage):
    path = path_in(storage)
    values = [bytes([n]) * 50_000 for n in range(8)]
    storage.write(path, values[0])
    torn: list[bytes] = []
    done = threading.Event()

    def write(value: bytes) -> None:
        for _ in range(10):
            storage.write(path, value)

    def read() -> None:
        while not done.is_set():
            if (seen := storage.read(path, None)) not in values:
                torn.append(seen)

    writers = [threading.Thread(target=write, args=(value,)) for value in values]
    reader = threading.Thread(target=read)
    for thread in (*writers, reader):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()

    assert torn == []
    assert storage.read(path, None) in values


# --- Looking and removing.


def test_an_entry_is_looked_at_without_its_value(place: Place, storage: Storage):
    path = path_in(storage)
    if not place.lists:
        unoffered(place, lambda: storage.peek(path))
        return
    assert storage.peek(path) is None
    before = datetime.now(UTC)
    stored = entry_at(path, b"hello", function="app.prices", arguments="day='Monday', ü=1", compute_time=2.5)

    storage.store(stored, b"hello")
    known = storage.peek(path)

    assert known is not None
    assert (known.path, known.size) == (path, 5)
    assert before - timedelta(seconds=2) <= known.created <= datetime.now(UTC) + timedelta(seconds=2)
    assert known.function == "app.prices"
    if place.knows:
        assert (known.arguments, known.compute_time) == ("day='Monday', ü=1", 2.5)


def test_entries_are_listed_by_function_or_all(place: Place, storage: Storage):
    if not place.lists:
        unoffered(place, lambda: list(storage.entries()))
        return
    assert list(storage.entries()) == []
    ours = [path_in(storage, "f", number) for number in range(5)]
    others = [path_in(storage, "ff", number) for number in range(5)]
    for path in (*ours, *others):
        storage.write(path, b"x")

    assert sorted(entry.path for entry in storage.entries("f")) == ours
    assert sorted(entry.path for entry in storage.entries()) == sorted((*ours, *others))
    assert {entry.size for entry in storage.entries()} == {1}
    assert list(storage.entries("nothing")) == []


def test_deleting_says_whether_there_was_one(place: Place, storage: Storage, via: Sync | Async):
    path = path_in(storage)
    storage.write(path, b"x")
    if not place.lists:
        unoffered(place, lambda: storage.delete(path))
        return

    assert storage.delete(path) is True
    assert storage.delete(path) is False
    with pytest.raises(FileNotFoundError):
        via.load(storage, path)
    assert list(storage.entries()) == []


def test_clearing_one_function_leaves_the_others(place: Place, storage: Storage):
    if not place.lists:
        unoffered(place, storage.clear)
        return
    for function in ("f", "ff", "g"):
        for number in range(3):
            storage.write(path_in(storage, function, number), b"x")

    assert storage.clear("f") == 3
    assert sorted(entry.path for entry in storage.entries()) == sorted(
        path_in(storage, function, number) for function in ("ff", "g") for number in range(3)
    )
    assert storage.clear() == 6
    assert list(storage.entries()) == []
    assert storage.clear() == 0


def test_pruning_removes_what_is_too_old(place: Place, storage: Storage):
    if not place.lists:
        unoffered(place, storage.prune)
        return
    old, new = path_in(storage, number=1), path_in(storage, number=2)
    storage.write(old, b"x")
    time.sleep(2.1)
    storage.write(new, b"x")

    assert storage.prune(2.0) == 1
    assert [entry.path for entry in storage.entries()] == [new]
    assert storage.prune() == 0


def test_listeners_hear_of_removals(place: Place, storage: Storage):
    if not place.lists:
        pytest.skip("this storage removes nothing")
    heard: list[tuple[str, str]] = []
    storage.listeners = (lambda _, entry, reason: heard.append((entry.path, reason)),)
    first, second = path_in(storage, number=1), path_in(storage, number=2)
    storage.write(first, b"x")
    storage.write(second, b"x")

    storage.delete(first)
    storage.delete(first)
    storage.clear()

    assert heard == [(first, "invalidated")] * place.copies + [(second, "cleared")] * place.copies


def test_a_limit_is_kept(place: Place):
    if not place.limits:
        pytest.skip("this storage has no limit")
    storage = place.open(max_size="10kB")
    for number in range(30):
        storage.write(path_in(storage, number=number), b"x" * 1000)
    storage.prune()

    assert storage.max_size == 10_000
    assert 1 <= len(list(storage.entries())) <= 10
    assert storage.read(path_in(storage, number=29), None) == b"x" * 1000
    with pytest.raises(FileNotFoundError):
        storage.read(path_in(storage, number=0), None)


def test_what_is_larger_than_the_limit_is_not_stored_and_removes_nothing(place: Place):
    if not place.limits:
        pytest.skip("this storage has no limit")
    storage = place.open(max_size=1000)
    storage.write(path_in(storage, number=1), b"x" * 900)

    with pytest.raises(StorageError, match="max_size"):
        storage.write(path_in(storage, number=2), b"x" * 1001)

    assert [entry.path for entry in storage.entries()] == [path_in(storage, number=1)]


# --- One place, several storages.


def test_another_instance_sees_writes_and_removals_at_once(place: Place, storage: Storage, via: Sync | Async):
    other = place.open()
    path = path_in(storage)
    with pytest.raises(FileNotFoundError):
        via.load(other, path)

    storage.write(path, b"first")
    assert bytes(via.load(other, path).data) == b"first"
    storage.write(path, b"second")
    assert bytes(via.load(other, path).data) == b"second"
    if place.lists:
        assert [entry.path for entry in other.entries()] == [path]
        storage.delete(path)
        with pytest.raises(FileNotFoundError):
            via.load(other, path)
        assert list(other.entries()) == []


def test_a_url_names_the_same_place(place: Place, storage: Storage):
    if place.url is None:
        pytest.skip("a user's own storage has no URL")
    path = path_in(storage)
    storage.write(path, b"x")

    named = Cache(storage=place.url).storage

    assert named.identity == storage.identity
    assert named.read(path, None) == b"x"


def test_a_pickled_copy_sees_the_same(place: Place, storage: Storage):
    if not place.outlives:
        pytest.skip("memory stays in its process")
    path = path_in(storage)
    storage.write(path, b"x")

    copy = pickle.loads(pickle.dumps(storage))

    assert copy.read(path, None) == b"x"
    copy.write(path, b"y")
    assert storage.read(path, None) == b"y"


def in_child(storage: Storage, path: str) -> bytes:
    """What another process reads and writes."""
    seen = storage.read(path, None)
    storage.write(path, seen + b" and child")
    return seen


@pytest.mark.parametrize("method", ["spawn", "fork"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
def test_another_process_shares_the_place(
    place: Place, storage: Storage, method: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
):
    if not place.outlives:
        pytest.skip("memory stays in its process")
    path = path_in(storage)
    storage.write(path, b"parent")
    # A spawned child imports this module by the name that pytest gave it.
    monkeypatch.syspath_prepend(str(request.config.rootpath))

    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
        assert pool.submit(in_child, storage, path).result(60) == b"parent"

    assert storage.read(path, None) == b"parent and child"


def test_one_at_a_time_holds_the_lock_of_an_entry(place: Place):
    path = path_in(place.open())
    first, second = place.open().lock(path), place.open().lock(path)
    if first is None or second is None:
        pytest.skip("this storage has no locks")
    order: list[str] = []

    def take_turns() -> None:
        while (turn := second.acquire(())) is None:
            continue
        order.append(f"second {turn}")
        second.release()

    assert first.acquire(()) is True
    waiting = threading.Thread(target=take_turns)
    waiting.start()
    time.sleep(0.3)
    order.append("first")
    first.release()
    waiting.join(60)

    assert order == ["first", "second True"]


# --- As a cache uses it.


def test_a_function_runs_once(place: Place, storage: Storage):
    calls: list[int] = []

    @Cache("json", storage, on_error="raise")
    def double(x: int) -> int:
        calls.append(x)
        return 2 * x

    assert [double(1), double(1), double(2), double(2)] == [2, 2, 4, 4]
    assert calls == [1, 2]
    if place.lists:
        assert len(list(double.cache.entries())) == 2
        assert double.cache_invalidate(1)
        assert double(1) == 2
        assert calls == [1, 2, 1]


def test_a_coroutine_function_runs_once(storage: Storage):
    calls: list[int] = []

    @Cache("json", storage, on_error="raise")
    async def double(x: int) -> int:
        calls.append(x)
        return 2 * x

    async def several() -> list[int]:
        return [await double(1), await double(1), *await asyncio.gather(*[double(2) for _ in range(20)])]

    assert asyncio.run(several()) == [2, 2, *[4] * 20]
    assert calls == [1, 2]


def test_a_result_expires(storage: Storage):
    calls: list[int] = []

    @Cache("json", storage, ttl=0.1, on_error="raise")
    def double(x: int) -> int:
        calls.append(x)
        return 2 * x

    double(1)
    time.sleep(0.2)
    double(1)

    assert calls == [1, 1]
