"""A cache on a bucket, by name, in good and in bad times."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

import pytest

from perscache import Cache
from perscache.errors import ConfigurationError, PerscacheWarning
from perscache.storage import GoogleCloudStorage as ByName
from perscache_gcs import GoogleCloudStorage
from perscache_gcs.testing import Bucket, StrictServer


def test_the_old_name_leads_to_the_plugin():
    assert ByName is GoogleCloudStorage


@pytest.mark.parametrize("scheme", ["gs", "gcs"])
def test_a_url_makes_the_storage(scheme: str):
    url = f"{scheme}://bucket/a/folder?project=mine&max_size=20GB&timeout=2s&requester_pays=true&access=read_only"

    storage = Cache(storage=url).storage

    assert isinstance(storage, GoogleCloudStorage)
    assert (storage.bucket, storage.prefix, storage.url) == ("bucket", "a/folder", "gs://bucket/a/folder")
    assert (storage.project, storage.max_size, storage.timeout) == ("mine", 20_000_000_000, 2.0)
    assert (storage.requester_pays, storage.access) == (True, "read_only")


def test_options_in_code_are_stronger_than_the_url():
    assert GoogleCloudStorage.from_url("gs://bucket?max_size=1GB&timeout=1", max_size="2GB").max_size == 2_000_000_000


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("gs://bucket/folder?max_sise=1", "did you mean 'max_size'"),
        ("gs://bucket/folder?timeout=soon", "'soon' is no duration"),
        ("gs://bucket/folder?sweep_every=often", "often"),
        ("gs://bucket/folder#1", "'#'"),
        ("gs://Bucket/folder", "no bucket name of Google Cloud Storage"),
        ("gs://", "names no bucket"),
        ("gs://user:password@bucket", "before the '@' in the bucket 'bucket'"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused_at_once(url: str, message: str):
    with pytest.raises(ConfigurationError, match=message):
        Cache(storage=url)


def test_results_survive_their_cache(gcs_bucket: Bucket, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_bucket.endpoint)
    calls: list[int] = []

    def slow(x: int, *, unit: str = "EUR") -> dict[str, object]:
        calls.append(x)
        return {unit: x}

    for _ in range(2):
        cached = Cache("json", f"gs://{gcs_bucket.name}/folder")(slow)
        assert cached(3) == {"EUR": 3}

    assert calls == [3]
    (entry,) = cached.cache.entries()
    assert entry.arguments == "x=3, unit='EUR'"
    assert entry.format == "json"
    assert entry.compute_time is not None


def test_without_a_lock_a_hit_is_one_request_and_a_miss_is_two(strict: GoogleCloudStorage, strict_gcs: StrictServer):
    @Cache("json", strict, on_error="raise", lock=False)
    def double(x: int) -> int:
        return 2 * x

    for x, requests in ((0, ["GET media", "POST multipart"]), (0, ["GET media"])):
        strict_gcs.forget()
        double(x)
        assert [" ".join(request.split()[:2]) for request in strict_gcs.requests] == requests
    strict_gcs.forget()
    assert double.cache_invalidate(0)
    assert [request.split()[0] for request in strict_gcs.requests] == ["DELETE"]


@pytest.mark.parametrize("fault", ["503", "stall", "reset", "truncate", "lost reply", "403", "200"])
def test_the_result_is_returned_in_every_trouble_with_one_warning_a_stage(strict_gcs: StrictServer, fault: str):
    storage = GoogleCloudStorage("bucket/folder", endpoint_url=strict_gcs.endpoint, timeout=0.3)
    strict_gcs.always = fault

    @Cache("json", storage)
    def double(x: int) -> int:
        return 2 * x

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert [double(n) for n in range(5)] == [0, 2, 4, 6, 8]

    ours = [str(warning.message) for warning in caught if warning.category is PerscacheWarning]
    stages = [text.split(":")[1].split()[0] for text in ours]
    assert stages == (["read", "lock", "write"] if fault == "403" else ["read", "write"]), ours
    assert all("gs://bucket/folder" in text for text in ours)


def test_the_result_of_a_coroutine_function_is_returned_in_trouble(strict_gcs: StrictServer):
    storage = GoogleCloudStorage("bucket/folder", endpoint_url=strict_gcs.endpoint, timeout=0.3)
    strict_gcs.always = "stall"

    @Cache("json", storage)
    async def double(x: int) -> int:
        return 2 * x

    with pytest.warns(PerscacheWarning, match="did not answer"):
        assert asyncio.run(double(4)) == 8


def test_a_missing_bucket_is_told_through_a_cache(strict_gcs: StrictServer):
    @Cache("json", GoogleCloudStorage("nobucket", endpoint_url=strict_gcs.endpoint))
    def double(x: int) -> int:
        return 2 * x

    with pytest.warns(PerscacheWarning, match="the bucket 'nobucket' does not exist"):
        assert double(4) == 8


def test_an_accepted_edit_is_known_to_whoever_shares_the_bucket(gcs_bucket: Bucket, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_bucket.endpoint)

    def compiled(body: str) -> Any:
        namespace: dict[str, Any] = {"__name__": "shared"}
        exec(f"def f(x):\n    return {body}", namespace)
        # A storage of its own each time, as in another process.
        return Cache("json", f"gs://{gcs_bucket.name}/folder")(namespace["f"])

    assert compiled("x + 1")(1) == 2
    assert compiled("1 + x").cache.accept() == 1
    somebody = compiled("1 + x")
    assert somebody(1) == 2
    assert somebody.cache_info()[:2] == (1, 0)
    assert compiled("1 + x + 0")(1) == 2
