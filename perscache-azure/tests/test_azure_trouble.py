"""A server in trouble costs a call its deadline at most, once, and says what is wrong and what to do."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeAlias

import pytest

from perscache import Cache
from perscache.errors import StorageError
from perscache.storage.remote import Refused
from perscache.testing import Fault, FaultyProxy
from perscache_azure import AzureStorage
from perscache_azure.testing import Container, connection_string

PATH = "f/0123456789abcdef0123456789abcdef.json"
TIMEOUT = 0.5


@pytest.fixture
def shaky(azure_container: Container, faulty_azure: FaultyProxy, behind: AzureStorage, proxied: str) -> AzureStorage:
    """A storage with a short deadline, connected, with one entry."""
    behind.write(PATH, b"a value")
    storage = AzureStorage(f"{azure_container.name}/folder", connection_string=proxied, timeout=TIMEOUT)
    storage._client()
    faulty_azure.forget()
    return storage


@pytest.mark.parametrize("fault", ["503", "429", "reset", "stall", "cut", "lost"])
def test_the_result_is_returned_whatever_the_server_does(
    shaky: AzureStorage, azure_container: Container, faulty_azure: FaultyProxy, fault: Fault
):
    @Cache("json", shaky)
    def f(x):
        return [x]

    faulty_azure.fail(fault, times=None)
    started = time.monotonic()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert f(1) == [1]
        assert asyncio.run(asyncio.to_thread(f, 2)) == [2]

    # The client library alone would try a stall for minutes; the factor is for slow machines.
    assert time.monotonic() - started < 30 * TIMEOUT
    stages = [str(warning.message).split(" failed")[0] for warning in caught]
    assert len(stages) == len(set(stages)) <= 2  # reading and writing, once each
    assert all(azure_container.name in str(warning.message) for warning in caught)


@pytest.mark.parametrize("fault", ["503", "429", "reset", "cut", "lost"])
def test_trouble_that_passes_is_not_noticed(behind: AzureStorage, faulty_azure: FaultyProxy, fault: Fault):
    faulty_azure.fail(fault, method="PUT")
    behind.write(PATH, b"a value")
    faulty_azure.fail(fault, method="GET")

    assert behind.load(PATH).data == b"a value"


def test_a_lease_whose_reply_was_lost_is_held(behind: AzureStorage, faulty_azure: FaultyProxy):
    faulty_azure.fail("lost", method="PUT")
    lock = behind.lock(PATH)
    assert lock is not None

    assert lock.acquire(()) is True
    lock.release()


@pytest.mark.parametrize("deed", ["write", "peek", "delete", "prune"])
def test_every_deed_has_a_deadline(shaky: AzureStorage, faulty_azure: FaultyProxy, deed: str):
    faulty_azure.fail("stall", times=None)
    arguments = {"write": (PATH, b"x"), "peek": (PATH,), "delete": (PATH,)}.get(deed, ())

    with pytest.raises(StorageError, match=r"Read timed out"):
        getattr(shaky, deed)(*arguments)

    # The time is over: neither we nor the client library ask again.
    assert len(faulty_azure.asked) == 1


def test_a_server_in_trouble_is_left_alone_for_a_while(shaky: AzureStorage, faulty_azure: FaultyProxy):
    faulty_azure.fail("stall", times=None)
    with pytest.raises(StorageError):
        shaky.load(PATH)
    faulty_azure.forget()

    for deed in (lambda: shaky.load(PATH), lambda: shaky.write(PATH, b"x"), lambda: list(shaky.entries())):
        with pytest.raises(StorageError, match=r"left alone for another \d+ s"):
            deed()

    assert faulty_azure.asked == []


def test_a_refused_connection_is_given_up_at_once():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        place = connection_string(f"http://127.0.0.1:{closed.getsockname()[1]}")
        storage = AzureStorage("container/folder", connection_string=place)
        started = time.monotonic()
        with pytest.raises(StorageError, match=r"az://container/folder failed.*refused"):
            storage.load(PATH)

    # adlfs takes 83 s; the first call also imports the client library.
    assert time.monotonic() - started < 30


def test_a_body_that_does_not_end_is_given_up(shaky: AzureStorage, behind: AzureStorage, faulty_azure: FaultyProxy):
    behind.write(PATH, os.urandom(3_000_000))
    faulty_azure.forget()
    faulty_azure.fail("cut", times=None, method="GET")

    with pytest.raises(StorageError, match="a body did not come whole"):
        shaky.load(PATH)
    # Three tries of ours, and none of the client library's within each.
    assert len(faulty_azure.asked) <= 3


def test_a_missing_container_is_named_with_the_way_out(azure_container: Container):
    storage = AzureStorage("no-such", connection_string=azure_container.connection_string, timeout=60)

    for deed in (
        lambda: storage.load(PATH),
        lambda: storage.write(PATH, b"x"),
        lambda: storage.peek(PATH),
        lambda: storage.delete(PATH),
        lambda: list(storage.entries()),
    ):
        with pytest.raises(
            StorageError,
            match=r"'no-such' does not exist .* az storage container create --name no-such --account-name devstore",
        ):
            deed()


# --- Answers of Azure that azurite does not give.


Answer: TypeAlias = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def answering() -> Iterator[Callable[[Answer], AzureStorage]]:
    """Storages on servers that answer everything as they are told to."""
    servers: list[ThreadingHTTPServer] = []

    def start(answer: Answer) -> AzureStorage:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                answer(self)

            do_PUT = do_GET

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        place = connection_string(f"http://127.0.0.1:{server.server_address[1]}")
        return AzureStorage("container/folder", connection_string=place, timeout=TIMEOUT)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def refusal(status: int, code: str, message: str) -> Answer:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("x-ms-error-code", code)
        handler.send_header("Content-Type", "application/xml")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@pytest.mark.parametrize(
    ("status", "code", "kind", "says"),
    [
        (403, "AuthenticationFailed", Refused, r"takes no credentials.*AuthenticationFailed: It is so\..*az login"),
        (403, "AuthorizationPermissionMismatch", Refused, r"refuses these.*Storage Blob Data Contributor.*'container'"),
        (403, "KeyBasedAuthenticationNotPermitted", Refused, "takes no keys.*azure-identity"),
        (403, "AccountIsDisabled", Refused, "refuses these credentials.*AccountIsDisabled"),
        (401, "InvalidAuthenticationInfo", Refused, "takes no credentials"),
        (400, "InvalidQueryParameterValue", Refused, "failed: InvalidQueryParameterValue"),
        (409, "ContainerBeingDeleted", StorageError, "'container' does not exist"),
        (503, "ServerBusy", StorageError, "failed: ServerBusy: It is so"),
        (500, "InternalError", StorageError, "failed: InternalError"),
    ],
)
def test_what_azure_refuses_is_told_with_the_way_out(
    answering: Callable[[Answer], AzureStorage], status: int, code: str, kind: type[StorageError], says: str
):
    detail = "RequestId:1\nTime:2\nThe MAC signature found in the HTTP request 'c2lnbmVk' differs"
    storage = answering(refusal(status, code, f"It is so.\n{detail}"))

    with pytest.raises(StorageError, match=says) as refused:
        storage.load(PATH)

    assert type(refused.value) is kind
    assert "c2lnbmVk" not in str(refused.value)
    if code == "AuthenticationFailed":
        assert "c2lnbmVk" not in "".join(traceback.format_exception(refused.value))


def test_a_refusal_is_told_once_and_the_result_is_returned(
    answering: Callable[[Answer], AzureStorage],
):
    @Cache("json", answering(refusal(403, "AuthorizationPermissionMismatch", "No.")))
    def f(x):
        return [x]

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert [f(number) for number in range(3)] == [[0], [1], [2]]

    stages = [str(warning.message).split(" failed")[0] for warning in caught]
    assert len(stages) == len(set(stages)) <= 3  # reading, leasing and writing


def test_a_body_that_comes_drop_by_drop_is_given_up(answering: Callable[[Answer], AzureStorage]):
    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(206)
        headers = {"Content-Range": "bytes 0-9999/10000", "Content-Length": "10000", "ETag": '"1"'}
        for name, text in {**headers, "Last-Modified": "Fri, 01 Nov 2024 00:00:00 GMT"}.items():
            handler.send_header(name, text)
        handler.end_headers()
        with suppress(OSError):
            for _ in range(10_000):
                handler.wfile.write(b"x")
                time.sleep(0.01)

    with pytest.raises(StorageError, match="a body came too slowly"):
        answering(drip).load(PATH)


# --- Signing in.


class Credential:
    """As azure-identity's, of a machine where nobody signed in."""

    def __init__(self, *, answers: bool) -> None:
        self.answers = answers
        self.asked = 0
        self.ended = threading.Event()

    def get_token(self, *scopes: str, **options: object) -> object:
        from azure.core.exceptions import ClientAuthenticationError

        self.asked += 1
        if not self.answers:
            self.ended.wait()
        raise ClientAuthenticationError("az: not signed in")


def wait_for_threads(name: str) -> None:
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(60)


def on_https(credential: Credential) -> AzureStorage:
    return AzureStorage(
        "container/folder", endpoint_url="https://127.0.0.1:9/team", credential=credential, timeout=TIMEOUT, cooldown=0
    )


def test_who_is_not_signed_in_is_told_how():
    with pytest.raises(Refused, match=r"takes no credentials.*az: not signed in.*az login"):
        on_https(Credential(answers=True)).load(PATH)


def test_signing_in_has_a_deadline_and_is_asked_for_once_at_a_time():
    credential = Credential(answers=False)
    storage = on_https(credential)

    for _ in range(2):
        with pytest.raises(StorageError, match=r"no token of Azure within 0.5 s: run `az login`"):
            storage.load(PATH)

    assert credential.asked == 1
    credential.ended.set()
    wait_for_threads("perscache-sign-in")
    with pytest.raises(Refused, match="not signed in"):
        storage.load(PATH)
    assert credential.asked == 1


def test_tokens_are_not_sent_unencrypted(azure_container: Container):
    credential = Credential(answers=True)
    storage = AzureStorage(azure_container.name, endpoint_url=azure_container.endpoint, credential=credential)

    with pytest.raises(Refused, match="HTTPS"):
        storage.load(PATH)

    assert credential.asked == 0
