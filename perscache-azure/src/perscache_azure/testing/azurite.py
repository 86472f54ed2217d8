"""azurite, Microsoft's emulator, in a process of its own, as a context manager; npm installs it at the first time."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perscache.testing import serving

VERSION = "3.37.0"

PATIENCE = 180
"""Seconds that npm may take."""


class Unavailable(RuntimeError):
    """There is no azurite here; the message says why."""


@contextmanager
def azurite() -> Iterator[str]:
    """The URL of the blobs of an azurite with its data in memory; it is stopped at the end, whatever happens.

    It is looked for on the PATH, then in a folder of the user's caches, where it is installed if need be; Unavailable
    where that is impossible.
    """
    program = installed()

    def command(port: int) -> list[str]:
        options = ["--blobHost", "127.0.0.1", "--blobPort", str(port)]
        return [*program, *options, "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent"]

    with serving("azurite", command, _answers) as port:
        yield f"http://127.0.0.1:{port}/devstoreaccount1"


def installed() -> list[str]:
    """The command that starts azurite, installed by npm where it was not."""
    node = shutil.which("node")
    if node is None:
        raise Unavailable("azurite needs node, which is not on the PATH: install Node.js")
    if found := shutil.which("azurite-blob"):
        return [found]
    folder = _caches() / f"azurite-{VERSION}"
    # Without its launcher: node itself is to be the process that is stopped.
    script = folder / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    if not script.exists():
        _install(folder)
    return [node, str(script)]


def _install(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable("azurite needs npm, which is not on the PATH: install it with Node.js")
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside its place, and then renamed: another process may do the same now.
    draft = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
    try:
        quiet = ["--no-audit", "--no-fund", "--no-update-notifier", "--ignore-scripts"]
        quick = ["--omit=optional", "--prefer-offline", "--fetch-retries=1"]
        done = subprocess.run(  # noqa: S603 - our own command
            [npm, "install", "--prefix", str(draft), *quiet, *quick, f"azurite@{VERSION}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if done.returncode:
            raise Unavailable(f"npm cannot install azurite@{VERSION}: {' '.join(done.stdout.split())[-400:]}")
        if not folder.exists():
            draft.rename(folder)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"npm did not install azurite@{VERSION} within {error.timeout:g} s") from None
    except OSError:
        # The other process was faster.
        if not folder.exists():
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _caches() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "perscache-azure"


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=2):
            return True
    except urllib.error.HTTPError:
        return True  # It refuses, so it is there.
