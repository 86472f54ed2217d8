"""What lies in the bucket, and what is known of it."""

from __future__ import annotations

import os
import pickle
from datetime import UTC, datetime

import pytest

from perscache import Cache
from perscache.entry import Entry
from perscache.errors import CacheExpired, ConfigurationError, DamagedEntry
from perscache.testing import FaultyProxy
from perscache_s3 import S3Storage
from perscache_s3.testing import Bucket

PATH = "f/0123456789abcdef0123456789abcdef.json"
OTHER = "f/fedcba9876543210fedcba9876543210.json"


@pytest.mark.parametrize("data", [b"", os.urandom(1000), b"\n--==0==--\n", os.urandom(20_000_000)], ids=len)
def test_bytes_come_back_as_they_were(storage: S3Storage, data: bytes):
    storage.write(PATH, data)

    assert storage.load(PATH).data == data


def test_the_object_is_what_the_serializer_wrote(storage: S3Storage, s3_bucket: Bucket):
    @Cache("json", storage)
    def f(x):
        return [x]

    f(1)

    answer = storage._client().get_object(Bucket=s3_bucket.name, Key=f"folder/{f.cache.key(1)}")
    assert answer["Body"].read().strip() == b"[1]"
    assert answer["ContentType"] == "application/json"


def test_what_is_known_of_an_entry_is_kept_with_it(storage: S3Storage):
    storage.store(
        Entry(PATH, datetime.now(UTC), 1, compute_time=0.125, format="json", function="app.f", arguments="x='ключ'"),
        b"x",
    )

    (listed,) = storage.entries()

    assert listed == storage.peek(PATH)
    assert (listed.compute_time, listed.format, listed.function, listed.arguments) == (
        0.125,
        "json",
        "app.f",
        "x='ключ'",
    )
    assert abs((listed.created - datetime.now(UTC)).total_seconds()) < 60


def test_clearing_removes_what_is_ours_and_nothing_else(storage: S3Storage, s3_bucket: Bucket):
    foreign = {"Bucket": s3_bucket.name, "Key": f"folder/{OTHER}"}
    storage._client().put_object(**foreign, Body=b"mine")
    storage.write(PATH, b"1")
    storage.write(PATH.replace("f/", "g/"), b"2")

    assert [entry.path for entry in storage.entries("f")] == [PATH]
    assert storage.clear("f") == 1
    assert storage.clear() == 1
    assert storage._client().get_object(**foreign)["Body"].read() == b"mine"


def test_an_entry_that_was_written_again_after_it_was_listed_stays(storage: S3Storage):
    storage.write(PATH, b"old")
    (listed,) = storage._list("folder/f/", None).objects
    storage.write(PATH, b"new")

    assert not storage._remove(listed.name, listed.generation)
    assert storage.load(PATH).data == b"new"


def test_delete_says_whether_there_was_one(storage: S3Storage):
    storage.write(PATH, b"1")

    assert storage.delete(PATH)
    assert not storage.delete(PATH)


def test_pruning_keeps_the_limit_and_removes_the_oldest(s3_bucket: Bucket):
    storage = S3Storage(s3_bucket.name, max_size=10, sweep_every=10**9, endpoint_url=s3_bucket.endpoint, timeout=60)
    paths = [f"f/{number:032x}.json" for number in range(4)]
    for path in paths:
        storage.write(path, b"1234")

    assert storage.prune() == 2

    assert sorted(entry.path for entry in storage.entries()) == paths[2:]
    assert storage.prune(max_age=3600) == 0
    assert storage.prune(max_age=-3600) == 2


def test_age_is_judged_at_reading(storage: S3Storage):
    storage.write(PATH, b"1")

    assert storage.load(PATH, max_age=3600).data == b"1"
    with pytest.raises(CacheExpired):
        storage.load(PATH, max_age=-1)


def test_changed_bytes_are_damage(storage: S3Storage, s3_bucket: Bucket):
    storage.write(PATH, b"12345")
    client = storage._client()
    metadata = client.head_object(Bucket=s3_bucket.name, Key=f"folder/{PATH}")["Metadata"]
    client.put_object(Bucket=s3_bucket.name, Key=f"folder/{PATH}", Body=b"12346", Metadata=metadata)

    with pytest.raises(DamagedEntry):
        storage.load(PATH)


def test_instances_pickle_with_their_options_only(storage: S3Storage):
    storage.write(PATH, b"1")
    twin = pickle.loads(pickle.dumps(storage))

    assert twin.identity == storage.identity
    assert twin.load(PATH).data == b"1"


def test_a_url_says_what_the_class_says():
    storage = S3Storage.from_url(
        "s3://bucket/some/folder?max_size=20GB&region=eu-central-1&profile=team&requester_pays=yes&lease=1m"
        "&endpoint_url=https://minio.example.org&path_style=false"
    )

    assert (storage.bucket, storage.prefix, storage.max_size) == ("bucket", "some/folder", 20_000_000_000)
    assert (storage.region, storage.profile, storage.requester_pays) == ("eu-central-1", "team", True)
    assert (storage.endpoint_url, storage.path_style, storage.lease) == ("https://minio.example.org", False, 60)
    assert storage.identity == "s3://bucket/some/folder@https://minio.example.org"
    assert Cache(storage="s3://bucket/folder").storage.identity == "s3://bucket/folder"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("s3://bucket/folder?maxsize=1GB", "max_size"),
        ("s3://bucket/folder?lru=yes", "has no option 'lru'"),
        ("s3://bucket/folder?anonymous=perhaps", "neither true nor false"),
        ("s3://bucket/folder?anonymous=yes&profile=team", "exclude each other"),
        ("s3://", "names no bucket"),
        ("s3://bucket/a//b", "'//'"),
    ],
)
def test_a_wrong_option_is_refused_with_the_way_out(url: str, says: str):
    with pytest.raises(ConfigurationError, match=says):
        S3Storage.from_url(url)


def test_a_secret_in_a_url_is_refused_and_not_repeated():
    with pytest.raises(ConfigurationError, match="before the '@' in the bucket 'bucket'") as told:
        Cache("json", "s3://AKIA:s3cr3t@bucket/folder")
    assert "s3cr3t" not in str(told.value) + str(told.value.__cause__) + str(told.value.__context__)


def test_buckets_of_others_are_paid_for_on_demand(s3_bucket: Bucket, faulty_s3: FaultyProxy):
    storage = S3Storage(s3_bucket.name, endpoint_url=faulty_s3.endpoint, requester_pays=True, timeout=60)

    storage.write(PATH, b"1")

    assert storage.load(PATH).data == b"1"
    assert storage._payer == {"RequestPayer": "requester"}


def test_store_options_go_with_each_object(s3_bucket: Bucket):
    options = {"StorageClass": "STANDARD_IA"}
    storage = S3Storage(s3_bucket.name, endpoint_url=s3_bucket.endpoint, store_options=options, timeout=60)

    storage.write(PATH, b"1")

    head = storage._client().head_object(Bucket=s3_bucket.name, Key=PATH)
    assert head["StorageClass"] == "STANDARD_IA"
