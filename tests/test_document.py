"""What perscache 0.6.1 promised on its page, by the names that it used there."""

import asyncio
import datetime as dt
import json
import os
from pathlib import Path
from typing import Any

import pytest

import perscache.serializers
import perscache.storage
from perscache import Cache, NoCache
from perscache.serializers import (
    CloudPickleSerializer,
    CSVSerializer,
    JSONSerializer,
    ParquetSerializer,
    PickleSerializer,
    Serializer,
    YAMLSerializer,
    make_serializer,
)
from perscache.storage import CacheExpired, FileStorage, GoogleCloudStorage, LocalFileStorage, Storage


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)


def test_the_function_is_called_once_and_its_result_lies_in_dot_cache(capsys: pytest.CaptureFixture[str]):
    cache = Cache()

    @cache
    def get_data():
        print("Fetching data...")
        return "abc"

    assert [get_data(), get_data()] == ["abc", "abc"]
    assert capsys.readouterr().out == "Fetching data...\n"
    assert any(file.suffix == ".pickle" for file in Path(".cache").rglob("*"))


def test_a_counter_that_the_function_itself_raises_does_not_make_it_another_function():
    # As on the page: the counter is a global that the function assigns.
    names: dict[str, Any] = {}
    source = """
from perscache import Cache
cache = Cache()
counter = 0

@cache
def get_data():
    global counter
    counter += 1
    return "abc"

get_data()
get_data()
"""
    exec(source, names)

    assert names["counter"] == 1


def test_changed_arguments_and_changed_code_are_other_results(capsys: pytest.CaptureFixture[str]):
    cache = Cache()

    @cache
    def get_data(key):
        print("The function has been called...")
        return key

    assert [get_data("abc"), get_data("fgh"), get_data("abc")] == ["abc", "fgh", "abc"]

    @cache
    def get_data(key):
        print("This function has been changed...")
        return key

    assert get_data("abc") == "abc"
    assert capsys.readouterr().out == (
        "The function has been called...\nThe function has been called...\nThis function has been changed...\n"
    )


@pytest.mark.parametrize("spelling", ["ignore", "ignore_args"])
@pytest.mark.parametrize("names", ["ignore_this", ["ignore_this"], ("ignore_this",)])
def test_an_ignored_argument_may_change(spelling: str, names: Any):
    cache = Cache()

    @cache(**{spelling: names})
    def get_data(key, ignore_this):
        return key, ignore_this

    assert get_data("abc", "ignore_1") == ("abc", "ignore_1")
    assert get_data("abc", "ignore_2") == ("abc", "ignore_1")


@pytest.mark.parametrize("spelling", ["serializer", "serialization"])
def test_a_function_may_have_a_serializer_of_its_own(spelling: str):
    cache = Cache(serializer=JSONSerializer(), storage=LocalFileStorage("results"))

    @cache(**{spelling: PickleSerializer()})
    def get_data(key):
        return {key}

    assert get_data("abc") == get_data("abc") == {"abc"}
    assert get_data.cache.key("abc").endswith(".pickle")


def test_results_expire():
    cache = Cache()

    @cache(ttl=dt.timedelta(days=1))
    def get_data():
        return dt.datetime.now()

    made = get_data()
    file = Path(".cache", get_data.cache.key())
    assert get_data() == made
    long_ago = file.stat().st_mtime - 2 * 24 * 3600
    os.utime(file, (long_ago, long_ago))
    assert get_data() > made


@pytest.mark.parametrize(("debug", "runs"), [("1", 2), ("", 1)])
def test_settings_follow_the_environment(
    debug: str, runs: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("DEBUG", debug)
    monkeypatch.delenv("GOOGLE_PROJECT_NAME", raising=False)
    if os.environ.get("DEBUG"):
        cache = NoCache()
    else:
        cache = Cache(
            storage=GoogleCloudStorage("/bucket/folder")
            if os.environ.get("GOOGLE_PROJECT_NAME")
            else LocalFileStorage()
        )

    @cache
    def function():
        print("running")

    function()
    function()
    assert capsys.readouterr().out == "running\n" * runs


def test_a_bucket_may_be_the_default_storage():
    cache = Cache(serializer=JSONSerializer(), storage=GoogleCloudStorage("/bucket/folder"))

    assert isinstance(cache.storage, GoogleCloudStorage)
    assert isinstance(cache.serializer, JSONSerializer)


def test_the_decorator_is_also_called_cache():
    cache = Cache()

    @cache.cache
    def bare():
        return 1

    @cache.cache(ttl=dt.timedelta(hours=1))
    def with_settings():
        return 2

    assert (bare(), with_settings()) == (1, 2)


def test_coroutine_functions_are_supported(capsys: pytest.CaptureFixture[str]):
    cache = Cache()

    @cache
    async def get_data(key):
        print("running")
        return key

    assert asyncio.run(get_data("abc")) == asyncio.run(get_data("abc")) == "abc"
    assert capsys.readouterr().out == "running\n"


@pytest.mark.parametrize(("serializer", "beginning"), [(JSONSerializer, b'{"answer"'), (YAMLSerializer, b"answer: 42")])
def test_results_can_be_inspected(serializer: type[Serializer], beginning: bytes):
    cache = Cache(serializer=serializer())

    @cache
    def get_data():
        return {"answer": 42}

    get_data()
    stored = Path(".cache", get_data.cache.key()).read_bytes()
    assert stored.startswith(beginning)


def test_a_serializer_of_ones_own():
    class MySerializer(Serializer):
        extension = "data"

        def dumps(self, data: Any) -> bytes:
            return json.dumps(data).encode()

        def loads(self, data: bytes) -> Any:
            return json.loads(data)

    cache = Cache(serializer=MySerializer())

    @cache
    def get_data():
        return [1, 2]

    assert get_data() == get_data() == [1, 2]
    assert get_data.cache.key().endswith(".data")


def test_a_serializer_made_by_the_factory():
    made = make_serializer(
        "MadeSerializer", "made", dumps_fn=lambda data: str(data).encode(), loads_fn=lambda data: int(data)
    )

    @Cache(serializer=made())
    async def get_data():
        return 7

    assert asyncio.run(get_data()) == asyncio.run(get_data()) == 7
    assert made.__name__ == "MadeSerializer"


def test_a_storage_of_ones_own(capsys: pytest.CaptureFixture[str]):
    class MyStorage(Storage):
        def __init__(self):
            self.files: dict[str, tuple[bytes, dt.datetime]] = {}

        def read(self, path, deadline: dt.datetime | None) -> bytes:
            if path not in self.files:
                raise FileNotFoundError(path)
            data, written = self.files[path]
            if deadline is not None and written < deadline:
                raise CacheExpired(path)
            return data

        def write(self, path, data: bytes) -> None:
            self.files[path] = data, dt.datetime.now(dt.UTC)

    storage = MyStorage()

    @Cache(storage=storage, ttl=60)
    def get_data(key):
        print("running")
        return key

    assert [get_data(2), get_data(2), get_data(3)] == [2, 2, 3]
    assert len(storage.files) == 2
    for path, (data, written) in storage.files.items():
        storage.files[path] = data, written - dt.timedelta(minutes=2)
    get_data(2)
    assert capsys.readouterr().out == "running\n" * 3


def test_the_least_recently_used_results_make_room(tmp_path: Path):
    @Cache(serializer="pickle", storage=LocalFileStorage(tmp_path / "limited", max_size=350_000))
    def get_data(key):
        return key * 100_000

    for key in ("a", "b", "c"):
        get_data(key)
        # Recency is kept in file times; the order must not depend on how coarse the clock is.
        file = tmp_path / "limited" / get_data.cache.key(key)
        moment = 1_000_000_000 + ord(key)
        os.utime(file, (moment, file.stat().st_mtime))
    get_data("a")
    get_data("d")

    assert [get_data.cache_contains(key) for key in "abcd"] == [True, False, True, True]


@pytest.mark.parametrize("serializer", [CloudPickleSerializer, CSVSerializer, ParquetSerializer])
def test_its_serializers_are_where_they_were(serializer: type[Serializer]):
    assert issubclass(serializer, Serializer)
    assert serializer.__name__ in dir(perscache.serializers)


@pytest.mark.parametrize("storage", [GoogleCloudStorage, LocalFileStorage, FileStorage])
def test_its_storages_are_where_they_were(storage: type[Storage]):
    assert issubclass(storage, Storage)
    assert storage.__name__ in dir(perscache.storage)
