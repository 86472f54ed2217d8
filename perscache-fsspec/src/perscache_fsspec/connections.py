"""Connections, each in a thread of its own, so that whoever asks one need not wait for ever.

fsspec has no deadlines, and many of its file systems talk over one connection that threads must not share. So what is
connected lives in the thread that made it. Who asks takes one, and leaves it behind where it does not answer in time:
its thread ends when the library gives up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeAlias, TypeVar

from perscache.errors import DamagedEntry

if TYPE_CHECKING:
    from concurrent.futures import Future


class Closable(Protocol):
    """What has a connection."""

    def close(self) -> None:
        """Let go of it. It never raises."""


C = TypeVar("C", bound=Closable)
Tasks: TypeAlias = "SimpleQueue[tuple[Callable[[C], Any], Future[Any]] | None]"

ANSWERS: Final = (
    FileNotFoundError, FileExistsError, PermissionError, NotADirectoryError, NotImplementedError, DamagedEntry,
)  # fmt: skip
"""Errors of a connection that is whole: others may have broken it."""


class Late(Exception):
    """No answer in time."""


class Connections(Generic[C]):
    """At most so many connections of one storage in one process, made when they are needed and kept."""

    def __init__(self, connect: Callable[[], C], most: int) -> None:
        """``connect`` makes a new one, in its thread."""
        self._connect = connect
        self._room = threading.Semaphore(most)
        self._idle: list[_Connection[C]] = []

    def ask(self, work: Callable[[C], Any], patience: float, more: Callable[[float], float] | None = None) -> Any:
        """What ``work`` gives or raises, within ``patience`` seconds; else Late.

        After half of it, ``more`` is called with the other half and says how many seconds to add. A connection that
        was used before may have been closed by the server meanwhile: then the work is done on another, once more.
        """
        until = time.monotonic() + patience
        while True:
            if not self._room.acquire(timeout=max(0.0, until - time.monotonic())):
                raise Late("all connections are busy")
            try:
                try:
                    connection = self._idle.pop()
                except IndexError:
                    connection = _Connection(self._connect)
                kept = connection.used
                try:
                    answer = connection.ask(work, until, more)
                except ANSWERS:
                    self._idle.append(connection)
                    raise
                except BaseException as error:
                    connection.end()
                    if kept and isinstance(error, Exception) and not isinstance(error, Late):
                        continue
                    raise
                self._idle.append(connection)
                return answer
            finally:
                self._room.release()

    def __del__(self) -> None:
        while self._idle:
            self._idle.pop().end()


class _Connection(Generic[C]):
    """One, and its thread."""

    def __init__(self, connect: Callable[[], C]) -> None:
        self.used = False
        """Whether it has answered."""
        self._tasks: Tasks[C] = SimpleQueue()
        # A daemon: a library that hangs must not keep the interpreter from ending.
        threading.Thread(target=_serve, args=(connect, self._tasks), name="perscache-fsspec", daemon=True).start()

    def ask(self, work: Callable[[C], Any], until: float, more: Callable[[float], float] | None) -> Any:
        from concurrent.futures import Future, wait

        answer: Future[Any] = Future()
        self._tasks.put((work, answer))
        left = max(0.0, until - time.monotonic())
        if more is not None and not wait([answer], left / 2).done:
            until += more(left / 2)
            left = max(0.0, until - time.monotonic())
        if not wait([answer], left).done:
            raise Late
        self.used = True
        return answer.result()

    def end(self) -> None:
        self._tasks.put(None)


def _serve(connect: Callable[[], C], tasks: Tasks[C]) -> None:
    connected: C | None = None
    while task := tasks.get():
        work, answer = task
        try:
            connected = connected or connect()
            answer.set_result(work(connected))
        except BaseException as error:  # noqa: BLE001 - it is raised where the answer is waited for
            answer.set_exception(error)
        # Nothing of a call stays here while this waits for the next.
        del task, work, answer
    if connected is not None:
        connected.close()
