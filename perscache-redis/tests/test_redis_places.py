"""What a URL names, what it may not say, and that nobody reads a password in what we print."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from perscache import Cache
from perscache.errors import ConfigurationError
from perscache_redis import RedisStorage
from perscache_redis.testing import server

PATH = "f/0123456789abcdef0123456789abcdef.json"


@pytest.mark.parametrize(
    ("url", "means"),
    [
        ("redis://", "redis://localhost:6379/0/perscache"),
        ("redis://localhost", "redis://localhost:6379/0/perscache"),
        ("redis://localhost:6379/0/", "redis://localhost:6379/0/perscache"),
        ("redis://example.org:7000/5", "redis://example.org:7000/5/perscache"),
        ("redis://example.org/5/team/prices", "redis://example.org:6379/5/team/prices"),
        ("redis://example.org/5/team:prices", "redis://example.org:6379/5/team:prices"),
        ("redis://example.org?db=5&prefix=team", "redis://example.org:6379/5/team"),
        ("redis://example.org/5?prefix=", "redis://example.org:6379/5?prefix="),
        ("redis://[::1]:7000/1/a", "redis://[::1]:7000/1/a"),
        ("redis://user:p%40ss%2F@example.org/1/a", "redis://example.org:6379/1/a"),
        ("rediss://example.org/1/a", "rediss://example.org:6379/1/a"),
        ("valkey://example.org/1/a", "redis://example.org:6379/1/a"),
        ("valkeys://example.org/1/a", "rediss://example.org:6379/1/a"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock?db=0&prefix=perscache"),
        ("unix://user:pass@/run/redis.sock?db=2&prefix=team", "unix:///run/redis.sock?db=2&prefix=team"),
    ],
)
def test_a_url_names_a_server_a_database_and_a_prefix(url: str, means: str):
    storage = Cache(storage=url).storage

    assert isinstance(storage, RedisStorage)
    assert storage.identity == means
    assert repr(storage) == f"RedisStorage({means!r})"
    assert RedisStorage.from_url(means).identity == means


def test_a_url_says_what_the_class_says():
    storage = RedisStorage.from_url(
        "rediss://me:p%40ss@example.org/3/team?max_size=2GB&timeout=2&cooldown=1m&lease=0&ssl_ca_certs=/ca.pem"
    )
    same = RedisStorage(
        "rediss://example.org", "2GB", db=3, prefix="team", username="me", password="p@ss", timeout=2, cooldown=60,
        lease=0, client_options={"ssl_ca_certs": "/ca.pem"},
    )  # fmt: skip

    for one in (storage, same):
        assert (one.max_size, one.timeout, one.cooldown, one.lease) == (2_000_000_000, 2, 60, 0)
        asked = one._redis().connection_pool.connection_kwargs
        assert (asked["host"], asked["db"], asked["username"], asked["password"]) == ("example.org", 3, "me", "p@ss")
        assert asked["ssl_ca_certs"] == "/ca.pem"
        assert (one.bucket, one.prefix, one.identity) == ("3", "team", "rediss://example.org:6379/3/team")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://example.org/team", "write redis://example.org:6379/0/team"),
        ("redis://example.org/team/0", "'team' is no number of a database"),
        ("redis://example.org/1?db=2", "twice"),
        ("redis://example.org/1/team?prefix=other", "twice"),
        ("redis://example.org?db=-1", "numbered from 0"),
        ("redis://example.org?db=first", "db=first: invalid literal"),
        ("redis://example.org/0/a//b", "'//'"),
        ("redis://example.org/0/team/", "'/' at its end"),
        ("redis://example.org?socket_timeout=3", "did you mean 'timeout'"),
        ("redis://example.org?lru=yes", "no option 'lru'"),
        ("redis://example.org?timeout=0", "no time to answer"),
        ("redis://example.org:many/0", "cannot be read"),
        ("unix://", "names no socket"),
        ("unix://run/redis.sock", "names no socket"),
    ],
)
def test_a_place_that_is_none_or_might_be_two_is_refused_with_the_way_out(url: str, says: str):
    with pytest.raises(ConfigurationError, match=says):
        RedisStorage.from_url(url)


def test_a_location_without_a_scheme_is_refused():
    with pytest.raises(ConfigurationError, match="redis://localhost:6379/0/team"):
        RedisStorage("localhost:6379/0")


@pytest.mark.parametrize(
    "url",
    [
        "redis://me:{}@example.org:6379/0/team",
        "redis://:{}@example.org/team",
        "redis://:{}@example.org/0/a//b",
        "redis://:{}@example.org/0?nothing=1",
        "redis://:{}@example.org/0?timeout=soon",
        "redis://:{}@example.org/0?timeout=0",
        "redis://:{}@example.org:port/0",
        "redis://example.org/0?password={}&db=first",
        "redis://:12{}/34@example.org/0",
        "redis://{}/34@example.org/0",
        "redis://:{}#34@example.org/0",
        "redis://me:{}?34@example.org/0",
        "redis://{}?34@example.org/0",
        "unix://:{}@/run/redis.sock?db=x",
        "unix://:{}@host/run/redis.sock",
    ],
)
def test_no_message_shows_a_password(url: str):
    try:
        shown = repr(RedisStorage.from_url(url.format("hunter2")))
    except ConfigurationError as error:
        shown = f"{error!r} {error.__cause__!r} {error.__context__!r}"

    assert "hunter2" not in shown


def test_no_message_of_trouble_shows_a_password(own_server: str):
    storage = RedisStorage(own_server.replace("//", "//me:hunter2@"), timeout=60)
    with pytest.raises(OSError, match="user and password") as refused:
        storage.load(PATH)

    error: BaseException | None = refused.value
    while error is not None:
        assert "hunter2" not in f"{error} {error!r}"
        error = error.__cause__ or error.__context__
    assert "hunter2" not in repr(storage.place)


def test_the_doctor_shows_no_password(tmp_path: Path):
    url = "redis://me:hunter2@127.0.0.1:1/0/team"
    done = subprocess.run(
        [sys.executable, "-m", "perscache", "doctor"], env={**os.environ, "PERSCACHE_STORAGE": url},
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert "redis://***@127.0.0.1:1/0/team" in done.stdout
    assert "redis://127.0.0.1:1/0/team" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr


def test_who_asks_may_stand_in_the_url_in_arguments_or_in_the_environment(
    redis_url: str, redis_server: str, bare, monkeypatch: pytest.MonkeyPatch
):
    bare.acl_setuser("team", enabled=True, passwords="+s/cret", keys=["test-*"], commands=["+@all"])
    try:
        RedisStorage(redis_url.replace("//", "//team:s%2Fcret@"), timeout=60).write(PATH, b"1")
        named = RedisStorage(redis_url, username="team", password="s/cret", timeout=60)
        assert named.load(PATH).data == b"1"
        assert pickle.loads(pickle.dumps(named)).load(PATH).data == b"1"
        monkeypatch.setenv("REDIS_USERNAME", "team")
        monkeypatch.setenv("REDIS_PASSWORD", "s/cret")
        there = RedisStorage(redis_url, timeout=60)
        assert there.load(PATH).data == b"1"
        assert there._client().client.execute_command("ACL", "WHOAMI") == b"team"
    finally:
        bare.acl_deluser("team")


def test_the_rights_that_a_refusal_names_are_enough(redis_url: str, bare):
    from perscache_redis.failures import RIGHTS

    bare.acl_setuser("small", enabled=True, nopass=True, keys=["test-*"], commands=RIGHTS.split())
    try:
        storage = RedisStorage(redis_url, username="small", password="any", timeout=60)
        cache = Cache("json", storage, on_error="raise")

        @cache
        def f(x):
            return x

        assert f(1) == f(1) == 1
        assert [entry.function for entry in f.cache.entries()]
        assert f.cache_invalidate(1)
        assert storage.prune(0) == 0
        assert storage.clear() == 0
    finally:
        bare.acl_deluser("small")


def test_a_socket_of_this_machine_is_a_place(tmp_path: Path):
    socket = tmp_path / "redis.sock"
    with server("--unixsocket", str(socket)):
        storage = RedisStorage(f"unix://{socket}", db=3, prefix="team", timeout=60)
        storage.write(PATH, b"1")

        assert RedisStorage.from_url(f"unix://{socket}?db=3&prefix=team").load(PATH).data == b"1"
        with pytest.raises(FileNotFoundError):
            RedisStorage(f"unix://{socket}").load(PATH)


def test_databases_are_apart(redis_server: str):
    RedisStorage(f"{redis_server}/3/apart", timeout=60).write(PATH, b"3")

    with pytest.raises(FileNotFoundError):
        RedisStorage(f"{redis_server}/4/apart", timeout=60).load(PATH)
    assert RedisStorage(f"{redis_server}/3/apart", timeout=60).load(PATH).data == b"3"
