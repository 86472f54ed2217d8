"""A server in trouble costs a call its deadline at most, once, and says what is wrong and what to do."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from perscache import Cache
from perscache.errors import StorageError
from perscache.storage.remote import Refused
from perscache_fsspec import FsspecStorage

PATH = "f/0123456789abcdef0123456789abcdef.json"
TIMEOUT = 0.3


@pytest.fixture
def stalled(own_server) -> FsspecStorage:
    """A storage with one entry and a short deadline, whose server answers no more."""
    storage = FsspecStorage(own_server.url(), timeout=60)
    storage.write(PATH, b"a value")
    storage.timeout = TIMEOUT
    own_server.pause()
    return storage


def test_the_result_is_returned_when_the_server_stalls(stalled: FsspecStorage):
    @Cache("json", stalled)
    def f(x):
        return [x]

    started = time.monotonic()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert f(1) == [1]
        assert asyncio.run(asyncio.to_thread(f, 2)) == [2]

    # The factor is for slow machines; the libraries alone would wait for minutes.
    assert time.monotonic() - started < 30 * TIMEOUT
    stages = [str(warning.message).split(" failed")[0] for warning in caught]
    assert len(stages) == len(set(stages)) <= 2  # reading and writing, once each
    assert all("did not answer within 0.3 s" in str(warning.message) for warning in caught)
    assert all("secret" not in str(warning.message) for warning in caught)


def test_every_deed_has_a_deadline(stalled: FsspecStorage):
    stalled.cooldown, stalled._live = 0.0, {}

    for deed in (
        lambda: stalled.load(PATH),
        lambda: stalled.write(PATH, b"x"),
        lambda: stalled.peek(PATH),
        lambda: stalled.delete(PATH),
    ):
        with pytest.raises(StorageError, match=r"did not answer within 0\.3 s"):
            deed()
    # A folder may hold very many files: a listing has ten times as long.
    stalled.timeout = 0.03
    with pytest.raises(StorageError, match=r"did not answer within 0\.3 s"):
        list(stalled.entries())


def test_a_server_in_trouble_is_left_alone_for_a_while(stalled: FsspecStorage):
    with pytest.raises(StorageError):
        stalled.load(PATH)

    for deed in (lambda: stalled.load(PATH), lambda: stalled.write(PATH, b"x"), lambda: list(stalled.entries())):
        with pytest.raises(StorageError, match=r"left alone for another \d+ s"):
            deed()


def test_a_server_that_is_gone_is_named(own_server):
    storage = FsspecStorage(own_server.url(), timeout=60)
    storage.write(PATH, b"a value")
    own_server.process.kill()
    own_server.process.wait()

    with pytest.raises(StorageError, match=rf"{own_server.scheme}://me@127.0.0.1:\d+/cache failed"):
        storage.load(PATH)


def test_a_connection_that_the_server_closed_is_made_anew(own_server, serving):
    storage = FsspecStorage(own_server.url(), timeout=60)
    storage.write(PATH, b"a value")
    own_server.process.kill()
    own_server.process.wait()

    with serving(own_server.scheme, own_server.root, own_server.port):
        assert storage.load(PATH).data == b"a value"
        storage.write(PATH, b"another")
        assert storage.load(PATH).data == b"another"


def test_a_connection_that_the_server_let_expire_is_no_miss(serving, tmp_path: Path):
    with serving("ftp", tmp_path / "served", idle=2) as server:
        storage = FsspecStorage(server.url(), timeout=60)
        storage.write(PATH, b"a value")
        time.sleep(3)

        assert storage.load(PATH).data == b"a value"


@pytest.mark.parametrize("scheme", ["sftp", "ftp"])
def test_a_refused_connection_is_given_up_at_once(scheme: str):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        storage = FsspecStorage(f"{scheme}://me:secret@127.0.0.1:{closed.getsockname()[1]}/cache", timeout=60)
        with pytest.raises(StorageError, match="failed: "):
            storage.load(PATH)


@pytest.mark.parametrize("scheme", ["sftp", "ftp"])
def test_a_refused_user_is_named_with_the_way_out(servers, scheme: str):
    server = servers(scheme)
    options = {"look_for_keys": False, "allow_agent": False} if scheme == "sftp" else {}
    storage = FsspecStorage(server.url(password="wrong"), timeout=60, options=options)

    with pytest.raises(Refused, match=rf"no credentials .*FSSPEC_{scheme.upper()}_USERNAME"):
        storage.load(PATH)


@pytest.mark.parametrize("scheme", ["sftp", "ftp"])
def test_who_may_only_read_reads_and_is_told(servers, scheme: str):
    server = servers(scheme)
    FsspecStorage(server.url("shared"), timeout=60).write(PATH, b"a value")
    reader = FsspecStorage(server.url("shared", user="reader"), timeout=60, cooldown=0.001)

    assert reader.load(PATH).data == b"a value"
    with pytest.raises(Refused, match="let the user read, write, list and delete"):
        reader.write(PATH, b"another")
    with pytest.raises(Refused, match="let the user read, write, list and delete"):
        reader.delete(PATH)
    assert reader.load(PATH).data == b"a value"
    assert (server.root / "shared" / PATH).exists()


def test_a_library_that_is_missing_is_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "paramiko", None)
    monkeypatch.delitem(sys.modules, "fsspec.implementations.sftp", raising=False)
    from fsspec.registry import _registry

    monkeypatch.delitem(_registry, "sftp", raising=False)

    with pytest.raises(Refused, match=r"pip install 'perscache-fsspec\[sftp\]'"):
        FsspecStorage("sftp://host/folder", timeout=60).load(PATH)


def test_an_option_that_the_file_system_does_not_have_is_named():
    with pytest.raises(Refused, match=r"look at options="):
        FsspecStorage("ftp://127.0.0.1:1/folder", options={"port": "x", "tls": "nonsense"}, timeout=60).load(PATH)


@pytest.fixture
def static(tmp_path: Path) -> Iterator[str]:
    """The URL of a folder on a web server that only reads."""
    import functools
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=tmp_path))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/cache"
    server.shutdown()
    server.server_close()
    thread.join()


def test_what_somebody_published_is_read_over_http(static: str, tmp_path: Path):
    def f(x):
        return [x]

    published = Cache("json", f"fsspec+file://{tmp_path}/cache")(name="f")(f)
    published(1)
    read = Cache("json", f"{static}?timeout=60", mode="readonly", on_error="raise")(name="f")(f)

    assert read.cache.call(1).hit
    assert not read.cache.call(2).hit


def test_what_can_only_be_read_says_so(static: str, tmp_path: Path):
    (tmp_path / "cache").mkdir()

    with pytest.raises(StorageError, match=r"501|cannot be written"):
        FsspecStorage(static, timeout=60).write(PATH, b"x")


def test_a_library_that_hangs_keeps_no_interpreter_from_ending(stalled: FsspecStorage, own_server):
    program = f"""
from perscache import Cache
from perscache_fsspec import FsspecStorage

@Cache("json", FsspecStorage({own_server.url()!r}, timeout=0.3), on_error="ignore")
def f(x):
    return x

print(f(1))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


def test_a_body_that_is_slow_to_come_is_waited_for(tmp_path: Path):
    """Of a file system that takes a second for each body, with a timeout of half of one."""
    import fsspec
    from fsspec.implementations.local import LocalFileSystem

    class Slow(LocalFileSystem):
        protocol = "slowly"

        def cat_file(self, path, start=None, end=None, **kwargs):
            time.sleep(1)
            return super().cat_file(path, start, end, **kwargs)

    fsspec.register_implementation("slowly", Slow, clobber=True)
    small, large = PATH.replace("json", "pickle"), PATH.replace("f/", "g/").replace("json", "pickle")
    storage = FsspecStorage(f"fsspec+slowly://{tmp_path}/cache", timeout=0.5)
    storage.write(small, b"x")
    storage.write(large, os.urandom(60_000_000))

    assert len(storage.load(large).data) == 60_000_000
    with pytest.raises(StorageError, match=r"did not answer within 0\.5 s"):
        storage.load(small)
