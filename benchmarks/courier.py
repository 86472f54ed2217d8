"""One remote store and the library that it is asked with, in a process of their own: obeys the chapter `remote`.

    python courier.py STORE FOLDER

The server is a real one on this machine, as the tests of the distribution start it.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from process import HERE, answer_tasks

from perscache import Cache
from perscache.storage.remote import RemoteStorage

CALLS = 10
"""Calls a task."""

KEYS = 1000
ONE_BY_ONE = 25
"""Keys that are looked up one by one, for all of them."""

DISTANCE = 20
"""Milliseconds that a request to a far server takes longer."""


class Courier(ABC):
    """A store, and what can be measured of it."""

    distributions: tuple[str, ...]
    """Ours, and the library's."""

    def __init__(self) -> None:
        self.open = ExitStack()
        self.endpoint = self.start()
        self.storage = self.storage_at(self.endpoint)
        self.fresh = 0
        self.kept: set[int] = set()

    # --- What a store gives.

    @abstractmethod
    def start(self) -> str:
        """Start the server: its URL."""

    @abstractmethod
    def storage_at(self, endpoint: str) -> RemoteStorage:
        """Our storage, by that way to the server."""

    @abstractmethod
    def counter(self) -> Any:
        """A proxy before the server that writes down what is asked."""

    @abstractmethod
    def get(self, name: str) -> Any:
        """The bytes of an object by the library alone."""

    @abstractmethod
    def put(self, name: str, data: bytes) -> Any:
        """An object stored by the library alone."""

    # --- What is asked.

    def version(self) -> str:
        """Of our distribution and of the library."""
        return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in self.distributions)

    def requests_of_hit(self) -> int:
        """Requests of a hit."""
        return self._requests(lambda storage: storage.load(path(1)))

    def requests_of_miss(self) -> int:
        """Requests of a look-up that misses, the first of a process apart."""
        return self._requests(lambda storage: missed(storage, 0))

    def requests_of_store(self) -> int:
        """Requests of a store."""
        return self._requests(lambda storage: storage.write(path(1), bytes(1000)))

    def hit(self, size: int) -> float:
        """Milliseconds of our storage for a hit."""
        self._stored(size)
        return milliseconds(lambda: self.storage.load(path(size)))

    def hit_alone(self, size: int) -> float:
        """Milliseconds of the library for the same."""
        self._stored(size)
        return milliseconds(lambda: self.get(f"alone-{size}"))

    def store(self, size: int) -> float:
        """Milliseconds of our storage for a store."""
        data = bytes(size)
        return milliseconds(lambda: self.storage.write(path(self._next()), data))

    def store_alone(self, size: int) -> float:
        """Milliseconds of the library for the same."""
        data = bytes(size)
        return milliseconds(lambda: self.put(f"alone/{self._next()}", data))

    def far_one_by_one(self) -> float:
        """Seconds for all keys by calls one after the other on a far server, by a part of them."""
        function = self._far
        function(0)
        begin = time.perf_counter()
        for number in range(ONE_BY_ONE):
            function(number)
        return (time.perf_counter() - begin) * KEYS / ONE_BY_ONE

    def far_map(self) -> float:
        """Seconds for all keys by ``map`` on a far server."""
        return mapped(self._far)

    # ---

    def _next(self) -> int:
        self.fresh += 1
        return 10**9 + self.fresh

    def _stored(self, size: int) -> None:
        if size not in self.kept:
            self.kept.add(size)
            self.storage.write(path(size), bytes(size))
            self.put(f"alone-{size}", bytes(size))

    def _requests(self, deed: Callable[[RemoteStorage], object]) -> int:
        with self.counter() as proxy:
            storage = self.storage_at(proxy.endpoint)
            missed(storage, 0)
            storage.write(path(1), bytes(1000))
            proxy.forget()
            deed(storage)
            return len(proxy.asked)

    @cached_property
    def _far(self) -> Any:
        """A cached function whose results lie on a far server."""
        port = str(urlsplit(self.endpoint).port)
        relay = self.open.enter_context(
            subprocess.Popen(
                [sys.executable, HERE / "distance.py", port, str(DISTANCE)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        assert relay.stdout is not None
        far = self.storage_at(self.endpoint.replace(port, relay.stdout.readline().strip()))
        near, function = (
            Cache("json", storage, on_error="raise")(name="far", track="none")(same) for storage in (self.storage, far)
        )
        with ThreadPoolExecutor(16) as threads:
            list(threads.map(lambda number: near.cache.put(number, number), range(KEYS)))
        return function


class Google(Courier):
    """Google Cloud Storage: fake-gcs-server beside gcsfs."""

    distributions = ("perscache-gcs", "gcsfs")

    def start(self) -> str:
        from perscache_gcs.testing import create_bucket, emulator

        endpoint = self.open.enter_context(emulator())
        self.bucket = create_bucket(endpoint).name
        return endpoint

    def storage_at(self, endpoint: str) -> RemoteStorage:
        from perscache_gcs import GoogleCloudStorage

        return GoogleCloudStorage(f"{self.bucket}/folder", endpoint_url=endpoint, timeout=60)

    def counter(self) -> Any:
        from perscache.testing import FaultyProxy

        return FaultyProxy(self.endpoint)

    @cached_property
    def client(self) -> Any:
        from gcsfs.core import GCSFileSystem

        return GCSFileSystem(endpoint_url=self.endpoint, token="anon", use_listings_cache=False)  # noqa: S106

    def get(self, name: str) -> Any:
        return self.client.cat_file(f"{self.bucket}/{name}")

    def put(self, name: str, data: bytes) -> Any:
        return self.client.pipe_file(f"{self.bucket}/{name}", data)


class Amazon(Courier):
    """Amazon S3: moto beside boto3."""

    distributions = ("perscache-s3", "boto3")

    def start(self) -> str:
        from perscache_s3.testing import create_bucket, server

        os.environ |= {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_REGION": "us-east-1"}
        endpoint = self.open.enter_context(server())
        self.bucket = create_bucket(endpoint).name
        return endpoint

    def storage_at(self, endpoint: str) -> RemoteStorage:
        from perscache_s3 import S3Storage

        return S3Storage(f"{self.bucket}/folder", endpoint_url=endpoint, region="us-east-1", timeout=60)

    def counter(self) -> Any:
        from perscache.testing import FaultyProxy

        return FaultyProxy(self.endpoint)

    @cached_property
    def client(self) -> Any:
        import boto3

        return boto3.client("s3", endpoint_url=self.endpoint, region_name="us-east-1")

    def get(self, name: str) -> Any:
        return self.client.get_object(Bucket=self.bucket, Key=name)["Body"].read()

    def put(self, name: str, data: bytes) -> Any:
        return self.client.put_object(Bucket=self.bucket, Key=name, Body=data)


class Redis(Courier):
    """Redis: its own server beside redis-py."""

    distributions = ("perscache-redis", "redis")

    def start(self) -> str:
        from perscache_redis.testing import server

        return self.open.enter_context(server())

    def storage_at(self, endpoint: str) -> RemoteStorage:
        from perscache_redis import RedisStorage

        return RedisStorage(f"{endpoint}/0/folder", timeout=60)

    def counter(self) -> Any:
        from perscache_redis.testing import FaultyRedis

        return FaultyRedis(self.endpoint)

    @cached_property
    def client(self) -> Any:
        import redis

        return redis.Redis.from_url(self.endpoint)

    def get(self, name: str) -> Any:
        return self.client.get(name)

    def put(self, name: str, data: bytes) -> Any:
        return self.client.set(name, data)


class Azure(Courier):
    """Azure Blob Storage: azurite beside azure-storage-blob."""

    distributions = ("perscache-azure", "azure-storage-blob")

    def start(self) -> str:
        from perscache_azure.testing import azurite, create_container

        endpoint = self.open.enter_context(azurite())
        self.bucket = create_container(endpoint).name
        return endpoint

    def storage_at(self, endpoint: str) -> RemoteStorage:
        from perscache_azure import AzureStorage
        from perscache_azure.testing import connection_string

        string = connection_string(endpoint)
        return AzureStorage(f"{self.bucket}/folder", connection_string=string, timeout=60)

    def counter(self) -> Any:
        from perscache.testing import FaultyProxy

        return FaultyProxy(self.endpoint)

    @cached_property
    def client(self) -> Any:
        from azure.storage.blob import ContainerClient

        from perscache_azure.testing import connection_string

        return ContainerClient.from_connection_string(connection_string(self.endpoint), self.bucket)

    def get(self, name: str) -> Any:
        return self.client.download_blob(name).readall()

    def put(self, name: str, data: bytes) -> Any:
        return self.client.upload_blob(name, data, overwrite=True)


COURIERS: dict[str, Callable[[], Courier]] = {"gs": Google, "s3": Amazon, "redis": Redis, "az": Azure}


def same(number: int) -> int:
    """A number."""
    return number


def path(number: int) -> str:
    """The path of an entry."""
    return f"measured/{number:032x}.pickle"


def missed(storage: RemoteStorage, number: int) -> None:
    """A look-up that misses."""
    try:
        storage.load(path(number))
    except FileNotFoundError:
        return
    raise AssertionError(f"{path(number)} is there")


def milliseconds(deed: Callable[[], object]) -> float:
    """Of one of several calls."""
    deed()
    begin = time.perf_counter()
    for _ in range(CALLS):
        deed()
    return (time.perf_counter() - begin) / CALLS * 1e3


def mapped(function: Any) -> float:
    """Seconds for all keys by ``map``, which are all hits."""
    begin = time.perf_counter()
    assert list(function.cache.map(range(KEYS))) == list(range(KEYS))
    return time.perf_counter() - begin


def main() -> None:
    """Answer one task a line."""
    warnings.simplefilter("ignore")
    courier = COURIERS[sys.argv[1]]()
    with courier.open:
        answer_tasks(courier)


if __name__ == "__main__":
    main()
