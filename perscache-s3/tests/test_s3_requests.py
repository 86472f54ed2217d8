"""How many requests a call costs, counted by a proxy before the server."""

from __future__ import annotations

import asyncio

import pytest

from perscache import Cache
from perscache.errors import StorageError
from perscache.testing import FaultyProxy
from perscache_s3 import S3Storage
from perscache_s3.testing import Bucket

PATH = "f/0123456789abcdef0123456789abcdef.json"


def methods(proxy: FaultyProxy) -> list[str]:
    return [asked.method for asked in proxy.asked]


def test_a_hit_is_one_request(behind: S3Storage, faulty_s3: FaultyProxy):
    behind.write(PATH, b"x" * 1000)
    faulty_s3.forget()

    behind.load(PATH, max_age=60)
    asyncio.run(behind.aload(PATH, max_age=60))

    assert methods(faulty_s3) == ["GET", "GET"]


def test_a_look_up_that_misses_is_one_request_and_asks_for_the_bucket_once(s3_bucket: Bucket, faulty_s3: FaultyProxy):
    storage = S3Storage(s3_bucket.name, endpoint_url=faulty_s3.endpoint, timeout=60)

    for _ in range(3):
        with pytest.raises(FileNotFoundError):
            storage.load(PATH)

    assert methods(faulty_s3) == ["GET"] * 4
    assert ["list-type=2" in asked.target for asked in faulty_s3.asked] == [False, True, False, False]


@pytest.mark.parametrize("size", [0, 1000, 20_000_000])
def test_a_store_is_one_request(behind: S3Storage, faulty_s3: FaultyProxy, size: int):
    behind.write(PATH, b"x" * size)

    assert methods(faulty_s3) == ["PUT"]
    assert behind.load(PATH).data == b"x" * size


def test_what_is_larger_than_the_limit_is_not_sent(s3_bucket: Bucket, faulty_s3: FaultyProxy):
    storage = S3Storage(s3_bucket.name, endpoint_url=faulty_s3.endpoint, max_size=10)

    with pytest.raises(StorageError, match="11 bytes, more than max_size"):
        storage.write(PATH, b"x" * 11)

    assert faulty_s3.asked == []


def test_a_miss_of_a_function_is_six_requests_with_its_lease_and_two_without(s3_bucket: Bucket, faulty_s3: FaultyProxy):
    storage = S3Storage(s3_bucket.name, endpoint_url=faulty_s3.endpoint, timeout=60)
    cache = Cache("json", storage)

    @cache
    def f(x):
        return x

    @cache(lock=False)
    def alone(x):
        return x

    f(0)  # asks whether the bucket is there and keeps conditions
    wait_for_threads("perscache-lease")
    faulty_s3.forget()
    alone(1)
    assert methods(faulty_s3) == ["GET", "PUT"]

    faulty_s3.forget()
    f(1)
    wait_for_threads("perscache-lease")
    assert methods(faulty_s3)[:4] == ["GET", "PUT", "GET", "PUT"]
    assert methods(faulty_s3)[4:] == ["HEAD", "DELETE"]

    faulty_s3.forget()
    f(1)
    assert methods(faulty_s3) == ["GET"]


def wait_for_threads(name: str) -> None:
    import threading

    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(60)
