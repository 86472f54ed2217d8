"""Every byte of a stored file is proven before it is given back, and the file stays what its extension says."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perscache.entry import Entry, Stored, moment
from perscache.errors import DamagedEntry
from perscache.storage.local import LocalFileStorage

NAME = "9c1e" * 8
OTHER = "77ab" * 8
EXTENSIONS = ["pickle", "npy", "zip", "parquet", "json", "yaml", "csv", "txt", "mine"]

PAGES = b"PAR1" + bytes(range(60))
FOOTER = b"a footer of thrift"
# What makes a parquet file for the seal: the magic number at both ends, and the footer's length.
PARQUET = PAGES + FOOTER + len(FOOTER).to_bytes(4, "little") + b"PAR1"

VALUES = {
    "pickle": pickle.dumps({"rows": [1.5, None, "ü"]}),
    "npy": b"\x93NUMPY\x01\x00" + bytes(70),
    "zip": b"PK\x05\x06" + bytes(18),
    "parquet": PARQUET,
    "json": b'{"rows": [1.5, null, "\\u00fc"]}',
    "yaml": b"rows:\n- 1.5\n- null\n",
    "csv": b"a,b\n1,2\n",
    "txt": b"some text",
    "mine": bytes(range(50)),
}


def path(extension: str, name: str = NAME) -> str:
    return f"shop.prices/{name}.{extension}"


def sealed(tmp_path: Path, extension: str, value: bytes | None = None) -> tuple[LocalFileStorage, Path, bytes]:
    storage = LocalFileStorage(tmp_path / "cache")
    data = VALUES[extension] if value is None else value
    storage.store(Entry(path(extension), moment(0), len(data), compute_time=2.5), data)
    return storage, tmp_path / "cache" / path(extension), data


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("size", [0, 1, 15, 16, 65_519, 65_520, 65_536, 300_001])
def test_what_is_written_comes_back_byte_for_byte_with_the_seconds_that_it_took(tmp_path, extension, size):
    storage, _, data = sealed(tmp_path, extension, os.urandom(size))
    stored = storage.load(path(extension))
    assert bytes(stored.data) == data
    assert stored.compute_time == 2.5
    assert storage.read(path(extension), None) == data


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(EXTENSIONS), st.binary(max_size=200) | st.sampled_from(list(VALUES.values())), st.integers(0, 3))
def test_a_foreign_serializer_may_write_anything_even_what_looks_sealed(tmp_path_factory, extension, data, times):
    folder = tmp_path_factory.mktemp("any")
    for _ in range(times):  # the file of an entry as the value of the next
        storage, file, _ = sealed(folder, extension, data)
        data = file.read_bytes()
    storage, _, _ = sealed(folder, extension, data)
    assert storage.read(path(extension), None) == data


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_one_flipped_bit_anywhere_is_found(tmp_path, extension):
    storage, file, data = sealed(tmp_path, extension)
    whole = file.read_bytes()
    for position in range(len(whole)):
        storage.write(path(extension), data)
        with file.open("r+b") as out:
            out.seek(position)
            out.write(bytes([whole[position] ^ 1 << position % 8]))
        with pytest.raises(DamagedEntry):
            storage.load(path(extension))
        assert not file.exists()


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_cut_at_any_length_is_found(tmp_path, extension):
    storage, file, data = sealed(tmp_path, extension)
    for length in range(file.stat().st_size):
        storage.write(path(extension), data)
        os.truncate(file, length)
        with pytest.raises(DamagedEntry):
            storage.load(path(extension))


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_bytes_added_at_the_end_are_found(tmp_path, extension):
    storage, file, _ = sealed(tmp_path, extension)
    with file.open("ab") as out:
        out.write(b"\n")
    with pytest.raises(DamagedEntry):
        storage.load(path(extension))


@pytest.mark.parametrize("size", [40, 100_000])
@pytest.mark.parametrize("extension", EXTENSIONS)
def test_two_entries_that_were_swapped_are_both_refused(tmp_path, extension, size):
    storage, file, _ = sealed(tmp_path, extension, b"a" * size)
    storage.write(path(extension, OTHER), b"b" * size)
    other = file.with_name(f"{OTHER}.{extension}")
    file.rename(file.with_name("between"))
    other.rename(file)
    file.with_name("between").rename(other)
    for name in (NAME, OTHER):
        with pytest.raises(DamagedEntry):
            storage.load(path(extension, name))


def test_the_seconds_cannot_be_changed_unnoticed(tmp_path):
    storage, file, data = sealed(tmp_path, "pickle")
    with file.open("r+b") as out:
        out.seek(len(data) + 4)
        out.write(bytes(4))
    with pytest.raises(DamagedEntry):
        storage.load(path("pickle"))


def test_an_entry_without_seconds_comes_back_without(tmp_path):
    storage = LocalFileStorage(tmp_path / "cache")
    for extension in EXTENSIONS:
        storage.write(path(extension), b"x")
        assert storage.load(path(extension)).compute_time is None


# --- Ordinary tools.


def test_pickle_json_and_zip_readers_open_the_files(tmp_path):
    _, file, data = sealed(tmp_path, "pickle")
    with file.open("rb") as source:
        assert pickle.load(source) == pickle.loads(data)
    _, file, data = sealed(tmp_path, "json")
    assert json.loads(file.read_text()) == json.loads(data)
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr("inside.txt", "hello")
    _, file, _ = sealed(tmp_path, "zip", archive.getvalue())
    assert zipfile.ZipFile(file).read("inside.txt") == b"hello"


def test_text_tables_hold_nothing_but_their_text(tmp_path):
    for extension in ("csv", "txt", "mine"):
        _, file, data = sealed(tmp_path, extension)
        assert file.read_bytes() == data


@pytest.mark.parametrize("text", ["a: 1\n", "a: 1", "- |+\n  kept\n\n", "'quoted'", "a: &x [1]\n...\n"])
def test_yaml_readers_see_the_value_and_nothing_else(tmp_path, text):
    yaml = pytest.importorskip("yaml", reason="pyyaml comes with perscache-yaml")
    storage, file, data = sealed(tmp_path, "yaml", text.encode())
    assert yaml.safe_load(file.read_text()) == yaml.safe_load(text)
    assert storage.read(path("yaml"), None) == data


def test_numpy_opens_its_files_also_mapped(tmp_path):
    numpy = pytest.importorskip("numpy", reason="numpy is no dependency of the core")
    array = numpy.arange(1000.0).reshape(10, 100)
    out = BytesIO()
    numpy.save(out, array)
    _, file, _ = sealed(tmp_path, "npy", out.getvalue())
    assert (numpy.load(file) == array).all()
    mapped = numpy.load(file, mmap_mode="r")
    assert (mapped == array).all()
    del mapped
    out = BytesIO()
    numpy.savez(out, array=array)
    _, file, _ = sealed(tmp_path, "npz", out.getvalue())
    with numpy.load(file) as archive:
        assert (archive["array"] == array).all()


@pytest.mark.parametrize("rows", [3, 100_000])
def test_parquet_readers_open_the_file_with_the_seal_between_pages_and_footer(tmp_path, rows):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow comes with perscache-parquet")
    import pyarrow as pa

    table = pa.table({"a": range(rows), "b": [str(row % 7) for row in range(rows)]})
    out = BytesIO()
    parquet.write_table(table, out, row_group_size=40_000, write_page_index=True, compression="zstd")
    storage, file, data = sealed(tmp_path, "parquet", out.getvalue())
    assert file.stat().st_size == len(data) + 16
    assert bytes(storage.load(path("parquet")).data) == data
    assert parquet.read_table(file).equals(table)
    assert parquet.read_table(file, memory_map=True, filters=[("a", ">=", rows - 1)]).num_rows == 1
    polars = pytest.importorskip("polars", reason="polars is no dependency of the core")
    assert polars.read_parquet(file)["a"].to_list() == list(range(rows))
    assert polars.scan_parquet(file).filter(polars.col("a") == rows - 1).collect().height == 1
    pandas = pytest.importorskip("pandas", reason="pandas is no dependency of the core")
    assert len(pandas.read_parquet(file)) == rows


# --- Seals beside the file.


def damages(seal: bytes) -> Iterator[bytes]:
    """A seal with a bit flipped in each byte, and cut at each length."""
    for position in range(len(seal)):
        yield seal[:position] + bytes([seal[position] ^ 1 << position % 8]) + seal[position + 1 :]
        yield seal[:position]


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="no extended attributes on this system")
def test_a_flipped_bit_and_a_cut_of_a_seal_in_an_attribute_are_found(tmp_path):
    storage, file, data = sealed(tmp_path, "csv")
    try:
        seal = os.getxattr(file, "user.perscache")
    except OSError:
        pytest.skip("this file system keeps no extended attributes")
    for damaged in damages(seal):
        storage.write(path("csv"), data)
        os.setxattr(file, "user.perscache", damaged)
        with pytest.raises(DamagedEntry):
            storage.load(path("csv"))


@pytest.fixture
def no_attributes(monkeypatch):
    """A file system that keeps no extended attributes."""

    def refuse(*_args, **_options):
        raise OSError(errno.ENOTSUP, "not supported")

    for name in ("setxattr", "getxattr"):
        monkeypatch.setattr(os, name, refuse, raising=False)


@pytest.mark.usefixtures("no_attributes")
class TestWithoutExtendedAttributes:
    def test_a_hidden_file_holds_the_seal_and_goes_with_its_entry(self, tmp_path):
        storage, file, data = sealed(tmp_path, "csv")
        assert storage.load(path("csv")) == Stored(data, file.stat().st_mtime, 2.5)
        assert [name for name in os.listdir(file.parent) if name.endswith(".seal")] == [f".{NAME}.csv.seal"]
        assert [entry.path for entry in storage.entries()] == [path("csv")]
        assert storage.delete(path("csv"))
        assert not any(name.endswith(".seal") for name in os.listdir(file.parent))

    def test_whichever_of_many_writers_comes_last_its_seal_is_there(self, tmp_path):
        storage, _, _ = sealed(tmp_path, "csv")
        for number in range(100):
            data = b"%d" % number
            storage.write(path("csv"), data)
            assert storage.read(path("csv"), None) == data

    def test_damage_is_found(self, tmp_path):
        storage, file, _ = sealed(tmp_path, "csv")
        file.write_bytes(b"a,b\n1,3\n")
        with pytest.raises(DamagedEntry):
            storage.load(path("csv"))

    def test_a_flipped_bit_and_a_cut_of_the_seal_are_found(self, tmp_path):
        storage, file, data = sealed(tmp_path, "csv")
        seal = file.with_name(f".{NAME}.csv.seal")
        for damaged in damages(seal.read_bytes()):
            storage.write(path("csv"), data)
            seal.write_bytes(damaged)
            with pytest.raises(DamagedEntry):
                storage.load(path("csv"))

    def test_a_seal_file_full_of_noise_is_a_seal_that_does_not_match(self, tmp_path):
        storage, file, data = sealed(tmp_path, "csv")
        file.with_name(f".{NAME}.csv.seal").write_bytes(os.urandom(33))
        with pytest.raises(DamagedEntry):
            storage.load(path("csv"))
        storage.write(path("csv"), data)
        assert storage.read(path("csv"), None) == data


def test_a_cache_that_was_copied_is_read_where_it_arrives(tmp_path):
    for extension in ("pickle", "json", "yaml", "parquet"):
        sealed(tmp_path, extension)
    shutil.copytree(tmp_path / "cache", tmp_path / "copy")
    copy = LocalFileStorage(tmp_path / "copy")
    for extension in ("pickle", "json", "yaml", "parquet"):
        assert copy.read(path(extension), None) == VALUES[extension]
