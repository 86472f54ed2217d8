"""A proxy before an HTTP server that writes down each request, and fails as networks and servers do, when told to."""

from __future__ import annotations

import socket
import struct
import threading
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Literal, NamedTuple, Self, TypeAlias
from urllib.parse import urlsplit

Fault: TypeAlias = Literal["503", "429", "reset", "stall", "cut", "drip", "lost"]
"""What happens to a request:

    503, 429  the server is not asked, the answer is that status
    reset     the connection is reset before the server is asked
    stall     nothing is answered
    cut       half of the answer's body comes, then the connection ends
    drip      the answer's body comes byte by byte, twenty a second
    lost      the server does what it was asked, its answer does not come
"""


class Asked(NamedTuple):
    """A request that came."""

    method: str
    target: str


class FaultyProxy:
    """Stands before the server at ``upstream``, ``"http://127.0.0.1:…"``, while its context lasts.

    with FaultyProxy(server_url) as proxy:
        storage = MyStorage(endpoint=proxy.endpoint)
        proxy.fail("503")
        ...
        assert len(proxy.asked) == 2
    """

    def __init__(self, upstream: str) -> None:
        """It listens when the context begins."""
        place = urlsplit(upstream)
        self.upstream = (place.hostname or "127.0.0.1", place.port or 80)
        self.asked: list[Asked] = []
        self._faults: list[tuple[Fault, int | None, str | None]] = []
        self._lock = threading.Lock()
        self.ended = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self

    @property
    def endpoint(self) -> str:
        """Its own URL."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def fail(self, fault: Fault, times: int | None = 1, method: str | None = None) -> None:
        """Let the next ``times`` requests fail, None for all from now on; with ``method``, those of that method."""
        with self._lock:
            self._faults.append((fault, times, method))

    def heal(self) -> None:
        """No more failures."""
        with self._lock:
            self._faults.clear()

    def forget(self) -> None:
        """Write down anew."""
        self.asked.clear()

    def next_fault(self, method: str) -> Fault | None:
        """What is to happen to the request that just came."""
        with self._lock:
            for index, (fault, times, wanted) in enumerate(self._faults):
                if wanted in (None, method):
                    if times == 1:
                        del self._faults[index]
                    elif times is not None:
                        self._faults[index] = (fault, times - 1, wanted)
                    return fault
        return None

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    proxy: FaultyProxy

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def proxy(self) -> FaultyProxy:
        assert isinstance(self.server, _Server)
        return self.server.proxy

    def pass_on(self) -> None:
        """Answer one request, or fail."""
        proxy = self.proxy
        body = self._body()
        proxy.asked.append(Asked(self.command, self.path))
        fault = proxy.next_fault(self.command)
        self.close_connection = fault is not None
        if fault in {"503", "429"}:
            self.send_response(int(fault or 0))
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif fault == "reset":
            # With no time to linger, closing resets.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        elif fault == "stall":
            proxy.ended.wait()
        else:
            self._relay(body, fault)

    def __getattr__(self, name: str) -> object:
        """The method for each verb, as the library looks for it."""
        if name.startswith("do_"):
            return self.pass_on
        raise AttributeError(name)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces: list[bytes] = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():  # trailers
            pass
        return b"".join(pieces)

    def _relay(self, body: bytes, fault: Fault | None) -> None:
        connection = HTTPConnection(*self.proxy.upstream, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, text in self.headers.items():
                if name.lower() not in _OWN:
                    connection.putheader(name, text)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            data = answer.read()
        except (OSError, HTTPException):
            self.close_connection = True
            return
        finally:
            connection.close()
        if fault != "lost":
            self._send(answer, data, fault)

    def _send(self, answer: HTTPResponse, data: bytes, fault: Fault | None) -> None:
        self.send_response_only(answer.status, answer.reason)
        for name, text in answer.getheaders():
            if name.lower() not in _OWN:
                self.send_header(name, text)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(data)))
        self.end_headers()
        if fault == "drip":
            for byte in data:
                self.wfile.write(bytes([byte]))
                if self.proxy.ended.wait(0.05):
                    return
        else:
            self.wfile.write(data[: len(data) // 2] if fault == "cut" else data)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed."""


_OWN = frozenset({"content-length", "transfer-encoding", "connection", "expect", "keep-alive"})
"""Headers that are about one connection only."""
