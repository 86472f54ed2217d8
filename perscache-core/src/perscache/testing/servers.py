"""Servers for tests, each in a process of its own that ends with the test run, whatever happens to that."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

_PORTS = 5
_PAUSE = 0.02  # seconds between two looks whether it answers


@contextmanager
def serving(
    name: str, command: Callable[[int], Sequence[str]], answers: Callable[[int], bool], *, patience: float = 60
) -> Iterator[int]:
    """The free port of 127.0.0.1 on which ``command(port)`` serves, while the context lasts.

    ``answers(port)`` asks it for a sign of life: False, or any OSError, for none yet. It is asked for ``patience``
    seconds. RuntimeError, with the ``name``, for a server that does not start on any of five ports.
    """
    for _ in range(_PORTS):
        port = _free_port()
        process = subprocess.Popen(  # noqa: S603 - a test's own command
            command(port),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - one system call
        )
        try:
            # Another process may have taken the port in between: then it exits, and the next one is tried.
            if _answers(process, port, answers, patience):
                yield port
                return
        finally:
            _stop(process)
    raise RuntimeError(f"{name} did not start on any of {_PORTS} ports")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _die_with_parent() -> None:
    import ctypes

    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _answers(process: subprocess.Popen[bytes], port: int, answers: Callable[[int], bool], patience: float) -> bool:
    give_up = time.monotonic() + patience
    while process.poll() is None and time.monotonic() < give_up:
        try:
            if answers(port):
                return True
        except OSError:
            pass
        time.sleep(_PAUSE)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
