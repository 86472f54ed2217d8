"""Amazon S3, on boto3: one request a hit, one a miss's look-up, one a store."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NoReturn

from perscache.errors import ConfigurationError, StorageError, Unsupported
from perscache.storage.http import media_type, persist, server_clock, written
from perscache.storage.remote import Found, Listed, Page, Refused, RemoteStorage
from perscache.units import Duration, Size

PARTS_FROM = 100 * 2**20
"""Bytes from which an upload goes in parts, each with tries of its own."""

PIECE = 2**20
"""Bytes that are read of a body between two looks at the clock."""

_ABSENT = frozenset({"NoSuchKey", "404", "NotFound"})
_OTHER = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409"})
_UNKNOWN = frozenset({"NotImplemented", "501"})
_PASSING = frozenset({
    "SlowDown", "Throttling", "ThrottlingException", "RequestTimeout", "RequestTimeTooSkewed", "InternalError",
    "ServiceUnavailable", "500", "502", "503", "504", "429", "ConditionalRequestConflict",
})  # fmt: skip
_CREDENTIALS = frozenset({
    "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired",
    "AuthorizationHeaderMalformed",
})  # fmt: skip


def _yes(text: str) -> bool:
    answers = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in answers:
        raise ValueError(f"{text!r} is neither true nor false")
    return answers[text.lower()]


class S3Storage(RemoteStorage):
    """Entries as plain objects in a bucket of Amazon S3, or of a server that speaks its protocol.

        S3Storage("bucket/folder")
        S3Storage("bucket/folder", max_size="20GB", profile="team")
        S3Storage("bucket/folder", endpoint_url="https://minio.example.org")

    The same as a URL: ``s3://bucket/folder?max_size=20GB&profile=team``. Credentials, region and endpoint come from
    where the AWS tools keep them (``AWS_PROFILE``, ``AWS_ENDPOINT_URL_S3``, the instance's role, …).
    """

    schemes = ("s3",)
    conditional = True
    lists_metadata = False

    url_options: ClassVar[Mapping[str, Callable[[str], Any]]] = {
        **RemoteStorage.url_options,
        "endpoint_url": str,
        "region": str,
        "profile": str,
        "anonymous": _yes,
        "requester_pays": _yes,
        "path_style": _yes,
    }

    def __init__(
        self,
        location: str,
        max_size: Size | None = None,
        *,
        endpoint_url: str | None = None,
        region: str | None = None,
        profile: str | None = None,
        anonymous: bool = False,
        requester_pays: bool = False,
        path_style: bool | None = None,
        store_options: Mapping[str, Any] | None = None,
        timeout: Duration = 5.0,
        cooldown: Duration = 30.0,
        sweep_every: int = 100,
        lease: Duration = 30.0,
    ) -> None:
        """A storage at ``location``, ``"bucket/folder"``. Nothing is imported or asked before the first call.

        ``profile`` is one of the AWS configuration, ``anonymous`` asks without credentials. ``path_style`` names the
        bucket in the path of the URL, as servers other than Amazon's mostly want it: None does so where there is an
        ``endpoint_url``. ``store_options`` go with each object that is written, as boto3 calls them:
        ``{"ServerSideEncryption": "aws:kms"}``. ``timeout`` bounds a call; a body may take a second more a megabyte.
        For ``max_size``, ``cooldown``, ``sweep_every`` and ``lease`` see `RemoteStorage`.
        """
        super().__init__(location, max_size, timeout=timeout, cooldown=cooldown, sweep_every=sweep_every, lease=lease)
        if profile and anonymous:
            raise ConfigurationError(f"{self}: profile={profile!r} and anonymous=True exclude each other: give one")
        self.endpoint_url = endpoint_url.rstrip("/") if endpoint_url else None
        self.region = region
        self.profile = profile
        self.anonymous = anonymous
        self.requester_pays = requester_pays
        self.path_style = bool(endpoint_url) if path_style is None else path_style
        self.store_options = dict(store_options or {})

    @property
    def identity(self) -> str:
        """Its URL, and its server where one is named."""
        endpoint = (
            self.endpoint_url or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
        )
        return f"{self.url}@{endpoint}" if endpoint else self.url

    # --- The backend.

    def _get(self, name: str) -> Found:
        def get(client: Any, until: float) -> tuple[Any, bytes]:
            answer = client.get_object(Bucket=self.bucket, Key=name, **self._payer)
            return answer, _body(answer["Body"], answer["ContentLength"], until)

        answer, data = self._ask(get)
        metadata, modified = answer["Metadata"], answer["LastModified"].timestamp()
        return Found(data, written(modified, metadata), _now(answer), metadata, answer["ETag"])

    def _put(self, name: str, data: bytes, metadata: Mapping[str, str]) -> None:
        options = {**self.store_options, **self._payer, "Metadata": dict(metadata), "ContentType": media_type(name)}

        def put(client: Any, _: float) -> None:
            if len(data) < PARTS_FROM:
                client.put_object(Bucket=self.bucket, Key=name, Body=data, **options)
            else:
                import io

                client.upload_fileobj(io.BytesIO(data), self.bucket, name, ExtraArgs=options)

        self._ask(put)

    def _put_if(self, name: str, data: bytes, generation: str | None, term: float) -> str:
        options: dict[str, Any] = {**self.store_options, **self._payer, "ContentType": "application/json"}
        options |= {"IfNoneMatch": "*"} if generation is None else {"IfMatch": generation}

        def put(client: Any, _: float) -> Any:
            return client.put_object(Bucket=self.bucket, Key=name, Body=data, **options)["ETag"]

        try:
            return str(self._ask(put))
        except FileNotFoundError:
            # What it was to replace is gone.
            raise FileExistsError(name) from None

    def _stat(self, name: str) -> Listed:
        found = self._ask(lambda client, _: client.head_object(Bucket=self.bucket, Key=name, **self._payer))
        return _listed({**found, "Key": name, "Size": found["ContentLength"]}, found["Metadata"])

    def _list(self, prefix: str, token: str | None) -> Page:
        more = {"ContinuationToken": token} if token else {}
        found = self._ask(
            lambda client, _: client.list_objects_v2(Bucket=self.bucket, Prefix=prefix, **more, **self._payer)
        )
        listed = [_listed(item, {}) for item in found.get("Contents", ())]
        return Page(listed, found.get("NextContinuationToken"), _now(found))

    def _remove(self, name: str, generation: str | None) -> bool:
        # S3 answers alike whether there was an object or not, and servers like it may not know conditions here.
        try:
            there = self._stat(name).generation
        except FileNotFoundError:
            return False
        if generation not in (None, there):
            return False

        def remove(client: Any, _: float) -> None:
            client.delete_object(Bucket=self.bucket, Key=name, **condition, **self._payer)

        condition = {} if generation is None else {"IfMatch": generation}
        try:
            self._ask(remove)
        except Unsupported:
            condition = {}
            self._ask(remove)
        except (FileNotFoundError, FileExistsError):
            return False
        return True

    def _no_bucket(self) -> str:
        return (
            f"the bucket {self.bucket!r} does not exist (storage {self.identity}): correct its name, "
            f"or create it: aws s3 mb s3://{self.bucket}"
        )

    # --- The way there.

    @property
    def _payer(self) -> dict[str, str]:
        return {"RequestPayer": "requester"} if self.requester_pays else {}

    def _ask(self, request: Callable[[Any, float], Any]) -> Any:
        """What ``request`` gives, tried up to three times while half of the timeout is not over."""
        until = time.monotonic() + self.timeout
        try:
            client = self._client()
            return persist(lambda: request(client, until), self.timeout, _passing)
        except Exception as error:  # noqa: BLE001 - whatever a client library raises is told in our words
            self._explain(error)

    def _connect(self) -> Any:
        import botocore
        from boto3.session import Session
        from botocore.config import Config

        config = Config(
            connect_timeout=self.timeout,
            read_timeout=self.timeout,
            retries={"total_max_attempts": 1},
            max_pool_connections=64,
            s3={"addressing_style": "path" if self.path_style else "auto"},
            # Servers that are not Amazon's refuse newer checksums; the digest in the metadata does the same.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            **({"signature_version": botocore.UNSIGNED} if self.anonymous else {}),
        )
        # A session of its own: the default one is not safe among threads.
        session = Session(profile_name=self.profile, region_name=self.region)
        return session.client("s3", endpoint_url=self.endpoint_url, config=config)

    def _explain(self, error: Exception) -> NoReturn:
        """Raise what ``error`` means."""
        from botocore.exceptions import (
            ClientError,
            NoCredentialsError,
            PartialCredentialsError,
            ProfileNotFound,
            TokenRetrievalError,
        )

        if isinstance(error, StorageError):
            raise error
        said = " ".join(str(error).split())
        if isinstance(error, (NoCredentialsError, PartialCredentialsError, ProfileNotFound, TokenRetrievalError)):
            raise Refused(
                f"{self.url} needs credentials, and there are none to use ({said}): run `aws configure` or "
                "`aws sso login`, set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give profile="
            ) from error
        if not isinstance(error, ClientError):
            kind = Refused if isinstance(error, (TypeError, ValueError)) else StorageError
            raise kind(f"{self.url} failed: {said or type(error).__name__}") from error
        code = str(error.response.get("Error", {}).get("Code", ""))
        said = f"{error.operation_name}: {code} {error.response.get('Error', {}).get('Message', '')}".strip()
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code == "NoSuchBucket":
            raise StorageError(self._no_bucket()) from error
        if code in _ABSENT:
            raise FileNotFoundError(said) from error
        if code in _OTHER:
            raise FileExistsError(said) from error
        if code in _UNKNOWN:
            raise Unsupported(f"{self.url}: {said}") from error
        if code in _CREDENTIALS:
            raise Refused(
                f"{self.url} takes no credentials that were found ({said}): run `aws sts get-caller-identity` to see "
                "whose they are, and give others by AWS_PROFILE or profile="
            ) from error
        if status == 403:
            raise Refused(
                f"{self.url} refuses these credentials ({said}): grant them s3:GetObject, s3:PutObject, "
                f"s3:DeleteObject on arn:aws:s3:::{self.bucket}/* and s3:ListBucket on arn:aws:s3:::{self.bucket} "
                "(without s3:ListBucket a missing object looks forbidden)"
            ) from error
        if code in {"PermanentRedirect", "301", "IllegalLocationConstraintException"}:
            raise Refused(f"the bucket {self.bucket!r} lies in another region ({said}): give region=") from error
        kind = Refused if 400 <= status < 500 and code not in _PASSING else StorageError
        raise kind(f"{self.url} failed: {said}") from error


def _passing(error: Exception) -> bool:
    """Whether the same request may well succeed a moment later."""
    from botocore.exceptions import (
        ClientError,
        ConnectionClosedError,
        ConnectTimeoutError,
        EndpointConnectionError,
        HTTPClientError,
        IncompleteReadError,
        ReadTimeoutError,
    )

    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return error.response.get("Error", {}).get("Code") in _PASSING or (status >= 500 and status != 501)
    if isinstance(error, (ConnectTimeoutError, ReadTimeoutError)):
        return False  # The time is over.
    return isinstance(error, (EndpointConnectionError, ConnectionClosedError, HTTPClientError, IncompleteReadError))


def _body(stream: Any, size: int, until: float) -> bytes:
    """All ``size`` bytes of a body, before ``until`` and a second more for each megabyte."""
    from botocore.exceptions import IncompleteReadError, ReadTimeoutError, ResponseStreamingError
    from urllib3 import exceptions as urllib3

    # As they come: botocore's own read waits for a whole piece, which of a slow body never ends.
    read = getattr(getattr(stream, "_raw_stream", None), "read1", stream.read)
    pieces: list[bytes] = []
    come = 0
    try:
        while come < size and (piece := read(PIECE)):
            pieces.append(piece)
            come += len(piece)
            if time.monotonic() > until + come / PIECE:
                raise StorageError("a body came too slowly: give a longer timeout=, or look at the network")
    except urllib3.ReadTimeoutError as error:
        raise ReadTimeoutError(endpoint_url=error.url, error=error) from error
    except urllib3.ProtocolError as error:
        raise ResponseStreamingError(error=error) from error
    finally:
        stream.close()
    if come != size:
        raise IncompleteReadError(actual_bytes=come, expected_bytes=size)
    return b"".join(pieces)


def _now(answer: Mapping[str, Any]) -> float:
    return server_clock(answer["ResponseMetadata"]["HTTPHeaders"].get("date"))


def _listed(item: Mapping[str, Any], metadata: Mapping[str, str]) -> Listed:
    created = written(item["LastModified"].timestamp(), metadata)
    return Listed(item["Key"], item["Size"], created, item["ETag"], metadata)
