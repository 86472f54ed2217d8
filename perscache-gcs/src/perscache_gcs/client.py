"""A gcsfs file system used as an HTTP client: requests with a deadline, from threads and from any event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future, wait
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gcsfs.core import GCSFileSystem

    from .storage import GoogleCloudStorage

SLOWEST = 1_000_000
"""Bytes a second: a body that is slower than this counts as stalled."""


class Allowance:
    """How long one call may still take, and what happened in it last."""

    _current: ContextVar[Allowance] = ContextVar("perscache_gcs_allowance")

    def __init__(self, timeout: float) -> None:
        """``timeout`` seconds from now on."""
        self._end = time.monotonic() + timeout
        self.last = ""

    @classmethod
    def now(cls) -> Allowance:
        """That of the call in which this runs."""
        return cls._current.get()

    def enter(self) -> None:
        """Make it that of the running call."""
        self._current.set(self)

    def extend(self, size: int) -> None:
        """Grant the time that a body of ``size`` bytes takes."""
        self._end += size / SLOWEST

    @property
    def left(self) -> float:
        """Seconds, 0 when it is used up."""
        return max(0.0, self._end - time.monotonic())


class Client:
    """A gcsfs file system and its loop."""

    def __init__(self, fs: GCSFileSystem) -> None:
        """Around ``fs``, which runs its requests on fsspec's own thread."""
        self.fs = fs
        self.upload_base = fs.base.removesuffix("storage/v1/") + "upload/storage/v1/"

    def media_url(self, bucket: str, name: str) -> str:
        """Where the body of an object is read, its headers with it."""
        return str(self.fs.url(f"{bucket}/{name}"))

    async def call(self, method: str, path: str, *args: str, **kwargs: Any) -> tuple[Mapping[str, str], bytes]:
        """Headers and body of one request, tried again while the call's allowance lasts."""
        answer: tuple[Mapping[str, str], bytes] = await self.fs._call(method, path, *args, **kwargs)  # noqa: SLF001
        return answer

    def wait(
        self, request: Callable[[], Coroutine[Any, Any, Any]], timeout: float, late: Callable[[str], Exception]
    ) -> Any:
        """The answer to ``request``, in the calling thread."""
        allowance = Allowance(timeout)
        future = self._submit(request, allowance)
        try:
            while not wait((future,), allowance.left).done:
                if not allowance.left:
                    raise late(allowance.last)
            return future.result()
        finally:
            future.cancel()

    async def wait_async(
        self, request: Callable[[], Coroutine[Any, Any, Any]], timeout: float, late: Callable[[str], Exception]
    ) -> Any:
        """The answer to ``request``, on any event loop. Cancelling it cancels the request."""
        allowance = Allowance(timeout)
        future = self._submit(request, allowance)
        waiter = asyncio.wrap_future(future)
        try:
            while not (await asyncio.wait((waiter,), timeout=allowance.left))[0]:
                if not allowance.left:
                    raise late(allowance.last)
            return waiter.result()
        finally:
            waiter.cancel()

    def _submit(self, request: Callable[[], Coroutine[Any, Any, Any]], allowance: Allowance) -> Future[Any]:
        async def bounded() -> Any:
            allowance.enter()
            try:
                return await request()
            except Exception:
                if future.cancelled():
                    # Nobody waits any more, and asyncio would print what nobody fetched.
                    return None
                raise

        future: Future[Any] = asyncio.run_coroutine_threadsafe(bounded(), self.fs.loop)
        return future


def connect(storage: GoogleCloudStorage) -> Future[Client]:
    """A client for ``storage``, being made: finding credentials may ask the network, in a thread of its own."""
    import gcsfs.core  # noqa: F401 - a second of importing that is not to count as waiting for a server

    made: Future[Client] = Future()

    def make() -> None:
        try:
            made.set_result(Client(_file_system(storage)))
        except BaseException as error:  # noqa: BLE001 - whoever waits gets it
            made.set_exception(error)

    threading.Thread(target=make, name="perscache-gcs-connect", daemon=True).start()
    return made


def _file_system(storage: GoogleCloudStorage) -> GCSFileSystem:
    import aiohttp

    # Not gcsfs.GCSFileSystem: that one probes over gRPC first, a minute where gRPC is blocked.
    from gcsfs.core import GCSFileSystem

    _quieten()
    emulated = storage.endpoint is not None and not storage.endpoint.startswith("https://")
    traces = [*storage.session_kwargs.get("trace_configs", ()), _trace()]
    pays = storage.requester_pays
    return GCSFileSystem(
        token="anon" if storage.token is None and emulated else storage.token,  # noqa: S106 - a word, no secret
        access=storage.access,
        # Not project=: one that differs from the credentials' own makes gcsfs fall back to anonymous.
        requester_pays=(storage.project or True) if pays is True else pays,
        endpoint_url=storage.endpoint_url,
        requests_timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=storage.timeout, sock_read=storage.timeout
        ),
        session_kwargs={**storage.session_kwargs, "trace_configs": traces},
        use_listings_cache=False,
        skip_instance_cache=True,
    )


def _trace() -> Any:
    import aiohttp

    async def answered(_session: Any, _context: Any, params: aiohttp.TraceRequestEndParams) -> None:
        allowance = Allowance.now()
        allowance.last = f"HTTP {params.response.status}"
        if params.response.status < 300:  # noqa: PLR2004
            allowance.extend(params.response.content_length or 0)

    async def failed(_session: Any, _context: Any, params: aiohttp.TraceRequestExceptionParams) -> None:
        Allowance.now().last = str(params.exception) or type(params.exception).__name__

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(answered)
    trace.on_request_exception.append(failed)
    return trace


class _Quiet(logging.Filter):
    """Drops gcsfs's tracebacks of failures in our calls: they are raised, and told once, by perscache."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno < logging.ERROR or Allowance._current.get(None) is None  # noqa: SLF001


_quiet = _Quiet()


def _quieten() -> None:
    logging.getLogger("gcsfs").addFilter(_quiet)
