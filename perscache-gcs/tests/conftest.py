"""Servers, storages on them, and scripts in new processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from perscache import trouble
from perscache_gcs import GoogleCloudStorage
from perscache_gcs.testing import Bucket, StrictServer, gcs, gcs_bucket, strict_gcs

__all__ = ["gcs", "gcs_bucket", "strict_gcs"]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("PERSCACHE_", "STORAGE_EMULATOR_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    trouble.forget()


@pytest.fixture
def real(gcs_bucket: Bucket) -> GoogleCloudStorage:
    """A storage on fake-gcs-server."""
    return GoogleCloudStorage(f"{gcs_bucket.name}/folder", endpoint_url=gcs_bucket.endpoint)


@pytest.fixture
def strict(strict_gcs: StrictServer) -> GoogleCloudStorage:
    """A storage on the strict fake, connected, its bucket known to exist."""
    storage = GoogleCloudStorage("bucket/folder", endpoint_url=strict_gcs.endpoint)
    with pytest.raises(FileNotFoundError):
        storage.load("warm/up")
    strict_gcs.forget()
    return storage


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., str]:
    """Run Python source in a new process; gives what it printed, and insists that it printed no complaint."""

    def run(source: str, *arguments: str, options: tuple[str, ...] = ()) -> str:
        path = tmp_path / "script.py"
        path.write_text(source)
        command = [sys.executable, *options, str(path), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        # asyncio's debug mode also tells of slow machines.
        complaints = [
            line for line in done.stderr.splitlines() if not re.match(r"Executing <.*> took \S+ seconds", line)
        ]
        assert (done.returncode, complaints) == (0, [])
        return done.stdout

    return run
