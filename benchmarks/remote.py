"""The chapter of remote storages: requests, and times beside the libraries that they ask with, on servers here."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from bench import REMOTE, Bench, Extent, Job
from findings import MISSING, Findings, Target, markdown
from process import FAILS

ENVIRONMENTS = (REMOTE,)
STORES = ("gs", "s3", "redis", "az")
FAST = ("gs", "redis")
"""Their servers here answer at once; moto and azurite take longer than a distance of 20 ms."""

COUNTED = {"requests_of_hit": "hit", "requests_of_miss": "look-up of a miss", "requests_of_store": "store"}
TIMED = tuple(f"{task} {size}" for size in (1_000, 1_000_000) for task in ("hit", "hit_alone", "store", "store_alone"))
SERVERS = """\
The servers run on this machine: fake-gcs-server, moto, redis-server and, where there is npm, azurite. In brackets: the
library alone, which is gcsfs, boto3, redis-py, azure-storage-blob."""


def stores() -> tuple[str, ...]:
    """Those whose server can run here: Azure's needs npm."""
    return tuple(store for store in STORES if store != "az" or shutil.which("npm"))


def prepare(extent: Extent) -> list[Job]:
    """Servers, and what is counted."""
    return [Job("courier.py", store, ("version", *COUNTED)) for store in stores()]


def measure(bench: Bench) -> None:
    """Single requests, then many keys on a server far away."""
    bench.ask("courier.py", *TIMED, of=stores())
    bench.ask("courier.py", "far_one_by_one", "far_map", of=FAST)


def tables(found: Findings, extent: Extent) -> Iterator[str]:
    """One column a store."""
    asked = [store for store in STORES if found.cell("version", store) not in (FAILS, MISSING)]
    rows = [["", *(f"{store}: {found.cell('version', store)}" for store in asked)]]
    rows += [
        [f"requests of a {title}", *(found.cell(task, store) for store in asked)] for task, title in COUNTED.items()
    ]
    for title, size in (("1 KB", 1_000), ("1 MB", 1_000_000)):
        for deed in ("hit", "store"):
            cells = [f"{found.cell(f'{deed} {size}', at)} ({found.cell(f'{deed}_alone {size}', at)})" for at in asked]
            rows.append([f"{deed} of {title}, ms", *cells])
    for title, task in (("one by one", "far_one_by_one"), ("by `map`", "far_map")):
        rows.append([f"1,000 keys 20 ms away, {title}, s", *(found.cell(task, store) for store in asked)])
    yield markdown(rows)
    yield SERVERS


def targets(found: Findings, extent: Extent) -> Iterator[Target]:
    """Requests, and many keys far away."""
    for task, title in COUNTED.items():
        counted = {store: found.once(task, store) for store in STORES}
        told = ", ".join(f"{store} {found.cell(task, store)}" for store in STORES)
        known = [count for count in counted.values() if count is not None]
        met = all(count == 1 for count in known) if known else None
        yield Target(f"requests of a remote {title}", "1", told, met)
    for store in FAST:
        faster = found.ratio("far_one_by_one", "far_map", store, store)
        title = f"1,000 remote keys by `map`, 20 ms a request, {store}"
        yield found.at_least(title, 20, faster, "× faster", "than one by one")
