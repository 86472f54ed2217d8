"""A server in trouble costs a call its deadline at most, once, and says what is wrong and what to do."""

from __future__ import annotations

import asyncio
import os
import socket
import time
import warnings

import pytest

from perscache import Cache
from perscache.errors import StorageError
from perscache.storage.remote import Refused
from perscache.testing import Fault, FaultyProxy
from perscache_s3 import S3Storage
from perscache_s3.testing import Bucket

PATH = "f/0123456789abcdef0123456789abcdef.json"
TIMEOUT = 1.0


@pytest.fixture
def shaky(s3_bucket: Bucket, faulty_s3: FaultyProxy, behind: S3Storage) -> S3Storage:
    """A storage with a short deadline, connected, with one entry."""
    behind.write(PATH, b"a value")
    storage = S3Storage(f"{s3_bucket.name}/folder", endpoint_url=faulty_s3.endpoint, timeout=TIMEOUT)
    storage._client()
    faulty_s3.forget()
    return storage


@pytest.mark.parametrize("fault", ["503", "429", "reset", "stall", "cut", "lost"])
def test_the_result_is_returned_whatever_the_server_does(
    shaky: S3Storage, s3_bucket: Bucket, faulty_s3: FaultyProxy, fault: Fault
):
    @Cache("json", shaky)
    def f(x):
        return [x]

    faulty_s3.fail(fault, times=None)
    started = time.monotonic()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert f(1) == [1]
        assert asyncio.run(asyncio.to_thread(f, 2)) == [2]

    # botocore alone would try a stall for minutes; the factor is for slow machines.
    assert time.monotonic() - started < 30 * TIMEOUT
    stages = [str(warning.message).split(" failed")[0] for warning in caught]
    assert len(stages) == len(set(stages)) <= 2  # reading and writing, once each
    assert all(s3_bucket.name in str(warning.message) for warning in caught)


@pytest.mark.parametrize("fault", ["503", "429", "reset", "cut", "lost"])
def test_trouble_that_passes_is_not_noticed(behind: S3Storage, faulty_s3: FaultyProxy, fault: Fault):
    faulty_s3.fail(fault, method="PUT")
    behind.write(PATH, b"a value")
    faulty_s3.fail(fault, method="GET")

    assert behind.load(PATH).data == b"a value"


@pytest.mark.parametrize("deed", ["write", "peek", "delete", "clear", "prune"])
def test_every_deed_has_a_deadline(shaky: S3Storage, faulty_s3: FaultyProxy, deed: str):
    faulty_s3.fail("stall", times=None)
    arguments = {"write": (PATH, b"x"), "peek": (PATH,), "delete": (PATH,)}.get(deed, ())

    with pytest.raises(StorageError, match="Read timeout"):
        getattr(shaky, deed)(*arguments)


def test_a_body_that_comes_drop_by_drop_is_given_up(shaky: S3Storage, behind: S3Storage, faulty_s3: FaultyProxy):
    behind.write(PATH, b"x" * 10_000)
    faulty_s3.fail("drip", times=None, method="GET")
    started = time.monotonic()
    with pytest.raises(StorageError, match="a body came too slowly"):
        shaky.load(PATH)
    assert time.monotonic() - started < 60 * TIMEOUT  # all of it would take 500 s


def test_a_server_in_trouble_is_left_alone_for_a_while(shaky: S3Storage, faulty_s3: FaultyProxy):
    faulty_s3.fail("stall", times=None)
    with pytest.raises(StorageError):
        shaky.load(PATH)
    faulty_s3.forget()

    for deed in (lambda: shaky.load(PATH), lambda: shaky.write(PATH, b"x"), lambda: list(shaky.entries())):
        with pytest.raises(StorageError, match=r"left alone for another \d+ s"):
            deed()

    assert faulty_s3.asked == []


def test_a_refused_connection_is_given_up_at_once(s3_bucket: Bucket):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        storage = S3Storage("bucket/folder", endpoint_url=f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(StorageError, match="Could not connect"):
            storage.load(PATH)


def test_a_body_that_does_not_end_is_given_up(shaky: S3Storage, behind: S3Storage, faulty_s3: FaultyProxy):
    behind.write(PATH, os.urandom(3_000_000))
    faulty_s3.fail("cut", times=None, method="GET")

    with pytest.raises(StorageError, match="failed"):
        shaky.load(PATH)


def test_a_missing_bucket_is_named_with_the_way_out(s3_bucket: Bucket):
    storage = S3Storage("no-such-bucket", endpoint_url=s3_bucket.endpoint, timeout=60)

    for deed in (lambda: storage.load(PATH), lambda: storage.write(PATH, b"x"), lambda: list(storage.entries())):
        with pytest.raises(StorageError, match=r"'no-such-bucket' does not exist .* aws s3 mb s3://no-such-bucket"):
            deed()


def test_missing_credentials_are_named_with_the_way_out(s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    storage = S3Storage(s3_bucket.name, endpoint_url=s3_bucket.endpoint)

    with pytest.raises(Refused, match=r"needs credentials.*aws configure"):
        storage.load(PATH)


def test_a_profile_that_is_not_there_is_named(s3_bucket: Bucket):
    storage = S3Storage(s3_bucket.name, endpoint_url=s3_bucket.endpoint, profile="nobody")

    with pytest.raises(Refused, match="nobody"):
        storage.load(PATH)


def test_without_credentials_a_public_bucket_is_asked(s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch):
    public = {"ACL": "public-read"}
    S3Storage(s3_bucket.name, endpoint_url=s3_bucket.endpoint, store_options=public, timeout=60).write(PATH, b"1")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    assert S3Storage(s3_bucket.name, endpoint_url=s3_bucket.endpoint, anonymous=True).load(PATH).data == b"1"


def test_a_refusal_names_the_permissions_that_are_needed(s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch):
    storage = S3Storage(s3_bucket.name, endpoint_url=s3_bucket.endpoint, timeout=60)
    error = storage._client().exceptions.ClientError(
        {"Error": {"Code": "AccessDenied", "Message": "Access Denied"}, "ResponseMetadata": {"HTTPStatusCode": 403}},
        "GetObject",
    )

    with pytest.raises(Refused, match=r"GetObject: AccessDenied.*s3:ListBucket on arn:aws:s3:::"):
        storage._explain(error)
