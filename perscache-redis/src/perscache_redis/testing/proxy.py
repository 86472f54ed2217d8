"""A proxy before a server of Redis that writes down each request, and fails as networks do, when told to."""

from __future__ import annotations

import re
import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType
from typing import Final, Self, TypeAlias
from urllib.parse import urlsplit

Fault: TypeAlias = str
"""What happens to a request:

    reset   the connection is reset before the server is asked
    stall   nothing is answered
    cut     half of what is answered first comes, then the connection ends
    lost    the server does what it was asked, its answer does not come

Anything else is what the server answers to each command: ``"LOADING Redis is loading the dataset in memory"``.
"""

_BLOCK: Final = 1 << 20
_SETTING_UP: Final = {"AUTH", "CLIENT", "HELLO", "SELECT"}


class FaultyRedis:
    """Stands before the server at ``upstream``, ``"redis://127.0.0.1:…"``, while its context lasts.

    with FaultyRedis(server_url) as proxy:
        storage = RedisStorage(f"{proxy.endpoint}/0/team")
        proxy.fail("reset")
        ...
        assert proxy.asked == [("SET",)]
    """

    def __init__(self, upstream: str) -> None:
        """It listens when the context begins."""
        place = urlsplit(upstream)
        self._upstream = (place.hostname or "127.0.0.1", place.port or 6379)
        self.asked: list[tuple[str, ...]] = []
        """The commands of each request, those apart that set a connection up."""
        self._faults: list[tuple[Fault, int | None, str | None]] = []
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)

    @property
    def endpoint(self) -> str:
        """Its own URL."""
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}"

    def fail(self, fault: Fault, times: int | None = 1, command: str | None = None) -> None:
        """Let the next ``times`` requests fail, None for all from now on; with ``command``, those that hold it."""
        with self._lock:
            self._faults.append((fault, times, command))

    def heal(self) -> None:
        """No more failures."""
        with self._lock:
            self._faults.clear()

    def forget(self) -> None:
        """Write down anew."""
        self.asked.clear()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            # Closing alone would not wake who waits in it.
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            for connection in list(self._open):
                _end(connection)

    # --- One thread for those who come, two for each of them.

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._upstream)
            except OSError:
                return
            with self._lock:
                self._open |= {client, server}
            link = _Link(self, client, server)
            for work in (link.ask, link.answer):
                threading.Thread(target=work, daemon=True).start()

    def next_fault(self, commands: tuple[str, ...]) -> Fault | None:
        """Write down the request that just came; what is to happen to it."""
        if _SETTING_UP.issuperset(commands):
            return None
        with self._lock:
            self.asked.append(commands)
            for index, (fault, times, wanted) in enumerate(self._faults):
                if wanted is None or wanted in commands:
                    if times == 1:
                        del self._faults[index]
                    elif times is not None:
                        self._faults[index] = (fault, times - 1, wanted)
                    return fault
        return None

    def ended(self, *connections: socket.socket) -> None:
        """These are over."""
        with self._lock:
            self._open.difference_update(connections)
        for connection in connections:
            _end(connection)
            connection.close()


class _Link:
    """One client's connection, and the one to the server for it."""

    def __init__(self, proxy: FaultyRedis, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._fault: Fault | None = None
        """What is to happen to the answer."""

    def ask(self) -> None:
        """Pass on what the client asks."""
        coming = b""
        try:
            while more := self._client.recv(_BLOCK):
                coming += more
                commands = _commands(coming)
                if commands is None:
                    continue
                fault = self._proxy.next_fault(commands)
                if fault == "reset":
                    # With no time to linger, closing resets.
                    self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self._client.close()
                    return
                if fault in {None, "cut", "lost"}:
                    self._fault = fault
                    self._server.sendall(coming)
                elif fault != "stall":
                    self._client.sendall(f"-{fault}\r\n".encode() * len(commands))
                coming = b""
        except OSError:
            return
        finally:
            # Wakes the other thread, which cleans up.
            _end(self._server)

    def answer(self) -> None:
        """Pass on what the server answers."""
        try:
            while answer := self._server.recv(_BLOCK):
                if self._fault == "lost":
                    return
                self._client.sendall(answer[: len(answer) // 2] if self._fault else answer)
                if self._fault:
                    return
        except OSError:
            return
        finally:
            self._proxy.ended(self._client, self._server)


def _commands(coming: bytes) -> tuple[str, ...] | None:
    """The names of the commands in ``coming``; None where the last one is not complete."""
    names: list[str] = []
    at = 0
    while at < len(coming):
        if (count := _NUMBER.match(coming, at)) is None:
            return None
        at = count.end()
        for position in range(int(count[1])):
            if (size := _NUMBER.match(coming, at)) is None:
                return None
            begin, at = size.end(), size.end() + int(size[1]) + 2
            if position == 0:
                names.append(coming[begin : at - 2].decode("ascii", "replace").upper())
            if at > len(coming):
                return None
    return tuple(names)


_NUMBER: Final = re.compile(rb"[*$](\d+)\r\n")


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
