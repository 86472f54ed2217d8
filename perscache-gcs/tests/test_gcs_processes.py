"""Threads, event loops, forks, pickles and ends of processes."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from perscache.entry import Entry
from perscache.errors import StorageError
from perscache_gcs import GoogleCloudStorage
from perscache_gcs.testing import Bucket, StrictServer


def test_two_event_loops_in_one_process(real: GoogleCloudStorage):
    async def there(body: bytes) -> None:
        await real.astore(Entry("f/a.json", datetime.now(UTC), len(body)), body)

    async def back() -> bytes:
        return bytes((await real.aload("f/a.json")).data)

    for body in (b"first", b"second"):
        asyncio.run(there(body))
        assert asyncio.run(back()) == body
        assert real.load("f/a.json").data == body


def test_sync_calls_work_inside_a_running_loop(real: GoogleCloudStorage):
    async def cell() -> bytes:
        real.write("f/a.json", b"x")
        return bytes(real.load("f/a.json").data)

    assert asyncio.run(cell()) == b"x"


async def asked(server: StrictServer) -> None:
    """Until the server has a request."""
    while not server.requests:  # noqa: ASYNC110 - the server runs in threads
        await asyncio.sleep(0.01)


def test_the_loop_runs_on_while_the_storage_waits(strict: GoogleCloudStorage, strict_gcs: StrictServer):
    strict.write("f/a.json", b"x")
    strict_gcs.forget()
    strict_gcs.faults.append("stall")

    async def cell() -> bytes:
        waiting = asyncio.create_task(strict.aload("f/a.json"))
        await asked(strict_gcs)
        strict_gcs.released.set()
        return bytes((await waiting).data)

    assert asyncio.run(cell()) == b"x"


def test_a_cancelled_awaiter_ends_its_request_and_its_retries(
    strict: GoogleCloudStorage, strict_gcs: StrictServer, caplog: pytest.LogCaptureFixture
):
    strict.write("f/a.json", b"x")
    strict_gcs.forget()
    strict_gcs.always = "503"

    async def give_up() -> None:
        task = asyncio.create_task(strict.aload("f/a.json"))
        await asked(strict_gcs)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # gcsfs would try again after 1 to 2 s.
        await asyncio.sleep(2.1)

    asyncio.run(give_up())

    assert len(strict_gcs.requests) == 1
    strict_gcs.always = "ok"
    assert strict.load("f/a.json").data == b"x"
    assert caplog.text == ""


def test_sixteen_threads_share_a_storage(real: GoogleCloudStorage):
    def there_and_back(n: int) -> bytes:
        real.write(f"f/{n}.json", str(n).encode())
        return bytes(real.load(f"f/{n}.json").data)

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(there_and_back, range(64))) == [str(n).encode() for n in range(64)]


def test_many_coroutines_share_a_storage(real: GoogleCloudStorage):
    real.write("f/a.json", b"x")

    async def all_of_them() -> list[bytes]:
        return [bytes(stored.data) for stored in await asyncio.gather(*[real.aload("f/a.json") for _ in range(200)])]

    assert asyncio.run(all_of_them()) == [b"x"] * 200


def test_a_pickle_holds_settings_and_nothing_live(real: GoogleCloudStorage):
    real.write("f/a.json", b"x")
    real.listeners = (lambda *_: None,)

    copy = pickle.loads(pickle.dumps(real))

    assert copy.load("f/a.json").data == b"x"
    assert (copy.identity, copy.timeout, copy.listeners) == (real.identity, real.timeout, ())
    assert len(pickle.dumps(real)) < 1000


def test_a_pickle_of_a_storage_in_trouble_starts_afresh(strict_gcs: StrictServer):
    storage = GoogleCloudStorage("bucket/folder", endpoint_url=strict_gcs.endpoint, timeout=0.2)
    storage.write("f/a.json", b"x")
    strict_gcs.always = "stall"
    with pytest.raises(StorageError):
        storage.load("f/a.json")
    strict_gcs.always = "ok"

    assert pickle.loads(pickle.dumps(storage)).load("f/a.json").data == b"x"


def child(storage: GoogleCloudStorage, answers: multiprocessing.Queue[object]) -> None:
    try:
        storage.write("f/child.json", bytes(storage.load("f/parent.json").data) + b" and child")
        answers.put(os.getpid())
    except BaseException as error:
        answers.put(error)
        raise


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
def test_a_child_process_uses_a_storage_that_its_parent_used(real: GoogleCloudStorage, method: str):
    real.write("f/parent.json", b"parent")
    context = multiprocessing.get_context(method)
    answers = context.Queue()
    process = context.Process(target=child, args=(real, answers))
    process.start()
    answer = answers.get(timeout=30)
    process.join(30)

    assert answer == process.pid
    assert process.exitcode == 0
    assert real.load("f/child.json").data == b"parent and child"


FORK = """
import os, sys
from perscache_gcs import GoogleCloudStorage

storage = GoogleCloudStorage(sys.argv[2], endpoint_url=sys.argv[1])
storage.write("f/a.json", b"parent")
children = []
for number in range(3):
    if not (pid := os.fork()):
        if number:
            storage.write(f"f/{number}.json", storage.load("f/a.json").data)
        sys.exit(0)
    children.append(pid)
assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
print(sorted(entry.path for entry in storage.entries()))
"""


@pytest.mark.parametrize("options", [(), ("-X", "dev")], ids=["plain", "dev"])
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_forked_children_end_quietly_and_leave_the_parent_s_connection(
    script: Callable[..., str], gcs_bucket: Bucket, options: tuple[str, ...]
):
    out = script(FORK, gcs_bucket.endpoint, gcs_bucket.name, options=("-W", "ignore", *options))

    assert out == "['f/1.json', 'f/2.json', 'f/a.json']\n"


ENDS = {
    "used": "storage.load('f/a.json')",
    "in coroutines": "import asyncio; asyncio.run(storage.aload('f/a.json'))",
    "dropped": "storage = None; import gc; gc.collect()",
    "several": "for _ in range(5): GoogleCloudStorage('bucket', endpoint_url=sys.argv[1]).load('f/a.json')",
    "a sweep under way": "storage.max_size = 1000; storage.sweep_every = 1; storage.write('f/b.json', b'x')",
    "a thread that waits": """
import threading, time
threading.Thread(target=storage.load, args=('f/stall.json',), daemon=True).start()
time.sleep(0.3)
""",
    "a task that was left": """
import asyncio
async def main():
    task = asyncio.create_task(storage.aload('f/stall.json'))
    await asyncio.sleep(0.3)
asyncio.run(main())
""",
    "trouble": """
storage.timeout = 0.2
try:
    storage.load('f/stall.json')
except OSError:
    pass
""",
}

END = """
import sys
from perscache_gcs import GoogleCloudStorage

storage = GoogleCloudStorage("bucket", endpoint_url=sys.argv[1])
storage.write("f/a.json", b"x" * 100)
{end}
"""


@pytest.mark.parametrize("options", [(), ("-X", "dev", "-W", "error")], ids=["plain", "dev"])
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_process_ends_without_a_word(
    script: Callable[..., str], strict_gcs: StrictServer, end: str, options: tuple[str, ...]
):
    strict_gcs.faults.extend(["ok", "stall"] if "stall" in end else [])

    assert script(END.format(end=end), strict_gcs.endpoint, options=options) == ""


LAZY = """
import sys
from perscache_gcs import GoogleCloudStorage

GoogleCloudStorage("bucket/folder", max_size="20GB", project="mine")
GoogleCloudStorage.from_url("gs://bucket/folder?max_size=20GB")
heavy = {"gcsfs", "fsspec", "aiohttp", "google", "requests", "grpc", "asyncio", "socket", "google_crc32c"}
print(sorted(heavy & set(sys.modules)))
"""


def test_making_a_storage_imports_and_asks_nothing(script: Callable[..., str]):
    assert script(LAZY) == "[]\n"


def test_threads_that_start_together_connect_once(strict_gcs: StrictServer):
    storage = GoogleCloudStorage("bucket/folder", endpoint_url=strict_gcs.endpoint)
    barrier = threading.Barrier(8)
    clients: set[object] = set()

    def first_use() -> None:
        barrier.wait()
        clients.add(storage._client())

    threads = [threading.Thread(target=first_use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(clients) == 1
