"""moto's server in a process of its own, as a context manager."""

from __future__ import annotations

import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from perscache.testing import serving


@contextmanager
def server() -> Iterator[str]:
    """The URL of a server of S3 with its objects in memory; it is stopped at the end, whatever happens."""
    if find_spec("moto") is None:
        raise RuntimeError("the tests need moto: pip install 'perscache-s3[testing]'")

    def command(port: int) -> list[str]:
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]

    with serving("moto's server", command, _answers) as port:
        yield f"http://127.0.0.1:{port}"


def _answers(port: int) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/", timeout=2):
        return True
