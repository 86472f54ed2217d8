"""What lies in the folder, and what is known of it."""

from __future__ import annotations

import json
import os
import pickle
import struct
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from perscache import Cache
from perscache.entry import Entry
from perscache.errors import CacheExpired, ConfigurationError, DamagedEntry
from perscache.plugins import registry
from perscache.plugins.known import KNOWN, Kind
from perscache_fsspec import FsspecStorage

HASH = "0123456789abcdef0123456789abcdef"
PATH = f"f/{HASH}.json"
FOOTER = b"what the pages are"
PARQUET = b"PAR1" + b"pages" * 100 + FOOTER + struct.pack("<I", len(FOOTER)) + b"PAR1"


EXTENSIONS = ["pickle", "json", "yaml", "parquet", "csv"]


def test_bytes_come_back_as_they_were(place):
    storage = place.open()
    for extension in EXTENSIONS:
        for data in (b"", b"x", b"x\n", b" \t \n", b"\n--==0==--\n", PARQUET):
            path = f"f/{HASH}.{extension}"

            storage.write(path, data)

            assert storage.load(path).data == data
            assert storage.peek(path).size == len(data)


def test_a_large_body_comes_back_as_it_was(place):
    data = os.urandom(20_000_000)
    storage = place.open()

    storage.write(f"f/{HASH}.pickle", data)

    assert storage.load(f"f/{HASH}.pickle").data == data
    assert storage.peek(f"f/{HASH}.pickle").size == len(data)


def test_files_are_what_their_extension_says(place):
    storage = place.open()
    storage.write(PATH, b'{"a": [1, 2]}')
    storage.write(f"f/{HASH}.pickle", pickle.dumps({"a": 1}))
    storage.write(f"f/{HASH}.csv", b"a,b\n1,2\n")
    storage.write(f"f/{HASH}.parquet", PARQUET)

    assert json.loads((place.folder / PATH).read_text()) == {"a": [1, 2]}
    assert pickle.loads((place.folder / f"f/{HASH}.pickle").read_bytes()) == {"a": 1}
    assert (place.folder / f"f/{HASH}.csv").read_bytes() == b"a,b\n1,2\n"
    stored = (place.folder / f"f/{HASH}.parquet").read_bytes()
    kept = len(FOOTER) + 8
    assert (stored[: len(PARQUET) - kept], stored[-kept:]) == (PARQUET[:-kept], PARQUET[-kept:])


def test_other_tools_open_yaml_and_parquet(tmp_path: Path):
    yaml = pytest.importorskip("yaml", reason="pyyaml reads YAML here, and is not installed")
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow reads Parquet here, and is not installed")
    import pyarrow as pa

    storage = FsspecStorage(f"fsspec+file://{tmp_path}/cache")
    for number, text in enumerate((b"- 1\n- two\n", b"- 1\n- two", b"text: |+\n  a\n\n")):
        storage.write(f"f/{number:032x}.yaml", text)
        assert yaml.safe_load((tmp_path / f"cache/f/{number:032x}.yaml").read_bytes()) == yaml.safe_load(text)
    table, sink = pa.table({"a": list(range(1000))}), pa.BufferOutputStream()
    parquet.write_table(table, sink)
    storage.write(f"f/{HASH}.parquet", sink.getvalue().to_pybytes())
    assert parquet.read_table(tmp_path / f"cache/f/{HASH}.parquet").equals(table)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_what_is_known_of_an_entry_is_kept_with_it(place, extension: str):
    storage = place.open()
    path = f"f/{HASH}.{extension}"
    storage.store(
        Entry(path, datetime.now(UTC), 1, compute_time=0.125, format="x", function="app.f", arguments="x='ключ'"),
        b"x" * 200_000,
    )

    (listed,) = storage.entries()

    assert listed == storage.peek(path)
    assert (listed.compute_time, listed.format, listed.function, listed.arguments) == (0.125, "x", "app.f", "x='ключ'")
    assert listed.size == 200_000
    assert abs(listed.created - datetime.now(UTC)) < timedelta(minutes=1)


def test_nothing_but_entries_lies_in_the_folder(place):
    storage = place.open()
    for number in range(3):
        storage.write(f"f/{number:032x}.json", b"1")
        storage.write(f"f/{number:032x}.json", b"2")

    files = sorted(str(path.relative_to(place.folder)) for path in place.folder.rglob("*") if path.is_file())
    assert files == [f"f/{number:032x}.json" for number in range(3)]


def test_clearing_removes_what_is_ours_and_nothing_else(place):
    storage = place.open()
    storage.write(PATH, b"1")
    storage.write(f"g/{HASH}.csv", b"2")
    for foreign in (f"f/{HASH[::-1]}.json", f"{HASH}.pickle", "notes.txt", "deep/er/notes.txt"):
        (place.folder / foreign).parent.mkdir(parents=True, exist_ok=True)
        (place.folder / foreign).write_text("mine")

    assert [entry.path for entry in storage.entries("f")] == [PATH]
    assert storage.clear("f") == 1
    assert storage.clear() == 1
    assert [path.read_text() for path in place.folder.rglob("*") if path.is_file()] == ["mine"] * 4


def test_an_entry_that_was_written_again_after_it_was_listed_stays(place):
    storage = place.open()
    storage.write(PATH, b"old")
    (listed,) = storage._list("f/", None).objects
    storage.write(PATH, b"newer")

    assert not storage._remove(listed.name, listed.generation)
    assert storage.load(PATH).data == b"newer"


@pytest.mark.parametrize("extension", ["json", "csv"])
def test_delete_says_whether_there_was_one(place, extension: str):
    storage = place.open()
    storage.write(f"f/{HASH}.{extension}", b"1")

    assert storage.delete(f"f/{HASH}.{extension}")
    assert not storage.delete(f"f/{HASH}.{extension}")
    assert not storage.delete(f"g/{HASH}.{extension}")
    assert [path for path in place.folder.rglob("*") if path.is_file()] == []


def test_pruning_keeps_the_limit_and_removes_the_oldest(place):
    storage = place.open(max_size=10**9, sweep_every=10**9)
    paths = [f"f/{number:032x}.pickle" for number in range(4)]
    for age, path in enumerate(reversed(paths)):
        storage.write(path, b"x" * 1000)
        file = place.folder / path
        os.utime(file, (file.stat().st_mtime - 3600 * (4 - age),) * 2)
    size = file.stat().st_size
    storage.max_size = 3 * size

    assert storage.prune() == 2

    assert sorted(entry.path for entry in storage.entries()) == paths[:2]
    assert storage.prune(max_age=36000) == 0
    assert storage.prune(max_age=60) == 2


def test_what_a_writer_left_behind_goes_with_the_next_pruning(place):
    storage = place.open()
    storage.write(PATH, b"1")
    drafts = place.folder / "perscache.drafts"
    (drafts / "dead").write_text("half")
    (drafts / "alive").write_text("half")
    os.utime(drafts / "dead", (0, 0))

    storage.prune()

    assert [path.name for path in drafts.iterdir()] == ["alive"]
    assert storage.load(PATH).data == b"1"


def test_age_is_judged_at_reading(place):
    storage = place.open()
    storage.store(Entry(PATH, datetime.now(UTC) - timedelta(hours=1), 1), b"1")

    assert storage.load(PATH, max_age=7200).data == b"1"
    with pytest.raises(CacheExpired):
        storage.load(PATH, max_age=1800)
    with pytest.raises(CacheExpired):
        storage.read(PATH, datetime.now(UTC) - timedelta(minutes=30))


def test_changed_bytes_are_damage(place):
    storage = place.open()
    for path in (f"f/{HASH}.{extension}" for extension in EXTENSIONS):
        storage.write(path, PARQUET)
        file = place.folder / path
        whole = file.read_bytes()

        for damaged in (whole[:100] + b"!" + whole[101:], whole[:-1], whole[: len(whole) // 2], b"", whole + b"!"):
            file.write_bytes(damaged)
            with pytest.raises(DamagedEntry):
                storage.load(path)
        file.write_bytes(whole)
        assert storage.load(path).data == PARQUET


def test_a_file_under_another_s_name_is_damage(place):
    storage = place.open()
    storage.write(PATH, b"1")
    other = PATH.replace("f/", "g/")
    (place.folder / "g").mkdir()
    (place.folder / PATH).rename(place.folder / other)

    with pytest.raises(DamagedEntry, match="written under another name"):
        storage.load(other)


def test_a_folder_that_was_removed_is_made_again(place):
    import shutil

    storage = place.open()
    storage.write(PATH, b"1")
    shutil.rmtree(place.folder)

    with pytest.raises(FileNotFoundError):
        storage.load(PATH)
    assert list(storage.entries()) == []
    storage.write(PATH, b"2")
    assert storage.load(PATH).data == b"2"


def test_readers_see_the_old_or_the_new_while_it_is_written_again(place):
    storage, writer = place.open(), place.open()
    values = [bytes([number]) * 300_000 for number in range(8)]
    path = f"f/{HASH}.pickle"
    storage.write(path, values[0])
    over = threading.Event()
    seen: list[bool] = []

    def read() -> None:
        while not over.is_set():
            seen.append(storage.load(path).data in values)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for thread in readers:
        thread.start()
    for value in values:
        writer.write(path, value)
    over.set()
    for thread in readers:
        thread.join()

    assert len(seen) > 2
    assert all(seen)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sftp://me@host/folder?maxsize=1GB", "max_size"),
        ("sftp://me@host/folder?lease=30", "no option 'lease'"),
        ("sftp://host/a//b", "'//'"),
        ("sftp://", "names no folder"),
        ("fsspec://sftp/folder", r"fsspec\+scheme://"),
        ("fsspec+sfpt://host/folder", r"did you mean 'fsspec\+sftp://'"),
        ("sftp://host/folder?connections=1", "needs two"),
    ],
)
def test_a_wrong_option_is_refused_with_the_way_out(url: str, says: str):
    with pytest.raises(ConfigurationError, match=says):
        Cache(storage=url)


@pytest.mark.parametrize("chain", ["simplecache::sftp://host/folder", "fsspec+filecache::sftp://host/folder"])
def test_a_chain_is_refused_with_the_way_out(chain: str):
    with pytest.raises(ConfigurationError, match="tiers"):
        Cache(storage=chain)
    with pytest.raises(ConfigurationError, match="tiers"):
        FsspecStorage(chain)


def test_every_scheme_is_known_and_declared():
    ours = {name for name, distribution in KNOWN[Kind.STORAGE].items() if distribution == "perscache-fsspec"}

    assert ours == set(FsspecStorage.schemes)
    for scheme in ours:
        assert registry.storage_class(scheme) is FsspecStorage


def test_a_password_is_not_shown():
    storage = FsspecStorage("sftp://me:secret@host:22/folder", options={"password": "secret"})

    assert storage.url == "sftp://me@host:22/folder"
    assert repr(storage) == "FsspecStorage('sftp://me@host:22/folder')"
    assert "secret" not in storage.identity
    for wrong in ("sftp://me:secret@host/a//b", "x::sftp://me:secret@host/a", "fsspec+sfpt://me:secret@host/a"):
        with pytest.raises(ConfigurationError) as refused:
            FsspecStorage(wrong)
        assert "secret" not in str(refused.value)
    assert FsspecStorage("github://org:repository@main/folder").url == "github://org:repository@main/folder"


def test_a_url_says_what_the_class_says():
    storage = Cache(storage="SFTP://me@host/my%20folder?max_size=20GB&timeout=1m&connections=3&sweep_every=5").storage

    assert isinstance(storage, FsspecStorage)
    assert (storage.url, storage.max_size) == ("sftp://me@host/my folder", 20_000_000_000)
    assert (storage.timeout, storage.connections, storage.sweep_every) == (60, 3, 5)


def test_servers_that_options_name_are_told_apart():
    one, other = (FsspecStorage("webdav://cache/x", options={"base_url": f"https://{host}"}) for host in "ab")

    assert one.identity != other.identity
