"""How many requests a call costs, counted by a proxy before the server."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from perscache import Cache
from perscache.errors import StorageError
from perscache.testing import FaultyProxy
from perscache_azure import AzureStorage
from perscache_azure.testing import Container

PATH = "f/0123456789abcdef0123456789abcdef.json"


def methods(proxy: FaultyProxy) -> list[str]:
    return [asked.method for asked in proxy.asked]


def test_a_hit_is_one_request(behind: AzureStorage, faulty_azure: FaultyProxy):
    behind.write(PATH, b"x" * 1000)
    faulty_azure.forget()

    behind.load(PATH, max_age=60)
    asyncio.run(behind.aload(PATH, max_age=60))

    assert methods(faulty_azure) == ["GET", "GET"]


def test_more_than_the_client_library_asks_for_at_once_is_one_request(behind: AzureStorage, faulty_azure: FaultyProxy):
    data = os.urandom(33 * 2**20)
    behind.write(PATH, data)

    assert behind.load(PATH).data == data

    assert methods(faulty_azure) == ["PUT", "GET"]


def test_a_hit_without_a_byte_is_two_requests(behind: AzureStorage, faulty_azure: FaultyProxy):
    behind.write(PATH, b"")
    faulty_azure.forget()

    # Of nothing there is no first byte, which is what the client library asks for.
    assert behind.load(PATH).data == b""

    assert methods(faulty_azure) == ["GET", "GET"]


def test_a_look_up_that_misses_is_one_request_and_asks_for_the_container_once(
    azure_container: Container, faulty_azure: FaultyProxy, proxied: str
):
    storage = AzureStorage(azure_container.name, connection_string=proxied, timeout=60)

    for _ in range(3):
        with pytest.raises(FileNotFoundError):
            storage.load(PATH)

    assert methods(faulty_azure) == ["GET"] * 4
    assert ["comp=list" in asked.target for asked in faulty_azure.asked] == [False, True, False, False]


@pytest.mark.parametrize("size", [0, 1000])
def test_a_store_is_one_request(behind: AzureStorage, faulty_azure: FaultyProxy, size: int):
    behind.write(PATH, b"x" * size)

    assert methods(faulty_azure) == ["PUT"]
    assert behind.load(PATH).data == b"x" * size


def test_what_is_too_large_for_one_upload_goes_in_parts(
    azure_container: Container, faulty_azure: FaultyProxy, proxied: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("perscache_azure.storage.PARTS_FROM", 1_000_000)
    monkeypatch.setattr("perscache_azure.storage.PART", 400_000)
    storage = AzureStorage(azure_container.name, connection_string=proxied, timeout=60)
    data = os.urandom(1_500_000)

    storage.write(PATH, data)

    assert methods(faulty_azure) == ["PUT"] * 5
    assert storage.load(PATH).data == data
    (listed,) = storage.entries()
    assert listed.size == 1_500_000


def test_looking_removing_and_listing_are_one_request_each(behind: AzureStorage, faulty_azure: FaultyProxy):
    behind.write(PATH, b"1")
    faulty_azure.forget()

    behind.peek(PATH)
    assert len(list(behind.entries())) == 1
    behind.delete(PATH)
    behind.delete(PATH)

    assert methods(faulty_azure) == ["HEAD", "GET", "DELETE", "DELETE"]


def test_what_is_larger_than_the_limit_is_not_sent(azure_container: Container, faulty_azure: FaultyProxy, proxied: str):
    storage = AzureStorage(azure_container.name, connection_string=proxied, max_size=10)

    with pytest.raises(StorageError, match="11 bytes, more than max_size"):
        storage.write(PATH, b"x" * 11)

    assert faulty_azure.asked == []


def test_a_miss_of_a_function_is_five_requests_with_its_lease_and_two_without(
    azure_container: Container, faulty_azure: FaultyProxy, proxied: str
):
    cache = Cache("json", AzureStorage(azure_container.name, connection_string=proxied, timeout=60))

    @cache
    def f(x):
        return x

    @cache(lock=False)
    def alone(x):
        return x

    f(0)  # asks whether the container is there and keeps conditions
    wait_for_threads("perscache-lease")
    faulty_azure.forget()
    alone(1)
    assert methods(faulty_azure) == ["GET", "PUT"]

    faulty_azure.forget()
    f(1)
    wait_for_threads("perscache-lease")
    assert methods(faulty_azure) == ["GET", "PUT", "GET", "PUT", "DELETE"]

    faulty_azure.forget()
    f(1)
    assert methods(faulty_azure) == ["GET"]


def wait_for_threads(name: str) -> None:
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(60)


def test_as_many_threads_as_look_up_at_once_share_a_storage(storage: AzureStorage, caplog: pytest.LogCaptureFixture):
    paths = [f"f/{number:032x}.json" for number in range(64)]

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(lambda path: storage.write(path, path.encode()), paths))
    loaded = list(storage.load_many(paths))

    assert [stored if isinstance(stored, Exception) else stored.data.decode() for stored in loaded] == paths
    # urllib3 would tell of connections that have no room.
    assert caplog.text == ""
