"""rediss://: the connection is encrypted, and the server is who it says it is. A proxy takes the encryption off."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from perscache.errors import StorageError
from perscache_redis import RedisStorage

PATH = "f/0123456789abcdef0123456789abcdef.json"
DATA = Path(__file__).parent / "data"
# A key of nobody's, for 127.0.0.1.
SERVER, AUTHORITY = DATA / "server.pem", DATA / "authority.pem"


@pytest.fixture
def encrypted(redis_url: str) -> Iterator[str]:
    """The place of `redis_url`, by rediss://."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(SERVER)
    server, _, place = redis_url.removeprefix("redis://").partition("/")
    upstream = (server.partition(":")[0], int(server.partition(":")[2]))

    def pass_on(come: socket.socket, go: socket.socket) -> None:
        with suppress(OSError):
            while data := come.recv(1 << 16):
                go.sendall(data)
        for end in (come, go):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def accept() -> None:
        with suppress(OSError):
            while True:
                plain, _ = listener.accept()
                try:
                    client = context.wrap_socket(plain, server_side=True)
                except (OSError, ssl.SSLError):
                    plain.close()  # It does not trust us.
                    continue
                redis = socket.create_connection(upstream)
                for pair in ((client, redis), (redis, client)):
                    threading.Thread(target=pass_on, args=pair, daemon=True).start()

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"rediss://127.0.0.1:{listener.getsockname()[1]}/{place}"
        listener.shutdown(socket.SHUT_RDWR)


def test_results_go_through_an_encrypted_connection(encrypted: str, redis_url: str):
    storage = RedisStorage.from_url(f"{encrypted}?ssl_ca_certs={AUTHORITY}&timeout=60")

    storage.write(PATH, b"1")

    assert storage.load(PATH).data == b"1"
    assert RedisStorage(redis_url, timeout=60).load(PATH).data == b"1"


def test_a_server_that_nobody_vouches_for_is_not_asked(encrypted: str):
    with pytest.raises(StorageError, match=r"certificate verify failed.*ssl_ca_certs"):
        RedisStorage(encrypted, timeout=60).write(PATH, b"1")

    RedisStorage.from_url(f"{encrypted}?ssl_cert_reqs=none&timeout=60").write(PATH, b"1")
