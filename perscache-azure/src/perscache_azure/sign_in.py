"""Signing in as Azure's own tools do, within a deadline: `az login`, managed identities, service principals."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

from perscache.errors import StorageError


class Patient:
    """A credential of azure-identity, or of its kind, whose tokens are waited for at most ``timeout`` seconds.

    The chain asks what is not there, too: an address that no machine outside Azure answers, programs that take seconds.
    """

    def __init__(self, place: str, credential: Any, timeout: float) -> None:
        self._place = place
        self._credential = credential
        self._timeout = timeout
        self._lock = threading.Lock()
        self._asking: dict[Any, Future[Any]] = {}

    def get_token(self, *scopes: str, **options: Any) -> Any:
        """The token, or the error of who gives it. StorageError at the end of patience; what comes later is used."""
        asked = (scopes, tuple(sorted((name, str(value)) for name, value in options.items())))
        with self._lock:
            coming = self._asking.get(asked)
            if coming is None:
                coming = self._asking[asked] = Future()
                threading.Thread(
                    target=self._ask, args=(coming, scopes, options), name="perscache-sign-in", daemon=True
                ).start()
        try:
            token = coming.result(self._timeout)
        except TimeoutError as error:
            if coming.done():
                self._forget(asked, coming)
                raise
            raise StorageError(
                f"{self._place}: no token of Azure within {self._timeout:g} s: run `az login`, or give account_key=, "
                "sas_token= or connection_string="
            ) from error
        except BaseException:
            self._forget(asked, coming)
            raise
        self._forget(asked, coming)
        return token

    def _ask(self, coming: Future[Any], scopes: tuple[str, ...], options: dict[str, Any]) -> None:
        try:
            coming.set_result(self._credential.get_token(*scopes, **options))
        except BaseException as error:  # noqa: BLE001 - it is told to whoever waits
            coming.set_exception(error)

    def _forget(self, asked: Any, coming: Future[Any]) -> None:
        with self._lock:
            if self._asking.get(asked) is coming:
                del self._asking[asked]


def default_credential() -> Any:
    """Azure's own chain, or None where azure-identity is not installed."""
    try:
        from azure.identity import DefaultAzureCredential
    except ImportError:
        return None
    return DefaultAzureCredential()
