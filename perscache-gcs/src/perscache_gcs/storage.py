"""Google Cloud Storage, on gcsfs: one request a hit, one a miss's look-up, one a store."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from perscache.errors import ConfigurationError, DamagedEntry, StorageError
from perscache.storage.http import media_type, server_clock, timestamp
from perscache.storage.lease import LEASES
from perscache.storage.options import truth
from perscache.storage.remote import Found, Listed, Page, Refused, RemoteStorage
from perscache.units import Duration, Size

if TYPE_CHECKING:
    from concurrent.futures import Future

    from google.auth.credentials import Credentials

    from .client import Client, Request

RESUMABLE = 50 * 1000 * 1000
"""Bytes from which an upload goes in parts."""

PART = 48 * 2**20
"""Bytes of such a part: a multiple of 256 KiB, as the protocol asks."""

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_FIELDS = "name,size,timeCreated,updated,generation,metadata"


def _yes_or_project(text: str) -> bool | str:
    return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(text.lower(), text)


class GoogleCloudStorage(RemoteStorage):
    """Entries as plain objects in a bucket of Google Cloud Storage.

        GoogleCloudStorage("/bucket/folder")
        GoogleCloudStorage("bucket/folder", max_size="20GB", project="my-project")

    The same as a URL: ``gs://bucket/folder?max_size=20GB&project=my-project``. Credentials come from where Google's
    own tools keep them, or from ``token``. ``STORAGE_EMULATOR_HOST`` or an ``endpoint_url`` of plain http names an
    emulator, which is asked anonymously.
    """

    schemes = ("gs", "gcs")
    conditional = True
    touches = True

    url_options: ClassVar[Mapping[str, Callable[[str], Any]]] = {
        **RemoteStorage.url_options,
        "lru": partial(truth, "lru"),
        "token": str,
        "project": str,
        "requester_pays": _yes_or_project,
        "endpoint_url": str,
        "access": str,
    }

    def __init__(
        self,
        location: str,
        max_size: Size | None = None,
        *,
        token: str | Mapping[str, Any] | Credentials | None = None,
        project: str | None = None,
        requester_pays: bool | str = False,
        endpoint_url: str | None = None,
        access: str = "full_control",
        timeout: Duration = 5.0,
        cooldown: Duration = 30.0,
        sweep_every: int = 100,
        lease: Duration = 30.0,
        lru: bool = False,
        session_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        """A storage at ``location``, ``"bucket/folder"``. Nothing is imported or asked before the first call.

        ``token`` is what gcsfs takes: a key file, ``"google_default"``, ``"cloud"``, ``"anon"``, a dict, a
        Credentials object; None looks in the usual places. ``project`` pays where ``requester_pays`` is true.
        ``access`` is "read_only", "read_write" or "full_control". ``session_kwargs`` go to aiohttp's session
        (``{"trust_env": True}`` for proxies). ``timeout`` bounds a call; a body may take a second more a megabyte.
        For ``max_size``, ``cooldown``, ``sweep_every``, ``lease`` and ``lru`` see `RemoteStorage`.
        """
        self.endpoint_url = endpoint_url.rstrip("/") if endpoint_url else None
        super().__init__(
            location, max_size, timeout=timeout, cooldown=cooldown, sweep_every=sweep_every, lease=lease, lru=lru
        )
        if not _BUCKET.fullmatch(self.bucket):
            raise ConfigurationError(
                f"{self.bucket!r} is no bucket name of Google Cloud Storage: it takes 3 to 63 lower-case letters, "
                "digits, '-', '_' and '.', for example GoogleCloudStorage('my-bucket/folder')"
            )
        if access not in ("read_only", "read_write", "full_control"):
            raise ConfigurationError(f"access={access!r}: give 'read_only', 'read_write' or 'full_control'")
        self.token = token
        self.project = project
        self.requester_pays = requester_pays
        self.access = access
        self.session_kwargs = dict(session_kwargs or {})

    @property
    def endpoint(self) -> str | None:
        """The server that is asked in place of Google's, or None."""
        emulator = os.environ.get("STORAGE_EMULATOR_HOST", "")
        return self.endpoint_url or (emulator if emulator not in ("", "default") else None)

    @property
    def identity(self) -> str:
        """Its URL, and its server where that is not Google's."""
        return f"{self.url}@{self.endpoint}" if self.endpoint else self.url

    def lifecycle(self, days: int) -> str:
        """The rules by which the bucket itself removes what is old: JSON for ``gcloud storage … --lifecycle-file``.

        That is whatever lies in the storage's folder, ours or not, some time after ``days`` whole days. What is expired
        is decided by reading. The rules take the place of those that the bucket has.
        """
        import json

        def rule(age: int, prefix: str) -> dict[str, Any]:
            condition = {"age": age, **({"matchesPrefix": [prefix]} if prefix else {})}
            return {"action": {"type": "Delete"}, "condition": condition}

        if days < 1:
            raise ConfigurationError(f"days={days!r}: a lifecycle rule counts whole days: give 1 or more")
        return json.dumps({"rule": [rule(days, self._root), rule(1, self._under(LEASES))]}, indent=2)

    # --- The backend: coroutines on the client's own loop.

    async def _get(self, name: str) -> Found:
        headers, body = await self._call("GET", self._client().media_url(self.bucket, name))
        if "X-Goog-Generation" not in headers:
            raise StorageError(self._stranger())
        if "crc32c" in (sent := _hashes(headers)) and sent["crc32c"] != _crc32c(body):
            raise DamagedEntry(f"gs://{self.bucket}/{name} arrived with other bytes than the server keeps")
        metadata = {key[len(_META) :].lower(): text for key, text in headers.items() if key.lower().startswith(_META)}
        touched = timestamp(headers.get("Last-Modified"))
        return Found(
            body, _created(headers), server_clock(headers.get("Date")), metadata, headers["X-Goog-Generation"], touched
        )

    async def _put(self, name: str, data: bytes, metadata: Mapping[str, str]) -> None:
        resource = {
            "name": name,
            "contentType": media_type(name),
            "crc32c": _crc32c(data),
            "metadata": metadata,
        }
        target = f"{self._client().upload_base}b/{self.bucket}/o"
        if len(data) < RESUMABLE:
            await self._put_whole(target, resource, data)
        else:
            await self._put_in_parts(target, resource, data)

    async def _put_if(self, name: str, data: bytes, generation: str | None, term: float) -> str:
        import json

        resource = {"name": name, "contentType": "application/json", "crc32c": _crc32c(data)}
        target = f"{self._client().upload_base}b/{self.bucket}/o"
        answer = await self._put_whole(target, resource, data, ifGenerationMatch=generation or "0")
        try:
            return str(json.loads(answer)["generation"])
        except (ValueError, TypeError, KeyError) as error:
            raise StorageError(self._stranger()) from error

    async def _put_whole(self, target: str, resource: Mapping[str, Any], data: bytes, **conditions: str) -> bytes:
        import json
        import uuid

        # gcsfs's own boundary is fixed, and cuts off a value that holds it.
        boundary = f"perscache-{uuid.uuid4().hex}"
        body = b"".join((
            f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{json.dumps(resource)}\r\n"
            f"--{boundary}\r\nContent-Type: {resource['contentType']}\r\n\r\n".encode(),
            data,
            f"\r\n--{boundary}--\r\n".encode(),
        ))  # fmt: skip
        headers = {"Content-Type": f'multipart/related; boundary="{boundary}"'}
        _, answer = await self._call("POST", target, uploadType="multipart", headers=headers, data=body, **conditions)
        return answer

    async def _put_in_parts(self, target: str, resource: Mapping[str, Any], data: bytes) -> None:
        headers, _ = await self._call("POST", target, uploadType="resumable", json=resource)
        whole = memoryview(data)
        start = 0
        while start < len(whole):
            part = whole[start : start + PART]
            span = {"Content-Range": f"bytes {start}-{start + len(part) - 1}/{len(whole)}"}
            answer, _ = await self._call("PUT", headers["Location"], headers=span, data=part)
            # The server says how far it got, on all parts but the last.
            start = int(answer["Range"].rpartition("-")[2]) + 1 if "Range" in answer else start + len(part)

    async def _stat(self, name: str) -> Listed:
        _, item = await self._ask("b/{}/o/{}", self.bucket, name, fields=_FIELDS)
        return _listed(item)

    async def _list(self, prefix: str, token: str | None) -> Page:
        fields = f"items({_FIELDS}),nextPageToken"
        headers, found = await self._ask("b/{}/o", self.bucket, prefix=prefix, pageToken=token, fields=fields)
        return Page(
            [_listed(item) for item in found.get("items", ())],
            found.get("nextPageToken"),
            server_clock(headers.get("Date")),
        )

    async def _remove(self, name: str, generation: str | None) -> bool:
        try:
            await self._call("DELETE", "b/{}/o/{}", self.bucket, name, ifGenerationMatch=generation)
        except (FileNotFoundError, FileExistsError):
            # gcsfs's name for a generation that is not the one we listed.
            return False
        return True

    async def _touch(self, name: str, generation: str) -> None:
        from datetime import UTC, datetime

        used = {"metadata": {"used": datetime.now(UTC).date().isoformat()}}
        await self._call("PATCH", "b/{}/o/{}", self.bucket, name, ifGenerationMatch=generation, json=used)

    def _no_bucket(self) -> str:
        return (
            f"the bucket {self.bucket!r} does not exist (storage {self.url}): correct its name, "
            f"or create it: gcloud storage buckets create gs://{self.bucket}"
        )

    # --- The way there.

    async def _call(self, method: str, path: str, *args: str, **kwargs: Any) -> tuple[Mapping[str, str], bytes]:
        try:
            return await self._client().call(method, path, *args, **kwargs)
        except (FileNotFoundError, FileExistsError):
            raise
        except Exception as error:
            raise self._explained(error) from error

    async def _ask(self, path: str, *args: str, **kwargs: Any) -> tuple[Mapping[str, str], dict[str, Any]]:
        import json

        headers, body = await self._call("GET", path, *args, **kwargs)
        try:
            return headers, json.loads(body)
        except ValueError as error:
            raise StorageError(self._stranger()) from error

    def _stranger(self) -> str:
        return f"{self.url}: what answered is not Google Cloud Storage: look at endpoint_url= and at proxies"

    def _client(self) -> Client:
        from .client import connect

        live = self._now_live()
        with live.lock:
            making: Future[Client] | None = live.client
            if making is None or (making.done() and making.exception()):
                making = live.client = connect(self)
        try:
            return making.result(self.timeout)
        except TimeoutError as error:
            raise StorageError(f"{self.url}: no Google credentials within {self.timeout:g} s") from error
        except Exception as error:
            if isinstance(self.token, str):
                # Without the cause: its text may hold the token.
                raise Refused(
                    f"{self.url}: the token= that was given cannot be used ({type(error).__name__}): give the path of "
                    "a key file, 'google_default', 'anon', or leave it out"
                ) from None
            raise self._explained(error) from error

    def _wait(self, request: Request) -> Any:
        client = self._client()
        try:
            return client.run(request, self.timeout)
        except TimeoutError as error:
            raise self._late(error) from None

    async def _await(self, request: Request) -> Any:
        import asyncio

        making = self._now_live().client
        client = self._client() if making is not None and making.done() else await asyncio.to_thread(self._client)
        try:
            return await client.arun(request, self.timeout)
        except TimeoutError as error:
            raise self._late(error) from None

    def _late(self, error: TimeoutError) -> StorageError:
        last = f" (last: {error})" if str(error) else ""
        return StorageError(f"{self.url} did not answer within {self.timeout:g} s{last}")

    def _explained(self, error: Exception) -> StorageError:
        from google.auth.exceptions import GoogleAuthError

        said = " ".join(str(error).split())
        code = getattr(error, "code", None)
        if isinstance(error, ValueError) and "requester" in said:
            return Refused(
                f"the bucket {self.bucket!r} is requester pays: name who pays, "
                "GoogleCloudStorage(…, requester_pays='my-project') or gs://…?requester_pays=my-project"
            )
        if isinstance(error, GoogleAuthError) or code == 401:
            return Refused(
                f"{self.url} takes no credentials that were found ({said}): run "
                "`gcloud auth application-default login`, set GOOGLE_APPLICATION_CREDENTIALS, or give token="
            )
        if said.startswith("Forbidden") or code == 403:
            return Refused(
                f"{self.url} refuses these credentials ({said}): grant them the role Storage Object User on the "
                "bucket (read-only use: Storage Object Viewer), or give another token="
            )
        if isinstance(error, ValueError) or (isinstance(code, int) and 400 <= code < 500 and code not in (408, 429)):
            return Refused(f"{self.url} refused a request: {said}")
        return StorageError(f"{self.url} failed: {said or type(error).__name__}")


_META = "x-goog-meta-"

_EARLIEST, _LATEST = 1e9, 1e10
"""Between 2001 and 2286 a generation is a time; some emulators count from 1."""


def _hashes(headers: Mapping[str, str]) -> dict[str, str]:
    # One line with commas from emulators, one line each from Google.
    lines = (text for name, text in headers.items() if name.lower() == "x-goog-hash")
    pairs = (item.strip().partition("=") for line in lines for item in line.split(","))
    return {name: digest for name, _, digest in pairs}


def _crc32c(data: bytes) -> str:
    from base64 import b64encode

    import google_crc32c

    return b64encode(google_crc32c.value(data).to_bytes(4)).decode()


def _created(headers: Mapping[str, str]) -> float:
    # A generation is the microsecond in which the body was written; Last-Modified also moves with the metadata.
    generation = headers.get("X-Goog-Generation", "")
    if generation.isdecimal() and _EARLIEST < (created := int(generation) / 1e6) < _LATEST:
        return created
    return timestamp(headers.get("Last-Modified")) or time.time()


def _listed(item: Mapping[str, Any]) -> Listed:
    from datetime import datetime

    created, touched = (datetime.fromisoformat(item[name]).timestamp() for name in ("timeCreated", "updated"))
    return Listed(item["name"], int(item["size"]), created, str(item["generation"]), item.get("metadata", {}), touched)
