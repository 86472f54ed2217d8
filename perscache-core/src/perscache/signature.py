"""Signed payloads: bytes from a cache that others can write to are loaded only if they carry our signature.

The signature is a trailer behind the payload (HMAC-SHA256, RFC 2104), which pickle readers ignore. It covers the path
too, so that one entry cannot stand in for another.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence
from typing import Final

from .buffers import Buffer
from .errors import ConfigurationError, DamagedEntry

_MAGIC: Final = b"\nperscache-signed-1:"
_LENGTH: Final = len(_MAGIC) + 32


class Signer:
    """Signs and checks with one key."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes | str) -> None:
        self._key: Final = key.encode() if isinstance(key, str) else key
        if not self._key:
            raise ConfigurationError("the signing key is empty: give some 32 random bytes, or none at all")

    def sign(self, path: str, data: Sequence[Buffer]) -> Sequence[Buffer]:
        """The pieces ``data`` with their signature behind them."""
        return (*data, _MAGIC + self._mac(path, data))

    def unsign(self, path: str, data: Buffer) -> memoryview:
        """``data`` without its signature; raises DamagedEntry where that is missing or not ours."""
        view = memoryview(data)
        payload, trailer = view[:-_LENGTH], view[-_LENGTH:]
        if len(view) < _LENGTH or bytes(trailer[: len(_MAGIC)]) != _MAGIC:
            raise DamagedEntry(f"{path} carries no signature: it was stored without the signing key, and is not loaded")
        if not hmac.compare_digest(trailer[len(_MAGIC) :], self._mac(path, [payload])):
            raise DamagedEntry(f"{path} is signed with another key, or was changed: it is not loaded")
        return payload

    def _mac(self, path: str, data: Iterable[Buffer]) -> bytes:
        mac = hmac.new(self._key, path.encode() + b"\0", "sha256")
        for piece in data:
            mac.update(piece)
        return mac.digest()
