"""Large values: stored from where they lie, read into where they are to be, or not read at all, but mapped."""

from __future__ import annotations

import asyncio
import mmap
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from xxhash import xxh3_64

from perscache import Cache, PerscacheWarning
from perscache.buffers import Form, Pieces
from perscache.entry import Entry, moment
from perscache.errors import DamagedEntry, SerializationError
from perscache.serializers import CloudPickleSerializer, PickleSerializer, Serializer
from perscache.storage import FileStorage, LocalFileStorage, MemoryStorage, Storage
from perscache.storage.descriptor import read_as

LARGE = 300_000
EXTENSIONS = ["npy", "parquet", "json", "yaml", "bin"]
FORMS: list[Any] = ["buffer", "mapped", "private", lambda size: memoryview(bytearray(size))]
FORM_NAMES = ["buffer", "mapped", "private", "memory"]


class Block:
    """A value that lies in memory, as an array does."""

    def __init__(self, size: int) -> None:
        self.memory = bytearray(b"%d" % size * size)[:size]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Block) and bytes(self.memory) == bytes(other.memory)

    __hash__ = None  # type: ignore[assignment]


class BlockSerializer(Serializer):
    """Stores a block in three pieces, and gives it back over whatever it is given."""

    extension = "bin"
    safe = True
    reads: Form = "buffer"

    def __init__(self, reads: Form = "buffer", extension: str = "bin") -> None:
        self.reads = reads
        self.extension = extension  # type: ignore[misc]
        self.stored: list[Any] = []
        self.read: list[Any] = []

    def dumps(self, data):
        return b"".join(self.buffers(data))

    def buffers(self, data):
        self.stored.append([b"block:", memoryview(data.memory), b"."])
        return self.stored[-1]

    def loads(self, data):
        self.read.append(data)
        whole = memoryview(data)
        if whole[:6] != b"block:" or whole[-1:] != b".":
            raise ValueError("no block")
        block = Block(0)
        block.memory = whole[6:-1]
        return block


class Text(Serializer):
    """One of the many that say nothing of forms."""

    extension = "txt"

    def dumps(self, data):
        return data.encode()

    def loads(self, data):
        return data.decode()


class TwoMethods(Storage):
    """The smallest storage there is."""

    def __init__(self):
        self.kept = {}

    def read(self, path, deadline):
        if path not in self.kept:
            raise FileNotFoundError(path)
        return self.kept[path]

    def write(self, path, data):
        assert type(data) is bytes
        self.kept[path] = data


class Plain(LocalFileStorage):
    """Knows nothing of pieces."""

    def store(self, entry, data):
        assert type(data) is bytes
        super().store(entry, data)


class Files(FileStorage):
    """A file storage by the nine operations, as far as a call needs them."""

    def read_file(self, path):
        return path.read_bytes()

    def write_file(self, path, data):
        assert type(data) is bytes
        path.write_bytes(data)

    def ensure_path(self, path):
        path.mkdir(parents=True, exist_ok=True)

    iterdir = rmdir = mtime = atime = size = delete = None


STORAGES: dict[str, Callable[[Any], Storage]] = {
    "local files": lambda folder: LocalFileStorage(folder / "cache"),
    "local files, derived": lambda folder: Plain(folder / "cache"),
    "local files with a limit": lambda folder: LocalFileStorage(folder / "cache", "10MB"),
    "memory": lambda folder: MemoryStorage(),
    "two methods": lambda folder: TwoMethods(),
    "nine operations": lambda folder: Files(folder / "cache"),
}


@pytest.fixture(params=STORAGES.values(), ids=STORAGES.keys())
def storage(request, tmp_path) -> Storage:
    return request.param(tmp_path)


def called_twice(cache: Cache, size: int, colour: str = "sync") -> tuple[Block, Block]:
    if colour == "sync":

        @cache(name="block", track="none")
        def block(size: int) -> Block:
            return Block(size)

        return block(size), block(size)

    @cache(name="block", track="none")
    async def later(size: int) -> Block:
        return Block(size)

    return asyncio.run(later(size)), asyncio.run(later(size))


# --- A value in pieces, in every storage and every form.


@pytest.mark.parametrize("form", FORMS, ids=FORM_NAMES)
@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("size", [0, 10, LARGE])
def test_a_hit_gives_what_the_miss_gave(storage, form, colour, size):
    serializer = BlockSerializer(form)
    missed, hit = called_twice(Cache(serializer, storage, on_error="raise"), size, colour)
    assert missed == hit
    assert len(serializer.read) == 1


@pytest.mark.parametrize("form", FORMS, ids=FORM_NAMES)
@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("size", [0, 1, 65_520, 65_536, LARGE])
def test_bytes_come_in_the_form_that_was_asked_for(tmp_path, extension, form, size):
    storage = LocalFileStorage(tmp_path)
    value = Pieces([memoryview(os.urandom(size)), b"", b"PAR1" + bytes(4), bytes(4) + b"PAR1"])
    path = f"f/{'9c1e' * 8}.{extension}"
    storage.store(Entry(path, moment(0), len(value), compute_time=2.5), value)
    assert storage.read(path, None) == bytes(value)
    stored = storage.load(path, None, form)
    assert bytes(stored.data) == bytes(value)
    assert stored.compute_time == 2.5
    assert asyncio.run(storage.aload(path, None, form)).data == stored.data
    assert type(storage.load(path).data) is bytes
    if size >= 65_536 and extension != "parquet":
        view = memoryview(stored.data)
        assert view.readonly == (form in ("buffer", "mapped"))
        assert isinstance(view.obj, mmap.mmap) == (form in ("mapped", "private"))


@pytest.mark.parametrize("form", [*FORMS, "bytes"], ids=[*FORM_NAMES, "bytes"])
@pytest.mark.parametrize("extension", EXTENSIONS)
def test_damage_anywhere_is_found_in_every_form(tmp_path, extension, form):
    storage = LocalFileStorage(tmp_path)
    path = f"f/{'9c1e' * 8}.{extension}"
    file = tmp_path / path
    value = os.urandom(LARGE)
    storage.write(path, value)
    size = file.stat().st_size
    for position in (0, LARGE // 2, LARGE - 1, size - 1):
        storage.write(path, value)
        with file.open("r+b") as out:
            out.seek(position)
            byte = out.read(1)
            out.seek(position)
            out.write(bytes([byte[0] ^ 1]))
        with pytest.raises(DamagedEntry):
            storage.load(path, None, form)
        assert not file.exists()
    for length in (LARGE // 2, size - 1, size - 30):
        storage.write(path, value)
        os.truncate(file, length)
        with pytest.raises(DamagedEntry):
            storage.load(path, None, form)


@pytest.mark.parametrize("size", [100_000, 2 << 20, (2 << 20) + 1, 5_000_000])
def test_a_flipped_bit_and_a_cut_are_found_however_many_reads_a_value_takes(tmp_path, size):
    storage = LocalFileStorage(tmp_path)
    path = f"f/{'9c1e' * 8}.pickle"
    file, value = tmp_path / path, bytes(size - 16)
    for position in (0, size // 2, size - 17, size - 1):
        storage.write(path, value)
        assert storage.load(path, None, "buffer").data == value
        with file.open("r+b") as out:
            out.seek(position)
            out.write(b"\1")
        with pytest.raises(DamagedEntry):
            storage.load(path, None, "buffer")
    for length in (size - 1, size - 16, size // 2, 70_000):
        storage.write(path, value)
        os.truncate(file, length)
        with pytest.raises(DamagedEntry):
            storage.load(path, None, "buffer")


@pytest.mark.parametrize("form", FORMS, ids=FORM_NAMES)
def test_an_edit_that_is_trusted_comes_as_any_buffer(tmp_path, form):
    storage = LocalFileStorage(tmp_path, trust_unsealed=True)
    path = f"f/{'9c1e' * 8}.npy"
    storage.write(path, bytes(LARGE))
    (tmp_path / path).write_bytes(b"x" * LARGE)
    assert bytes(storage.load(path, None, form).data) == b"x" * LARGE


def test_memory_of_another_size_is_an_error_that_costs_no_file(tmp_path):
    storage = LocalFileStorage(tmp_path)
    path = f"f/{'9c1e' * 8}.npy"
    storage.write(path, bytes(LARGE))
    with pytest.raises(TypeError, match=f"299,999 bytes .* {LARGE:,}"):
        storage.load(path, None, lambda size: memoryview(bytearray(size - 1)))
    assert storage.read(path, None) == bytes(LARGE)


@pytest.mark.parametrize("form", [*FORMS, "bytes"], ids=[*FORM_NAMES, "bytes"])
def test_a_file_that_ends_early_gives_what_there_is(tmp_path, form):
    (tmp_path / "file").write_bytes(b"x" * LARGE)
    state = xxh3_64()
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    try:
        assert bytes(read_as(form, fd, 2 * LARGE, state)) == b"x" * LARGE
    finally:
        os.close(fd)


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize(("number", "size"), [(3000, 1), (3000, 100), (7, 300_000), (1, 300_000)])
def test_any_number_of_pieces_of_any_size_are_one_value(tmp_path, extension, number, size):
    storage = LocalFileStorage(tmp_path)
    pieces = Pieces([os.urandom(size) for _ in range(number)] + [b"", b"\n" * 80_000])
    path = f"f/{'9c1e' * 8}.{extension}"
    storage.store(Entry(path, moment(0), len(pieces)), pieces)
    assert storage.read(path, None) == bytes(pieces)


@pytest.mark.parametrize("cut", range(8))
def test_pieces_are_cut_where_that_is_asked_for(cut):
    pieces = Pieces([b"ab", b"", memoryview(b"cde"), b"f"])
    before, after = pieces.split(cut)
    assert (bytes(before), bytes(after), len(pieces)) == (b"abcdef"[:cut], b"abcdef"[cut:], 6)
    assert pieces.end(cut) == b"abcdef"[max(0, 6 - cut) :]


# --- Memory: mapped, or used again.


class Views(Serializer):
    """Gives the bytes as they come, for as long as the caller likes."""

    extension = name = "views"
    reads = "buffer"

    def dumps(self, data: Any) -> bytes:
        return bytes(data)

    def loads(self, data: Any) -> Any:
        return data


@pytest.mark.parametrize("size", [600_000, 3_000_000, 20_000_000])
def test_bytes_that_somebody_looks_at_are_not_written_over_by_later_hits(tmp_path, size):
    @Cache(Views(), tmp_path)
    def f(number: int) -> bytes:
        return bytes([number]) * (size + number)

    for number in range(6):
        f(number)
    values: dict[int, Any] = {}
    threads = [
        threading.Thread(target=lambda own=own: values.update((own + 3 * n, f((own + 3 * n) % 6)) for n in range(8)))
        for own in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert f.cache_info().hits == 24
    assert [bytes(values[n]) for n in range(24)] == [bytes([n % 6]) * (size + n % 6) for n in range(24)]


@pytest.mark.parametrize("form", ["mapped", "private"])
def test_a_mapped_value_outlives_its_entry(tmp_path, form):
    storage = LocalFileStorage(tmp_path, max_entries=1)
    path, other = f"f/{'9c1e' * 8}.npy", f"f/{'77ab' * 8}.npy"
    storage.write(path, b"1" * LARGE)
    mapped = storage.load(path, None, form).data
    storage.write(path, b"2" * LARGE)
    again = storage.load(path, None, form).data
    storage.write(other, b"3" * LARGE)  # evicts
    assert storage.peek(path) is None
    storage.clear()
    assert bytes(mapped) == b"1" * LARGE
    assert bytes(again) == b"2" * LARGE


def test_what_is_written_to_a_private_mapping_reaches_nobody(tmp_path):
    storage = LocalFileStorage(tmp_path)
    path = f"f/{'9c1e' * 8}.npy"
    storage.write(path, bytes(LARGE))
    mine = storage.load(path, None, "private").data
    mine[0] = 7
    assert storage.load(path, None, "private").data[0] == 0
    assert storage.read(path, None) == bytes(LARGE)


# --- What is given to whom.


def test_local_files_take_a_value_from_where_it_lies(tmp_path):
    written = []

    class Watching(LocalFileStorage):
        zero_copy = True

        def store(self, entry, data):
            written.append(data)
            assert entry.size == len(data)
            super().store(entry, data)

    serializer = BlockSerializer()
    missed, _ = called_twice(Cache(serializer, Watching(tmp_path)), LARGE)
    (pieces,) = written
    assert [len(piece) for piece in pieces.buffers] == [6, LARGE, 1]
    assert pieces.buffers[1].obj is missed.memory


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("size", [10, LARGE])
def test_a_serializer_that_says_nothing_is_given_bytes(tmp_path, extension, size):
    @Cache(type("Text", (Text,), {"extension": extension})(), tmp_path, on_error="raise")
    def text():
        return "x" * size

    assert text() == text() == "x" * size
    assert text.cache_info()[:2] == (1, 1)


def test_a_storage_that_gives_views_gives_bytes_to_those_who_know_no_other():
    class Views(TwoMethods):
        def read(self, path, deadline):
            return memoryview(super().read(path, deadline))

    @Cache(Text(), Views(), on_error="raise")
    def f():
        return "text"

    assert f() == f() == "text"
    assert f.cache_info()[:2] == (1, 1)


@pytest.mark.parametrize("form", FORMS, ids=FORM_NAMES)
def test_what_a_storage_shows_of_its_own_cannot_be_written_to(form):
    class Showing(TwoMethods):
        def read(self, path, deadline):
            return memoryview(bytearray(super().read(path, deadline)))

    _, hit = called_twice(Cache(BlockSerializer(form), Showing(), on_error="raise"), LARGE)
    assert memoryview(hit.memory).readonly


class Shouting(CloudPickleSerializer):
    """Overrides what the class above it has richer forms of."""

    def dumps(self, data):
        return super().dumps(data) + b"!"

    def loads(self, data):
        assert data.endswith(b"!")
        return super().loads(data[:-1])


class Hexadecimal(BlockSerializer):
    """The same, of one that has its bytes mapped."""

    def __init__(self) -> None:
        super().__init__("mapped")

    def dumps(self, data):
        return super().dumps(data).hex().encode()

    def loads(self, data):
        return super().loads(bytes.fromhex(data.decode()))


class Mixin:
    def dumps(self, data):
        return super().dumps(data) + b"!"

    def loads(self, data):
        assert data.endswith(b"!")
        return super().loads(data[:-1])


class Mixed(Mixin, PickleSerializer):
    """The same from the side."""


class Inheriting(Shouting):
    """And from below."""


@pytest.mark.parametrize("serializer", [Shouting(), Mixed(), Inheriting(), Hexadecimal()])
def test_a_class_that_overrides_dumps_and_loads_only_has_its_way(tmp_path, serializer):
    missed, hit = called_twice(Cache(serializer, tmp_path, on_error="raise"), LARGE)
    assert missed == hit
    (file,) = tmp_path.glob(f"block/*.{serializer.extension}")
    assert file.read_bytes().startswith(serializer.dumps(missed))
    assert serializer.dumps(missed) != b"".join(serializer.buffers(missed))


def test_a_derived_storage_says_itself_whether_it_takes_pieces():
    class Sideways:
        def load(self, path, max_age=None):
            return super().load(path, max_age)

    class Mixed(Sideways, LocalFileStorage):
        """Overrides reading, by way of another class."""

    class Named(LocalFileStorage):
        """Overrides nothing that has to do with bytes."""

        def peek(self, path):
            return super().peek(path)

    assert (LocalFileStorage.zero_copy, Plain.zero_copy, Mixed.zero_copy, Named.zero_copy) == (True, False, False, True)


@pytest.mark.parametrize("wrong", ["text", bytearray(b"x"), 5])
def test_what_are_no_bytes_is_refused_with_the_name_of_the_serializer(tmp_path, wrong):
    class Wrong(BlockSerializer):
        def buffers(self, data):
            return [b"", wrong]

    @Cache(Wrong(), tmp_path, on_error="raise")
    def f():
        return Block(1)

    with pytest.raises(SerializationError, match=f"Wrong: dumps\\(\\) gave {type(wrong).__name__}, not bytes"):
        f()


# --- Pieces show the value, which its owner may change.


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_who_waited_gets_what_was_computed_whatever_the_leader_makes_of_it(tmp_path, colour):
    cache = Cache(BlockSerializer(), tmp_path, on_error="raise")
    begun, go = threading.Event(), threading.Event()

    def block() -> Block:
        begun.set()
        go.wait(30)
        return Block(LARGE)

    async def later() -> Block:
        begun.set()
        await asyncio.to_thread(go.wait, 30)
        return Block(LARGE)

    function: Any = cache(name="block", track="none")(block if colour == "sync" else later)
    values: list[Block] = []

    def call() -> None:
        value = function() if colour == "sync" else asyncio.run(function())
        values.append(value)
        if not memoryview(value.memory).readonly:  # the leader's own
            value.memory[:] = bytes(LARGE)

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert begun.wait(30)
    time.sleep(0.2)
    go.set()
    for thread in threads:
        thread.join(30)
    fresh = [value for value in values if value == Block(LARGE)]
    assert (len(values), len(fresh)) == (8, 7)
    assert function.cache_info()[:2] == (7, 1)


def test_who_comes_while_the_leader_is_about_to_leave_finds_what_is_stored(tmp_path):
    cache = Cache(BlockSerializer(), tmp_path, on_error="raise")
    runs: list[int] = []

    @cache(track="none")
    def block(number: int) -> Block:
        runs.append(number)
        return Block(LARGE)

    def many() -> None:
        for number in range(30):
            value = block(number)
            assert bytes(value.memory) == bytes(Block(LARGE).memory)
            if isinstance(value.memory, bytearray):
                value.memory[:] = bytes(LARGE)

    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            many()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert sorted(runs) == list(range(30))


# --- Pickles.


class Sized:
    """Pickles as a large buffer within other things, as an array does."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __reduce_ex__(self, protocol):
        return Sized, (pickle.PickleBuffer(self.data),)


@pytest.mark.parametrize("serializer", [PickleSerializer(), CloudPickleSerializer()])
def test_pickles_leave_large_buffers_where_they_lie(serializer):
    memory = bytearray(os.urandom(100_000))
    growing = bytearray(memory)
    value = {"a": Sized(memory), "b": bytes(memory), "c": ["small"] * 3, "d": growing}
    buffers = serializer.buffers(value)
    assert b"".join(buffers) == serializer.dumps(value)
    views = [buffer for buffer in buffers if isinstance(buffer, memoryview)]
    assert [view.obj is memory for view in views] == [True]
    assert any(buffer is value["b"] for buffer in buffers)
    again = serializer.loads(memoryview(b"".join(buffers)))
    assert (again["a"].data, again["b"], again["c"], again["d"]) == (memory, memory, value["c"], growing)
    growing.append(1)  # Of what may grow no view is held.


def test_what_only_cloudpickle_takes_is_left_where_it_lies_too(tmp_path):
    memory = bytearray(100_000)
    buffers = CloudPickleSerializer().buffers([Sized(memory), lambda: 42])
    assert [buffer.obj is memory for buffer in buffers if isinstance(buffer, memoryview)] == [True]

    @Cache(storage=tmp_path, on_error="raise")
    def f():
        return [bytes(LARGE), lambda: 42]

    f()
    assert f()[1]() == 42
    assert f.cache_info()[:2] == (1, 1)


@pytest.mark.parametrize("size", [10, LARGE])
@pytest.mark.parametrize("place", ["local", "memory"])
def test_signed_pickles_come_back_and_are_refused_when_changed(tmp_path, size, place):
    storage = LocalFileStorage(tmp_path / "cache") if place == "local" else MemoryStorage()

    @Cache("pickle", storage, signing_key="a real secret")
    def f():
        return bytes(size)

    assert f() == f()
    assert f.cache_info()[:2] == (1, 1)
    data = bytearray(storage.read(f.cache.key(), None))
    data[len(data) // 2] ^= 1
    storage.write(f.cache.key(), bytes(data))
    with pytest.warns(PerscacheWarning, match="changed"):
        assert f() == bytes(size)


# --- What it takes of memory: the peak of a process of its own, which a hidden copy would raise.

# ru_maxrss of a new process begins with the size of the one that started it: hence one process between.
BETWEEN = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]], check=True)"

PROGRAM = """
import resource, sys
from perscache import Cache

serializer, folder, key, kind, size = sys.argv[1:]
size = int(size)
cache = Cache(serializer, folder, signing_key=key or None, on_error="raise")

class Local:
    pass

@cache(name="f", track="none")
def f(kind, size):
    value = bytes(1) * size
    return [value, lambda: Local] if kind == "with a lambda" else value

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

f(kind, 1000)
f(kind, 1000)
before = peak()
f(kind, size)
print((peak() - before) / size, f.cache_info().hits)
"""


def peak(*arguments: str) -> tuple[float, int]:
    """How many times the value a call took in memory, and how many hits there were."""
    done = subprocess.run(
        [sys.executable, "-c", BETWEEN, PROGRAM, *arguments, str(128 << 20)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ratio, hits = done.stdout.split()
    return float(ratio), int(hits)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell a process its peak in this way")
@pytest.mark.parametrize(
    ("serializer", "key", "kind"),
    [("pickle", "", ""), ("cloudpickle", "", ""), ("cloudpickle", "", "with a lambda"), ("pickle", "secret", "")],
    ids=["pickle", "cloudpickle", "what only cloudpickle takes", "signed"],
)
def test_storing_takes_the_value_and_reading_takes_it_twice(tmp_path, serializer, key, kind):
    ratio, hits = peak(serializer, str(tmp_path / "cache"), key, kind)
    assert hits == 1
    assert 0.9 < ratio < 1.1
    ratio, hits = peak(serializer, str(tmp_path / "cache"), key, kind)
    assert hits == 3
    assert 0.9 < ratio < 2.1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell a process its peak in this way")
def test_storing_in_memory_takes_the_value_twice():
    ratio, _ = peak("pickle", "memory://", "", "")
    assert 0.9 < ratio < 2.1
