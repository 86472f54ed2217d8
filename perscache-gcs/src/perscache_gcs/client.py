"""A gcsfs file system used as an HTTP client: requests with a deadline, from threads and from any event loop."""

from __future__ import annotations

import asyncio
import atexit
import io
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import CancelledError, Future, wait
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    import aiohttp

    from .storage import GoogleCloudStorage

Request: TypeAlias = "Callable[[], Coroutine[Any, Any, Any]]"

FileSystem: TypeAlias = Any
"""A gcsfs.core.GCSFileSystem, which has no types."""

SLOWEST: Final = 1_000_000
"""Bytes a second: a body that is slower than this counts as stalled."""

_AT_EXIT: Final = 1.0
"""Seconds that closing connections may take when the interpreter ends."""


class Allowance:
    """How long one call may still take, and what happened in it last."""

    def __init__(self, timeout: float) -> None:
        self._end = time.monotonic() + timeout
        self.last = ""
        self.over = False
        """Whether nobody waits any more."""

    def extend(self, size: int) -> None:
        """Grant the time that a body of ``size`` bytes may take."""
        self._end += size / SLOWEST

    @property
    def left(self) -> float:
        """Seconds; 0 when it is used up."""
        return max(0.0, self._end - time.monotonic())


_allowance: Final[ContextVar[Allowance | None]] = ContextVar("perscache_gcs_allowance", default=None)
"""That of the call in which code runs, if it is one of ours."""


class Client:
    """A gcsfs file system, which runs its requests on the event loop of fsspec's own thread."""

    def __init__(self, fs: FileSystem, session: aiohttp.ClientSession) -> None:
        self._fs = fs
        self._session = session
        self._tasks: set[asyncio.Task[Any]] = set()
        self.upload_base = f"{fs.base.removesuffix('storage/v1/')}upload/storage/v1/"
        _open.add(self)
        weakref.finalize(self, _close, fs, session, self._tasks).atexit = False
        _prepare_process()

    def media_url(self, bucket: str, name: str) -> str:
        """Where the body of an object is read, its headers with it."""
        return str(self._fs.url(f"{bucket}/{name}"))

    async def call(self, method: str, path: str, *args: str, **kwargs: Any) -> tuple[Mapping[str, str], bytes]:
        """Headers and body of one request, tried again by gcsfs for as long as the call's allowance lasts."""
        if "data" in kwargs:
            if allowance := _allowance.get():
                allowance.extend(len(kwargs["data"]))
            kwargs["data"] = _Body(kwargs["data"])
        answer: tuple[Mapping[str, str], bytes] = await self._fs._call(method, path, *args, **kwargs)
        return answer

    def run(self, request: Request, timeout: float) -> Any:
        """The answer to ``request``, awaited by the calling thread.

        Raises TimeoutError, with what happened last, after ``timeout`` seconds and the time that bodies may take.
        """
        allowance = Allowance(timeout)
        future = self._submit(request, allowance)
        try:
            while not wait((future,), allowance.left).done:
                if not allowance.left:
                    raise TimeoutError(allowance.last)
            return future.result()
        except CancelledError:
            # Only the end of the interpreter cancels: nothing is left to return to for a thread that outlives it.
            threading.Event().wait()
        finally:
            allowance.over = True
            future.cancel()

    async def arun(self, request: Request, timeout: float) -> Any:
        """`run` for a task of any event loop; cancelling it cancels the request."""
        allowance = Allowance(timeout)
        waiter = asyncio.wrap_future(self._submit(request, allowance))
        try:
            while not (await asyncio.wait((waiter,), timeout=allowance.left))[0]:
                if not allowance.left:
                    raise TimeoutError(allowance.last)
            return waiter.result()
        finally:
            allowance.over = True
            waiter.cancel()

    def _submit(self, request: Request, allowance: Allowance) -> Future[Any]:
        async def bounded() -> Any:
            _allowance.set(allowance)
            if (task := asyncio.current_task()) is not None:
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            try:
                return await request()
            except Exception:
                if allowance.over:
                    # asyncio would print what nobody fetches.
                    return None
                raise

        return asyncio.run_coroutine_threadsafe(bounded(), self._fs.loop)


def connect(storage: GoogleCloudStorage) -> Future[Client]:
    """A client for ``storage``, being made: finding credentials may ask the network, in a thread of its own."""
    from importlib import import_module

    # A second of importing, which is not to count as waiting for a server.
    import_module("gcsfs.core")

    made: Future[Client] = Future()

    def make() -> None:
        try:
            fs = _file_system(storage)
            session = asyncio.run_coroutine_threadsafe(fs._set_session(), fs.loop).result()
            made.set_result(Client(fs, session))
        except BaseException as error:  # noqa: BLE001 - whoever waits gets it
            made.set_exception(error)

    threading.Thread(target=make, name="perscache-gcs-connect", daemon=True).start()
    return made


def _file_system(storage: GoogleCloudStorage) -> FileSystem:
    import aiohttp

    # Not gcsfs.GCSFileSystem: that one probes over gRPC first, a minute where gRPC is blocked.
    from gcsfs.core import GCSFileSystem
    from google.auth.exceptions import GoogleAuthError

    pays = storage.requester_pays
    options: dict[str, Any] = {
        "access": storage.access,
        # Not project=: one that differs from the credentials' own makes gcsfs refuse them.
        "requester_pays": (storage.project or True) if pays is True else pays,
        "endpoint_url": storage.endpoint_url,
        "requests_timeout": aiohttp.ClientTimeout(total=None, sock_connect=storage.timeout, sock_read=storage.timeout),
        "session_kwargs": {
            **storage.session_kwargs,
            "trace_configs": [*storage.session_kwargs.get("trace_configs", ()), _trace()],
        },
        "use_listings_cache": False,
        "skip_instance_cache": True,
    }
    for token in _tokens(storage):
        try:
            return GCSFileSystem(token=token, **options)
        except (GoogleAuthError, ValueError):
            if storage.token is not None:
                raise
    raise AssertionError("anonymous access needs nothing")


def _tokens(storage: GoogleCloudStorage) -> tuple[Any, ...]:
    if storage.token is not None:
        return (storage.token,)
    if storage.endpoint is not None and not storage.endpoint.startswith("https://"):
        return ("anon",)
    # gcsfs's own order asks the metadata server once more, for many seconds where there is none.
    return ("google_default", "cache", "anon")


def _trace() -> aiohttp.TraceConfig:
    import aiohttp

    async def answered(_session: Any, _context: Any, params: aiohttp.TraceRequestEndParams) -> None:
        if allowance := _allowance.get():
            allowance.last = f"HTTP {params.response.status}"
            if params.response.ok:
                allowance.extend(params.response.content_length or 0)

    async def failed(_session: Any, _context: Any, params: aiohttp.TraceRequestExceptionParams) -> None:
        if allowance := _allowance.get():
            allowance.last = str(params.exception) or type(params.exception).__name__

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(answered)
    trace.on_request_exception.append(failed)
    return trace


class _Body(io.BytesIO):
    """A body that a second attempt can send again: aiohttp closes what it has sent. Raw bytes it sends in one go."""

    def close(self) -> None:
        self.seek(0)


class _Quiet(logging.Filter):
    """Drops gcsfs's tracebacks of failures in our calls: those are raised, and told once, by perscache."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno < logging.ERROR or _allowance.get() is None


# --- The ends of clients.

_open: Final[weakref.WeakSet[Client]] = weakref.WeakSet()
_closing: Final[set[Future[None]]] = set()
_prepared = False


def _prepare_process() -> None:
    global _prepared
    if not _prepared:
        _prepared = True
        logging.getLogger("gcsfs").addFilter(_Quiet())
        # gcsfs closes its sessions by weakref.finalize, from the wrong thread. What is registered later runs earlier.
        atexit.register(_close_all)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_disown_all)


def _close(fs: FileSystem, session: aiohttp.ClientSession, tasks: set[asyncio.Task[Any]]) -> None:
    if session.closed or not fs.loop.is_running():
        return

    async def close(_: FileSystem) -> None:
        under_way = list(tasks)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await session.close()

    # It holds the file system until the session is closed: what gcsfs does with an open one is not safe in threads.
    closing = asyncio.run_coroutine_threadsafe(close(fs), fs.loop)
    _closing.add(closing)
    closing.add_done_callback(_closing.discard)


def _close_all() -> None:
    for client in list(_open):
        _close(client._fs, client._session, client._tasks)
    wait(list(_closing), _AT_EXIT)


def _disown_all() -> None:
    import ctypes

    # After a fork the connections are the parent's: closing or freeing them here would end its TLS sessions.
    for client in list(_open):
        session = client._session
        if session.connector is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(session.connector))
        session.detach()
    _open.clear()
    _closing.clear()
