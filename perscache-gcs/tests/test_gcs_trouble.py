"""A server in trouble costs a call its deadline at most, once, and says what is wrong and what to do."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time

import pytest

from perscache.errors import ConfigurationError, StorageError
from perscache_gcs import GoogleCloudStorage
from perscache_gcs.testing import StrictServer

TIMEOUT = 0.4
FOR_EVER = ["503", "429", "stall", "reset", "truncate", "lost reply"]


def on(server: StrictServer, location: str = "bucket/folder", **options: object) -> GoogleCloudStorage:
    return GoogleCloudStorage(location, endpoint_url=server.endpoint, **{"timeout": TIMEOUT, **options})  # type: ignore[arg-type]


@pytest.fixture
def shaky(strict_gcs: StrictServer) -> GoogleCloudStorage:
    """A storage with a short deadline, connected, with one entry."""
    storage = on(strict_gcs)
    storage.write("f/a.json", b"a value")
    strict_gcs.forget()
    return storage


@pytest.mark.parametrize("fault", FOR_EVER)
def test_a_server_in_trouble_is_given_up_at_the_deadline(
    shaky: GoogleCloudStorage, strict_gcs: StrictServer, fault: str
):
    strict_gcs.always = fault
    started = time.monotonic()

    with pytest.raises(StorageError, match=rf"gs://bucket/folder did not answer within {TIMEOUT} s"):
        shaky.load("f/a.json")

    # gcsfs alone would try for 33 s; the factor is for slow machines.
    assert time.monotonic() - started < 10 * TIMEOUT


@pytest.mark.parametrize("fault", FOR_EVER)
def test_coroutines_give_up_at_the_deadline_too(shaky: GoogleCloudStorage, strict_gcs: StrictServer, fault: str):
    strict_gcs.always = fault

    with pytest.raises(StorageError, match="did not answer"):
        asyncio.run(shaky.aload("f/a.json"))


@pytest.mark.parametrize("deed", ["write", "peek", "delete", "clear", "prune"])
def test_every_deed_has_a_deadline(shaky: GoogleCloudStorage, strict_gcs: StrictServer, deed: str):
    strict_gcs.always = "stall"
    arguments = {"write": ("f/b.json", b"x"), "peek": ("f/a.json",), "delete": ("f/a.json",)}.get(deed, ())

    with pytest.raises(StorageError, match="did not answer"):
        getattr(shaky, deed)(*arguments)


def test_a_refused_connection_is_given_up_at_the_deadline():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        storage = GoogleCloudStorage(
            "bucket/folder", endpoint_url=f"http://127.0.0.1:{closed.getsockname()[1]}", timeout=TIMEOUT
        )
        with pytest.raises(StorageError, match=r"did not answer within .* Cannot connect to host"):
            storage.load("f/a.json")


def test_the_message_says_what_the_server_said_last(shaky: GoogleCloudStorage, strict_gcs: StrictServer):
    strict_gcs.always = "503"

    with pytest.raises(StorageError, match="last: HTTP 503"):
        shaky.load("f/a.json")


@pytest.mark.parametrize("fault", ["503", "reset", "lost reply", "truncate"])
def test_trouble_that_passes_is_not_noticed(strict_gcs: StrictServer, fault: str):
    storage = on(strict_gcs, timeout=20)
    storage.write("f/a.json", b"first")

    strict_gcs.faults.append(fault)
    storage.write("f/a.json", b"a value")
    strict_gcs.faults.append(fault)
    assert storage.load("f/a.json").data == b"a value"


def test_a_slow_body_is_not_cut_off_at_the_deadline(shaky: GoogleCloudStorage, strict_gcs: StrictServer):
    body = os.urandom(5_000_000)
    shaky.write("f/a.json", body)
    strict_gcs.faults.append("slow")
    strict_gcs.slowness = 2 * TIMEOUT
    strict_gcs.forget()

    assert shaky.load("f/a.json").data == body
    assert strict_gcs.requests == ["GET media folder/f/a.json"]


def test_a_body_that_stalls_is_given_up(shaky: GoogleCloudStorage, strict_gcs: StrictServer):
    shaky.write("f/a.json", os.urandom(50_000))
    strict_gcs.always = "slow"
    strict_gcs.slowness = 50 * TIMEOUT

    with pytest.raises(StorageError, match="did not answer"):
        shaky.load("f/a.json")


def test_a_server_in_trouble_is_left_alone_for_a_while(shaky: GoogleCloudStorage, strict_gcs: StrictServer):
    strict_gcs.always = "stall"
    with pytest.raises(StorageError):
        shaky.load("f/a.json")
    strict_gcs.forget()

    for deed in (lambda: shaky.load("f/a.json"), lambda: shaky.write("f/a.json", b"x"), lambda: list(shaky.entries())):
        with pytest.raises(StorageError, match=r"did not answer within .* \(left alone for another \d+ s\)"):
            deed()
    with pytest.raises(StorageError, match="left alone"):
        asyncio.run(shaky.aload("f/a.json"))

    assert strict_gcs.requests == []


def test_after_a_while_one_call_tries_again(strict_gcs: StrictServer):
    storage = on(strict_gcs, cooldown=0.2)
    storage.write("f/a.json", b"a value")
    strict_gcs.always = "stall"
    with pytest.raises(StorageError):
        storage.load("f/a.json")
    strict_gcs.always = "ok"
    time.sleep(0.25)

    assert storage.load("f/a.json").data == b"a value"
    storage.write("f/a.json", b"another")
    assert storage.load("f/a.json").data == b"another"


def test_a_trial_that_fails_starts_the_wait_anew(strict_gcs: StrictServer):
    storage = on(strict_gcs, cooldown=0.5)
    strict_gcs.always = "stall"
    for _ in range(2):
        with pytest.raises(StorageError, match="did not answer") as raised:
            storage.load("f/a.json")
        assert "left alone" not in str(raised.value)
        with pytest.raises(StorageError, match="left alone"):
            storage.load("f/a.json")
        time.sleep(0.6)


def test_a_bucket_that_does_not_exist_is_no_miss(strict_gcs: StrictServer):
    storage = on(strict_gcs, "nobucket/folder")

    with pytest.raises(StorageError, match=r"'nobucket' does not exist .*gcloud storage buckets create gs://nobucket"):
        storage.load("f/a.json")
    with pytest.raises(StorageError, match=r"'nobucket' does not exist .*left alone"):
        storage.write("f/a.json", b"x")


@pytest.mark.parametrize("deed", ["write", "peek", "delete", "clear"])
def test_every_deed_notices_that_the_bucket_does_not_exist(strict_gcs: StrictServer, deed: str):
    storage = on(strict_gcs, "nobucket/folder")
    arguments = {"write": ("f/b.json", b"x"), "peek": ("f/a.json",), "delete": ("f/a.json",)}.get(deed, ())

    with pytest.raises(StorageError, match="'nobucket' does not exist"):
        getattr(storage, deed)(*arguments)


def test_a_bucket_that_is_made_later_is_found(strict_gcs: StrictServer):
    storage = on(strict_gcs, "later/folder", cooldown=0.1)
    with pytest.raises(StorageError):
        storage.load("f/a.json")

    strict_gcs.buckets["later"] = {}
    time.sleep(0.15)

    with pytest.raises(FileNotFoundError):
        storage.load("f/a.json")


def test_who_may_not_list_is_not_told_that_the_bucket_is_missing(strict_gcs: StrictServer):
    storage = on(strict_gcs)
    strict_gcs.faults.extend(["404", "403"])

    with pytest.raises(FileNotFoundError):
        storage.load("f/a.json")


def test_a_missing_permission_names_the_role(shaky: GoogleCloudStorage, strict_gcs: StrictServer):
    strict_gcs.denied = {"POST"}

    with pytest.raises(StorageError, match=r"gs://bucket/folder refuses .*Storage Object User"):
        shaky.write("f/a.json", b"x")


def test_who_may_only_read_still_reads(shaky: GoogleCloudStorage, strict_gcs: StrictServer):
    strict_gcs.denied = {"POST"}
    with pytest.raises(StorageError):
        shaky.write("f/a.json", b"x")
    strict_gcs.forget()

    with pytest.raises(StorageError, match="left alone"):
        shaky.write("f/a.json", b"x")
    assert shaky.load("f/a.json").data == b"a value"

    assert strict_gcs.requests == ["GET media folder/f/a.json"]


def test_missing_credentials_name_the_ways_to_give_them(shaky: GoogleCloudStorage, strict_gcs: StrictServer):
    strict_gcs.unauthenticated = True

    with pytest.raises(StorageError, match="gcloud auth application-default login"):
        shaky.load("f/a.json")


def test_a_token_that_cannot_be_used_is_not_shown(strict_gcs: StrictServer):
    storage = on(strict_gcs, token='{"secret": "in a json"', timeout=20)

    with pytest.raises(StorageError, match="the token= that was given cannot be used") as raised:
        storage.load("f/a.json")

    assert "secret" not in str(raised.value)
    assert raised.value.__suppress_context__


def test_requester_pays_names_the_option(strict_gcs: StrictServer):
    strict_gcs.requester_pays = True

    with pytest.raises(StorageError, match=r"'bucket' is requester pays.*requester_pays='my-project'"):
        on(strict_gcs).load("f/a.json")


@pytest.mark.parametrize("options", [{"requester_pays": "mine"}, {"requester_pays": True, "project": "mine"}])
def test_the_requester_s_project_is_sent(strict_gcs: StrictServer, options: dict[str, object]):
    strict_gcs.requester_pays = True
    storage = on(strict_gcs, **options)

    storage.write("f/a.json", b"x")

    assert storage.load("f/a.json").data == b"x"
    assert [query["userProject"] for query in strict_gcs.queries] == ["mine", "mine"]


def test_something_else_that_answers_is_recognized(strict_gcs: StrictServer, monkeypatch: pytest.MonkeyPatch):
    storage = on(strict_gcs)
    strict_gcs.always = "200"

    with pytest.raises(StorageError, match="what answered is not Google Cloud Storage"):
        storage.load("f/a.json")


def test_an_upload_that_arrives_changed_is_refused(
    shaky: GoogleCloudStorage, strict_gcs: StrictServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("perscache_gcs.storage._crc32c", lambda _: "AAAAAA==")

    with pytest.raises(StorageError, match="checksum"):
        shaky.write("f/a.json", b"x")


def test_gcsfs_prints_no_tracebacks_of_its_own(
    shaky: GoogleCloudStorage, strict_gcs: StrictServer, caplog: pytest.LogCaptureFixture
):
    strict_gcs.unauthenticated = True
    with pytest.raises(StorageError):
        shaky.load("f/a.json")

    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


LOCATIONS = {
    "bucket/a#b": "'#'",
    "bucket/a//b": "'//'",
    "bucket//a": "'//'",
    "bucket/../b": r"'\.\.'",
    "bucket/a\\b": "a backslash",
    "bucket/a\tb": "a tab",
    "bucket/a/": "a '/' at its end",
    "bucket/a?b": r"'\?'",
}


@pytest.mark.parametrize(("location", "trap"), LOCATIONS.items())
def test_a_folder_that_some_store_cannot_take_is_refused(location: str, trap: str):
    with pytest.raises(ConfigurationError, match=f"in bucket 'bucket' holds {trap}.* use letters"):
        GoogleCloudStorage(location)


@pytest.mark.parametrize("location", ["", "/", "Upper/a", "a b", "x/y", "-b/c"])
def test_what_is_no_bucket_is_refused(location: str):
    with pytest.raises(ConfigurationError, match="bucket"):
        GoogleCloudStorage(location)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"access": "all"}, "read_only"),
        ({"timeout": 0}, "no time to answer"),
        ({"timeout": "soon"}, "no duration"),
        ({"sweep_every": 0}, "1 or more"),
        ({"max_size": "big"}, "no size"),
    ],
)
def test_an_option_without_meaning_is_refused(options: dict[str, object], message: str):
    with pytest.raises(ConfigurationError, match=message):
        GoogleCloudStorage("bucket/folder", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["../a.json", "f/../a", "a/b/c.json", "/a.json", "f/ü.json", "", "f/a b", "f/."])
def test_a_path_outside_the_contract_is_refused(path: str):
    storage = GoogleCloudStorage("bucket/folder")

    for deed in (storage.load, storage.peek, storage.delete, lambda path: storage.write(path, b"")):
        with pytest.raises(StorageError, match="is no path of an entry"):
            deed(path)
