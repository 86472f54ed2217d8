"""HTTP under Azure's client library: one try a request, bodies whole and in time, a connection for each look-up."""

from __future__ import annotations

import time
from io import BytesIO
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.utils import super_len

from perscache.errors import StorageError
from perscache.storage.base import AT_ONCE

PIECE = 2**18
"""Bytes that are read of a body at most between two looks at the clock."""

MEGABYTE = 2**20


class Broken(StorageError):
    """A body that ended before its end: the next try may bring it."""


class Session(requests.Session):
    """Reads each body before the client library sees it: that one would read it again, up to three times, and wait.

    ``timeout`` is in seconds; a body, up or down, has one more for each megabyte.
    """

    def __init__(self, place: str, timeout: float) -> None:
        super().__init__()
        self._place = place
        self._timeout = timeout
        for scheme in ("https://", "http://"):
            self.mount(scheme, HTTPAdapter(pool_maxsize=AT_ONCE))

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send it as `requests.Session` does, within its time, and read the answer."""
        # The whole of a body is sent within one timeout.
        allowed = self._timeout + super_len(request.body or b"") / MEGABYTE
        until = time.monotonic() + allowed
        answer = super().send(request, **{**options, "timeout": (allowed, allowed)})
        if options.get("stream"):
            answer.raw = self._whole(answer, until)
        return answer

    def _whole(self, answer: requests.Response, until: float) -> _Body:
        answer.raw.enforce_content_length = True
        pieces: list[bytes] = []
        read = 0
        try:
            # What has come, however little: a full piece may take for ever.
            while piece := answer.raw.read1(PIECE, decode_content=True):
                pieces.append(piece)
                read += len(piece)
                if time.monotonic() > until + read / MEGABYTE:
                    raise StorageError(
                        f"{self._place}: a body came too slowly: give a longer timeout=, or look at the network"
                    )
        except Exception as error:
            answer.close()
            if isinstance(error, StorageError):
                raise
            raise Broken(f"{self._place}: a body did not come whole: {' '.join(str(error).split())}") from error
        return _Body(b"".join(pieces))


class _Body(BytesIO):
    """What is left to read."""

    enforce_content_length = True
