"""Real servers of files on this machine: SFTP by asyncssh, FTP by pyftpdlib, and this machine's own files."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from perscache import trouble
from perscache_fsspec import FsspecStorage

# Each takes the folder that it serves and its port, 0 for a free one, prints that, and ends when its input does. There
# is a user who may read and write, and one who may only read.

SFTP = """
import asyncio, logging, sys
import asyncssh

folder, port = sys.argv[1], int(sys.argv[2])
logging.getLogger("asyncssh").setLevel(logging.CRITICAL)

class Users(asyncssh.SSHServer):
    def connection_made(self, conn):
        self.conn = conn
    def password_auth_supported(self):
        return True
    def validate_password(self, username, password):
        return username in ("me", "reader") and password == "secret"

class Files(asyncssh.SFTPServer):
    def __init__(self, chan):
        self.reader = chan.get_connection().get_extra_info("username") == "reader"
        super().__init__(chan, chroot=folder.encode())
    def refuse(self):
        if self.reader:
            raise asyncssh.SFTPPermissionDenied("you may read")
    def open(self, path, pflags, attrs):
        if pflags & ~asyncssh.FXF_READ:
            self.refuse()
        return super().open(path, pflags, attrs)
    def mkdir(self, path, attrs):
        self.refuse()
        return super().mkdir(path, attrs)
    def remove(self, path):
        self.refuse()
        return super().remove(path)

async def serve():
    key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.listen(
        "127.0.0.1", port, server_factory=Users, server_host_keys=[key], sftp_factory=Files, reuse_address=True
    )
    print(server.get_port(), flush=True)
    await asyncio.to_thread(sys.stdin.read)

asyncio.run(serve())
"""

FTP = """
import logging, os, sys, threading
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer

folder, port = sys.argv[1], int(sys.argv[2])
logging.disable()
authorizer = DummyAuthorizer()
authorizer.add_user("me", "secret", folder, perm="elradfmwMT")
authorizer.add_user("reader", "secret", folder, perm="elr")

class Handler(FTPHandler):
    auth_failed_timeout = 0
    timeout = float(sys.argv[3])

Handler.authorizer = authorizer
server = FTPServer(("127.0.0.1", port), Handler)
print(server.socket.getsockname()[1], flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
server.serve_forever(handle_exit=False)
"""


@dataclass(frozen=True)
class Server:
    """One that runs."""

    scheme: str
    port: int
    root: Path
    process: subprocess.Popen[str]

    def url(self, folder: str = "cache", user: str = "me", password: str = "secret") -> str:
        return f"{self.scheme}://{user}:{password}@127.0.0.1:{self.port}/{folder}"

    def pause(self) -> None:
        """Connections stay, nothing answers."""
        os.kill(self.process.pid, signal.SIGSTOP)


@contextmanager
def run(scheme: str, root: Path, port: int = 0, idle: float = 300) -> Iterator[Server]:
    """``idle`` is how many seconds the FTP server lets a connection wait."""
    root.mkdir(exist_ok=True)
    script = {"sftp": SFTP, "ftp": FTP}[scheme]
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(root), str(port), str(idle)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield Server(scheme, int(process.stdout.readline()), root, process)
    finally:
        process.kill()
        process.communicate()


@dataclass(frozen=True)
class Place:
    """A folder of one test's own, to be made by the storage."""

    url: str
    folder: Path
    """The same, past the storage."""

    def open(self, **options: object) -> FsspecStorage:
        return FsspecStorage(self.url, **({"timeout": 60} | options))


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    running: dict[str, Server] = {}
    contexts = []

    def of(scheme: str) -> Server:
        if scheme not in running:
            context = run(scheme, tmp_path_factory.mktemp(scheme))
            running[scheme] = context.__enter__()
            contexts.append(context)
        return running[scheme]

    yield of
    for context in contexts:
        context.__exit__(None, None, None)


@pytest.fixture
def serving() -> Callable[..., AbstractContextManager[Server]]:
    """What runs a server, also on a port that it had before."""
    return run


_numbers = itertools.count(1)


@pytest.fixture(params=["file", "sftp", "ftp"])
def place(request: pytest.FixtureRequest, servers: Callable[[str], Server], tmp_path: Path) -> Place:
    """An empty place on each of the three."""
    if request.param == "file":
        return Place(f"fsspec+file://{tmp_path}/cache", tmp_path / "cache")
    server = servers(request.param)
    folder = f"test-{next(_numbers)}/cache"
    return Place(server.url(folder), server.root / folder)


@pytest.fixture(params=["sftp", "ftp"])
def own_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A server of this test's own, to be stopped."""
    with run(request.param, tmp_path / "served") as server:
        yield server


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("PERSCACHE_", "FSSPEC_"))]:
        monkeypatch.delenv(name)
    trouble.forget()
