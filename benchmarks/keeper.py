"""One library that keeps results on disk, in a process and an environment of its own: obeys `storage.py`.

    python keeper.py LIBRARY FOLDER

Calls go through the decorator that the library's documentation shows first. Stores of many entries go through what
lies below it: `LocalFileStorage` of perscache, `Cache` of diskcache; joblib has nothing there.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from contestant import decorator, load_module, version
from process import answer_tasks, output_of

HITS, MISSES, STORES, LARGE_HITS, OTHERS = 500, 50, 200, 20, 1000
SMALL = b"x" * 100
ARGUMENTS = "day=2024, shop='abc'"
PARTS = {"code": "a" * 64, "argument 'day'": "b" * 16, "argument 'shop'": "c" * 16}
CALLS, THREADS, WARM, FRESH = 250, 4, 500, 0.2

FUNCTIONS = """
import numpy as np

def small(a, b, c):
    return {"a": a, "b": b, "c": c}

def large(size, number):
    return bytes(size)

def array(size):
    return np.random.default_rng(0).random(size // 8)

def frame(rows):
    raise RuntimeError("it is put by hand")
"""

# Lists a store in a fresh process: prints how many entries, milliseconds to the first, seconds for all, MiB at most.
LISTING = """
import resource, sys, time
from perscache.storage import LocalFileStorage

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)

storage = LocalFileStorage(sys.argv[1])
before, begin, number, first = peak(), time.perf_counter(), 0, 0.0
for entry in storage.entries():
    number += 1
    first = first or time.perf_counter() - begin
print(number, first * 1e3, time.perf_counter() - begin, peak() - before)
"""

# Gets an array back in a fresh process: prints by how many of its sizes the peak of memory grows.
MEMORY = """
import resource, sys
import numpy as np
from perscache import Cache

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1 << 10)

array = Cache("numpy", sys.argv[1])(name="array", track="none")(lambda size: None)
array.cache.put(np.ones(1000), -1)
array(-1)
before = peak()
value = array(int(sys.argv[2]))
print((peak() - before) / value.nbytes)
"""


class Keeper:
    """A library's ways to keep results, and what can be measured of them."""

    def __init__(self, library: str, folder: Path) -> None:
        self.library, self.folder = library, folder
        self.ours = library == "perscache"
        self.decorate = decorator(library, folder / "results")
        functions = load_module(folder / "functions.py", FUNCTIONS)
        self.small, self.large = self.decorate(functions.small), self.decorate(functions.large)
        self.functions = functions
        self.fresh = itertools.count()
        self.last = 0
        self.pauses: dict[int, float] = {}
        self.small(1, 2.5, "x")

    def version(self) -> str:
        """The library's version."""
        return version(self.library)

    # --- Single calls, in microseconds.

    def small_hit(self) -> float:
        """A call whose small result is stored."""
        return microseconds(lambda: self.small(1, 2.5, "x"), HITS)

    def small_miss(self) -> float:
        """A call whose small result is computed, at once, and stored."""
        return microseconds(lambda: self.small(next(self.fresh), 2.5, "y"), MISSES)

    def hit(self, size: int) -> float:
        """A call whose result of ``size`` bytes is stored."""
        self.large(size, 0)
        return microseconds(lambda: self.large(size, 0), HITS if size < 100_000 else LARGE_HITS)

    def raw_small_hit(self) -> float | None:
        """The system's part of `small_hit`: open, fstat, read, close, unpickle."""
        if not self.ours:
            return None
        file = str(self.folder / "raw.pickle")
        Path(file).write_bytes(pickle.dumps({"a": 1, "b": 2.5, "c": "x"}))
        return microseconds(lambda: pickle.loads(raw(file)), HITS)

    def raw(self, size: int) -> float | None:
        """Open, fstat, read, close of a file of ``size`` bytes."""
        if not self.ours:
            return None
        file = str(self.folder / f"raw-{size}")
        Path(file).write_bytes(bytes(size))
        return microseconds(lambda: raw(file), 2000 if size < 100_000 else LARGE_HITS)

    def load(self, size: int) -> float | None:
        """A hit's storage part, of ``size`` bytes."""
        if not self.ours:
            return None
        storage = self._storage(0)
        storage.write(path(0, "one"), bytes(size))
        return microseconds(lambda: storage.load(path(0, "one"), 3600), 2000 if size < 100_000 else LARGE_HITS)

    def load_limited(self, size: int) -> float | None:
        """`load` with a limit in force."""
        if not self.ours:
            return None
        storage = self._storage(0, 1_000_000)
        storage.write(path(0, "one"), bytes(size))
        return microseconds(lambda: storage.load(path(0, "one"), 3600), 2000)

    # --- Stores of many entries.

    def fill(self, entries: int) -> float | None:
        """Store that many results of 100 bytes; microseconds each."""
        if self.ours:
            from perscache.entry import Entry, moment

            storage, size, made = self._storage(entries), len(SMALL), moment(time.time())

            def store(number: int) -> None:
                told = Entry(path(number), made, size, None, None, 0.001, "pickle", "shop.prices", ARGUMENTS, PARTS)
                storage.store(told, SMALL)

            return microseconds_each(store, range(entries))
        if self.library == "diskcache":
            cache = self._diskcache(entries)
            with cache.transact():
                return microseconds_each(lambda number: cache.set(number, SMALL), range(entries))
        return microseconds_each(lambda number: self.large(100, number), range(entries))

    def store_below(self, entries: int) -> float:
        """Microseconds of a store into a storage of that many entries, far below its limit."""
        if self.ours:
            storage = self._storage(entries, 10 * entries)
            numbers = [next(self.fresh) + 10**9 for _ in range(STORES)]
            taken = microseconds_each(lambda number: storage.write(path(number), SMALL), numbers)
            for number in numbers:
                storage.delete(path(number))
            return taken
        cache = self._diskcache(entries)
        cache.reset("size_limit", 10 * cache.volume())
        numbers = [next(self.fresh) + 10**9 for _ in range(STORES)]
        taken = microseconds_each(lambda number: cache.set(number, SMALL), numbers)
        for number in numbers:
            cache.delete(number)
        return taken

    def store_at_limit(self, entries: int) -> float:
        """Microseconds of a store into a storage that holds as many entries as it may; the longest is remembered."""
        numbers = [next(self.fresh) + 10**9 for _ in range(STORES)]
        if self.ours:
            storage = self._storage(entries, entries)

            def store(number: int) -> None:
                storage.write(path(number), SMALL)

        else:
            cache = self._diskcache(entries)
            cache.reset("size_limit", cache.volume())

            def store(number: int) -> None:
                cache.set(number, SMALL)

        taken: list[float] = []
        for number in numbers:
            begin = time.perf_counter()
            store(number)
            taken.append(time.perf_counter() - begin)
        self.pauses[entries] = max(self.pauses.get(entries, 0), *taken)
        return sum(taken) / len(taken) * 1e6

    def longest_pause(self, entries: int) -> float:
        """Milliseconds of the longest store at the limit so far."""
        return self.pauses[entries] * 1e3

    def overshoot(self, entries: int) -> int | None:
        """How many entries there are beyond the limit of ``entries``."""
        return max(0, names_in(self._place(entries)) - entries) if self.ours else None

    def overshoot_of_writers(self, entries: int) -> int | None:
        """How many there were at most beyond it, while four processes stored, each stopped for every count."""
        if not self.ours or not hasattr(signal, "SIGSTOP"):
            return None
        context = multiprocessing.get_context("spawn")
        writers = [context.Process(target=store_many, args=(self._place(entries), entries, n)) for n in (1, 2, 3, 4)]
        for writer in writers:
            writer.start()
        most = 0
        while alive := [writer.pid for writer in writers if writer.is_alive() and writer.pid is not None]:
            for pid in alive:
                os.kill(pid, signal.SIGSTOP)
            time.sleep(0.001)  # until all of them stand
            most = max(most, names_in(self._place(entries)))
            for pid in alive:
                os.kill(pid, signal.SIGCONT)
            time.sleep(0.001)
        return max(0, most - entries)

    def stats_an_eviction(self, entries: int) -> float | None:
        """Of how many entries a store at the limit asks the system for the status, beyond those of a store below it."""
        strace = shutil.which("strace")
        if strace is None or not self.ours:
            return None
        found: list[int] = []
        for limit in (10 * entries, entries):
            report, seed = self.folder / "strace.txt", next(self.fresh) + 100
            asked = [sys.executable, __file__, self._place(entries), str(limit), str(seed)]
            subprocess.run([strace, "-f", "-e", "trace=/.*stat.*", "-o", report, *asked], check=True)
            found.append(report.read_text().count('.pickle"'))
            if limit > entries:
                for number in range(4 * STORES):
                    self._storage(entries).delete(path(seed * 10**11 + number))
        return (found[1] - found[0]) / (4 * STORES)

    def hits(self, entries: int) -> float | None:
        """Microseconds of a hit's storage part among that many entries, with a limit in force, of the latest ones."""
        if not self.ours:
            return None
        storage = self._storage(entries, entries)
        names = [path(next(self.fresh) + 10**9) for _ in range(STORES)]
        for name in names:
            storage.write(name, SMALL)
        return microseconds_each(lambda name: storage.load(name, 3600), 10 * names)

    def listing(self, entries: int) -> dict[str, float] | None:
        """In a process of its own: milliseconds to the first entry, seconds for all, MiB that it takes."""
        if not self.ours:
            return None
        found = map(float, output_of(LISTING, self._place(entries)).split())
        return dict(zip(("entries", "first", "all", "memory"), found, strict=True))

    def clear(self, entries: int) -> dict[str, float]:
        """Milliseconds until a clear returns; of ours, microseconds of a hit on another function before and then."""
        if self.library == "diskcache":
            cache = self._diskcache(entries)
            return {"returns": milliseconds(cache.clear)}
        if self.library == "joblib":
            return {"returns": milliseconds(lambda: self.large.clear(warn=False))}
        storage = self._storage(entries)
        names = [path(number, "other") for number in range(OTHERS)]
        for name in names:
            storage.write(name, SMALL)
        before = spread(storage.load, 20 * names)
        returns = milliseconds(lambda: storage.clear("f"))
        deleting = [thread for thread in threading.enumerate() if thread.name == "perscache-trash"]
        meanwhile = spread(storage.load, still(deleting, names)) if deleting else before
        found = {f"{part} before": value for part, value in before.items()}
        return {"returns": returns} | found | {f"{part} meanwhile": value for part, value in meanwhile.items()}

    def shrink(self, entries: int) -> float | None:
        """Seconds to bring that many entries down to half of them: `prune` of ours, `reduce_size` of joblib."""
        if self.ours:
            return milliseconds(self._storage(entries, entries // 2).prune) / 1e3
        if self.library == "joblib":
            import joblib

            memory = joblib.Memory(self.folder / "results", verbose=0)
            return milliseconds(lambda: memory.reduce_size(items_limit=entries // 2)) / 1e3
        return None

    def _place(self, entries: int) -> str:
        return str(self.folder / f"store-{entries}")

    def _storage(self, entries: int, limit: int | None = None) -> Any:
        """Our storage of that many entries; the same one for the same limit, as a program has it."""
        from perscache.storage import LocalFileStorage

        if (entries, limit) not in self._storages:
            self._storages[entries, limit] = LocalFileStorage(self._place(entries), max_entries=limit)
        return self._storages[entries, limit]

    @cached_property
    def _storages(self) -> dict[tuple[int, int | None], Any]:
        return {}

    def _diskcache(self, entries: int) -> Any:
        import diskcache

        if entries not in self._caches:
            self._caches[entries] = diskcache.Cache(self._place(entries), eviction_policy="least-recently-used")
        return self._caches[entries]

    @cached_property
    def _caches(self) -> dict[int, Any]:
        return {}

    # --- Many processes.

    def crowd(self, processes: int) -> float:
        """Calls a second of that many processes with four threads each, four of five of them hits."""
        context = multiprocessing.get_context("spawn")
        barrier, spans = context.Barrier(processes), context.Queue()
        begin = 1000 * (next(self.fresh) + 1000)
        crowd = [
            context.Process(target=call_many, args=(self.library, self.folder, begin, seed, (barrier, spans)))
            for seed in range(processes)
        ]
        for process in crowd:
            process.start()
        begins, ends = zip(*(spans.get() for _ in crowd), strict=True)
        for process in crowd:
            process.join()
        return float(processes * THREADS * CALLS / (max(ends) - min(begins)))

    # --- Big values, in milliseconds.

    def array_hit(self, size: int) -> float:
        """A call whose array of ``size`` bytes is stored."""
        if self._array is None:
            self._array = self._cache_of("numpy")(self.functions.array)
            self._array(size)
        return milliseconds(lambda: self._array(size))

    _array: Any = None

    def array_alone(self, size: int) -> float | None:
        """`numpy.load` of that array."""
        if not self.ours:
            return None
        file = self.folder / "array.npy"
        if not file.exists():
            np.save(file, self.functions.array(size))
        return milliseconds(lambda: np.load(file))

    def array_memory(self, size: int) -> float | None:
        """By how many of its sizes the peak of memory grows in the process that gets the array back."""
        if not self.ours:
            return None
        self._cache_of("numpy")(name="array", track="none")(self.functions.array)(size)
        return float(output_of(MEMORY, str(self.folder / "numpy"), str(size)))

    def frame_store(self, rows: int) -> float | None:
        """A frame of so many rows is stored as parquet."""
        if not self.ours:
            return None
        self.last = next(self.fresh)
        return milliseconds(lambda: self._frames.cache.put(self._frame(rows), self.last))

    def frame_hit(self, rows: int) -> float | None:
        """The last one comes back."""
        return milliseconds(lambda: self._frames(self.last)) if self.ours else None

    def frame_write_alone(self, rows: int) -> float | None:
        """pyarrow alone writes it."""
        if not self.ours:
            return None
        import pyarrow as pa
        import pyarrow.parquet as pq

        frame, file = self._frame(rows), self.folder / f"frame-{next(self.fresh)}.parquet"
        return milliseconds(lambda: pq.write_table(pa.Table.from_pandas(frame), file))

    def frame_read_alone(self, rows: int) -> float | None:
        """pyarrow alone reads it."""
        if not self.ours:
            return None
        import pyarrow.parquet as pq

        file = next(self.folder.glob("frame-*.parquet"))
        return milliseconds(lambda: pq.read_table(file).to_pandas())

    @cached_property
    def _frames(self) -> Any:
        return self._cache_of("parquet")(self.functions.frame)

    def _cache_of(self, serializer: str) -> Any:
        """Our decorator with a serializer for large values; that of a peer as it is."""
        if not self.ours:
            return self.decorate
        import perscache

        return perscache.Cache(serializer, self.folder / serializer)

    def _frame(self, rows: int) -> Any:
        if self._made is None:
            import pandas as pd

            chance = np.random.default_rng(0)
            self._made = pd.DataFrame(
                {
                    "whole": chance.integers(0, 1000, rows),
                    "real": chance.random(rows),
                    "truth": chance.random(rows) > 0.5,
                    "time": pd.date_range("2020", periods=rows, freq="s"),
                    "category": pd.Categorical.from_codes(chance.integers(0, 3, rows), pd.Index(["a", "b", "c"])),
                    "text": [f"item {row % 1000}" for row in range(rows)],
                }
            )
        return self._made

    _made: Any = None


def path(number: int, function: str = "f") -> str:
    """The storage path of an entry."""
    return f"{function}/{number * 0x9E3779B97F4A7C15 % 2**64:016x}{number:016x}.pickle"


def names_in(place: str) -> int:
    """How many entries lie in the store at ``place``."""
    return sum(name.endswith(".pickle") and name[0] != "." for _, _, names in os.walk(f"{place}/f") for name in names)


def raw(file: str) -> bytes:
    """The bytes of a file with as few system calls as can be."""
    fd = os.open(file, os.O_RDONLY)
    try:
        return os.read(fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)


def still(threads: list[threading.Thread], names: list[str]) -> Iterator[str]:
    """Names, as long as one of the ``threads`` runs, but not for more than two seconds."""
    stop = time.perf_counter() + 2
    for name in itertools.cycle(names):
        if time.perf_counter() > stop or not any(thread.is_alive() for thread in threads):
            return
        yield name


def store_many(place: str, limit: int, seed: int) -> None:
    """Store some results at the limit."""
    from perscache.storage import LocalFileStorage

    storage = LocalFileStorage(place, max_entries=limit)
    for number in range(4 * STORES):
        storage.write(path(seed * 10**11 + number), SMALL)


def call_many(library: str, folder: Path, begin: int, seed: int, together: tuple[Any, Any]) -> None:
    """Call a cached function from four threads, together with other processes."""
    warnings.simplefilter("ignore")
    barrier, spans = together
    own = folder / f"crowd-{seed}"
    own.mkdir(exist_ok=True)
    function = decorator(library, folder / "results")(load_module(own / "functions.py", FUNCTIONS).small)
    for number in range(WARM):
        function(number, 2.5, "crowd")

    def calls(thread: int) -> None:
        chance = random.Random(seed * THREADS + thread)
        for _ in range(CALLS):
            fresh = chance.random() < FRESH
            function(begin + chance.randrange(1000) if fresh else chance.randrange(WARM), 2.5, "crowd")

    threads = [threading.Thread(target=calls, args=(thread,)) for thread in range(THREADS)]
    barrier.wait()
    start = time.time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spans.put((start, time.time()))


def microseconds(call: Callable[[], object], repetitions: int) -> float:
    """Of one call, on average."""
    begin = time.perf_counter()
    for _ in range(repetitions):
        call()
    return (time.perf_counter() - begin) / repetitions * 1e6


def microseconds_each(call: Callable[[Any], object], values: Any) -> float:
    """Of a call with one of ``values``, on average."""
    begin, number = time.perf_counter(), 0
    for value in values:
        call(value)
        number += 1
    return (time.perf_counter() - begin) / max(1, number) * 1e6


def spread(call: Callable[[str], object], values: Iterable[str]) -> dict[str, float]:
    """Microseconds of a call that one in two, and that 99 in 100, do not exceed."""
    taken: list[float] = []
    for value in values:
        begin = time.perf_counter()
        call(value)
        taken.append((time.perf_counter() - begin) * 1e6)
    taken.sort()
    return {"median": taken[len(taken) // 2], "99 %": taken[len(taken) * 99 // 100]}


def milliseconds(call: Callable[[], object]) -> float:
    """Of one call."""
    begin = time.perf_counter()
    call()
    return (time.perf_counter() - begin) * 1e3


def main() -> None:
    """Answer one task a line; or store some results, for `Keeper.stats_an_eviction`."""
    warnings.simplefilter("ignore")
    if len(sys.argv) == 4:
        store_many(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    else:
        answer_tasks(Keeper(sys.argv[1], Path(sys.argv[2])))


if __name__ == "__main__":
    main()
