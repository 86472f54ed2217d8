"""moto's server in a process of its own, as a context manager."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec


@contextmanager
def server() -> Iterator[str]:
    """The URL of a server of S3 with its objects in memory; it is stopped at the end, whatever happens."""
    if find_spec("moto") is None:
        raise RuntimeError("the tests need moto: pip install 'perscache-s3[testing]'")
    for _ in range(5):
        port = _free_port()
        url = f"http://127.0.0.1:{port}"
        process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - one system call
        )
        try:
            # Another process may have taken the port in between: then it exits, and the next one is tried.
            if _answers(process, url):
                yield url
                return
        finally:
            _stop(process)
    raise RuntimeError("moto's server did not start on any of 5 ports")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _die_with_parent() -> None:
    import ctypes

    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _answers(process: subprocess.Popen[bytes], url: str) -> bool:
    give_up = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < give_up:
        try:
            with urllib.request.urlopen(f"{url}/moto-api/", timeout=2):  # noqa: S310
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
