"""Settings from the environment and from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from perscache import Cache
from perscache.errors import ConfigurationError


def test_without_settings_results_lie_in_dot_cache_as_pickles():
    cache = Cache()
    f = cache(lambda: 1)
    f()
    assert (Path(".cache") / f.cache.key()).is_file()
    assert f.cache.key().endswith(".pickle")


def test_settings_come_from_the_strongest_source(tmp_path, monkeypatch):
    Path("perscache.toml").write_text('serializer = "json"\nttl = "1d"\nstorage = "from-file"\nmax_size = "1GB"\n')
    cache = Cache()
    assert cache.serializer.name == "json"
    assert cache.storage.location == Path.cwd() / "from-file"
    assert cache.storage.max_size == 10**9

    monkeypatch.setenv("PERSCACHE_SERIALIZER", "pickle")
    monkeypatch.setenv("PERSCACHE_STORAGE", str(tmp_path / "from-environment"))
    monkeypatch.setenv("PERSCACHE_MAX_SIZE", "2GB")
    cache = Cache()
    assert cache.serializer.name == "pickle"
    assert cache.storage.location == tmp_path / "from-environment"
    assert cache.storage.max_size == 2 * 10**9
    assert cache(lambda: 1).cache_parameters()["ttl"] == 86400

    monkeypatch.setenv("PERSCACHE_TTL", "1h")
    assert Cache()(lambda: 1).cache_parameters()["ttl"] == 3600
    assert Cache(ttl="1m")(lambda: 1).cache_parameters()["ttl"] == 60
    assert Cache(ttl="1m")(ttl="1s")(lambda: 1).cache_parameters()["ttl"] == 1
    assert Cache("cloudpickle").serializer.name == "cloudpickle"


def test_the_nearest_pyproject_counts_and_its_paths_start_there(monkeypatch):
    Path("pyproject.toml").write_text('[project]\nname = "x"\n[tool.perscache]\nstorage = "kept"\nlock = false\n')
    below = Path("a/b")
    below.mkdir(parents=True)
    here = Path.cwd()
    monkeypatch.chdir(below)
    cache = Cache()
    assert cache.storage.location == here / "kept"
    assert cache(lambda: 1).cache_parameters()["lock"] is False


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('serialiser = "json"', "did you mean 'serializer'"),
        ("quux = 1", "the settings are"),
        ("ttl = true", "ttl = True: it takes"),
        ("max_size = 1.5", "it takes str or int"),
        ('signing_key = "x"', "PERSCACHE_SIGNING_KEY"),
        ("ttl = ", "cannot be read"),
    ],
)
def test_a_setting_that_has_no_meaning_is_an_error_that_names_the_file(text, message):
    Path("perscache.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=message) as caught:
        Cache()
    assert "perscache.toml" in str(caught.value)


def test_max_size_is_for_storages_that_cache_makes(tmp_path):
    from perscache.storage import LocalFileStorage

    assert Cache(storage=tmp_path, max_size="1MB").storage.max_size == 10**6
    assert Cache(storage="memory://", max_size=500).storage.max_size == 500
    with pytest.raises(ConfigurationError, match=r"LocalFileStorage\(…, max_size=…\)"):
        Cache(storage=LocalFileStorage(tmp_path), max_size=1)


@pytest.mark.parametrize("size", ["20 parsecs", -1, "", 1.5, True])
def test_a_size_without_meaning_is_an_error(size, tmp_path):
    with pytest.raises(ConfigurationError, match="no size"):
        Cache(storage=tmp_path, max_size=size)


@pytest.mark.parametrize("storage", [3, "", b"bytes", {".cache"}])
def test_a_storage_without_meaning_is_an_error(storage):
    with pytest.raises(ConfigurationError, match="it takes a path, a URL"):
        Cache(storage=storage)


@pytest.mark.parametrize("storage", ["simplecache::sftp://host/folder", "fsspec+filecache::s3://bucket/folder"])
def test_a_chain_of_file_systems_is_no_folder_of_that_name(storage):
    with pytest.raises(ConfigurationError, match=r"a list for tiers: storage=\['.cache', 's(ftp|3)://"):
        Cache(storage=storage)


@pytest.mark.parametrize("storage", ["file:results?max_size=1GB", "memory:", "gs:bucket/folder"])
def test_a_url_without_its_slashes_is_no_folder_of_that_name(storage):
    with pytest.raises(ConfigurationError, match=r"two slashes, (file|memory|gs)://"):
        Cache(storage=storage)


@pytest.mark.parametrize(
    "storage",
    [
        "gs:me:secret@bucket",
        "sftp::gs://me:secret@bucket",
        ["memory://", ["gs://me:secret@bucket"]],
        ["memory://", "gs://me:se/cret@bucket?password=secret"],
    ],
)
def test_what_is_said_of_a_wrong_storage_shows_no_password(storage):
    with pytest.raises(ConfigurationError) as refused:
        Cache(storage=storage, max_size=1)

    assert "cret" not in str(refused.value)


@pytest.mark.parametrize("serializer", [3, object(), dict])
def test_a_serializer_without_meaning_is_an_error(serializer):
    with pytest.raises(ConfigurationError, match="it takes a name"):
        Cache(serializer=serializer)


def test_an_extension_that_is_no_file_ending_is_an_error():
    from perscache.serializers import make_serializer

    for extension in ("", "a/b", "..", "a b"):
        with pytest.raises(ConfigurationError, match="ending"):
            Cache(serializer=make_serializer("Odd", extension, str.encode, bytes.decode)())(lambda: "")


def test_classes_serve_as_well_as_instances(tmp_path, monkeypatch):
    from perscache.serializers import JSONSerializer
    from perscache.storage import MemoryStorage

    cache = Cache(JSONSerializer, MemoryStorage)
    assert cache(lambda: 1)() == 1
