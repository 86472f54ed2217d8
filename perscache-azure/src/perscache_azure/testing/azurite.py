"""azurite, Microsoft's emulator, in a process of its own, as a context manager; npm installs it at the first time."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
    command = installed()
    for _ in range(5):
        port = _free_port()
        options = ["--blobHost", "127.0.0.1", "--blobPort", str(port)]
        manners = ["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent"]
        process = subprocess.Popen(  # noqa: S603 - our own command
            [*command, *options, *manners],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - one system call
        )
        try:
            # Another process may have taken the port in between: then it exits, and the next one is tried.
            if _answers(process, f"http://127.0.0.1:{port}"):
                yield f"http://127.0.0.1:{port}/devstoreaccount1"
                return
        finally:
            _stop(process)
    raise RuntimeError("azurite did not start on any of 5 ports")


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
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310
                return True
        except urllib.error.HTTPError:
            # It refuses, so it is there.
            return True
        except OSError:
            time.sleep(0.05)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
