"""perscache's local files, in a process and an environment of its own: obeys the chapters `files` and `values`.

    python keeper.py perscache FOLDER

Stores of many entries are those that `contestant.py` has filled, below the same folder; they go through
`LocalFileStorage`, which lies below the decorator.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from keymaker import mixed_frame
from process import PEAK, answer_tasks, output_of

from perscache import Cache
from perscache.storage import LocalFileStorage

SMALL = b"x" * 100
FUNCTION = "functions.small"
STORES, NEW, LOADS, LARGE_LOADS, OTHERS = 200, 20, 5000, 200, 1000

# Lists a store in a fresh process: prints how many entries, milliseconds to the first, seconds for all, MiB at most.
LISTING = f"""
{PEAK}
import time
from perscache.storage import LocalFileStorage

storage = LocalFileStorage(sys.argv[1])
before, begin, number, first = peak(), time.perf_counter(), 0, 0.0
for entry in storage.entries():
    number += 1
    first = first or time.perf_counter() - begin
print(number, first * 1e3, time.perf_counter() - begin, (peak() - before) / (1 << 20))
"""

# Gets an array back in a fresh process: prints by how many of its sizes the peak of memory grows.
MEMORY = f"""
{PEAK}
import numpy as np
from perscache import Cache

array = Cache("numpy", sys.argv[1])(name="array", track="none")(lambda size: None)
array.cache.put(np.ones(1000), -1)
array(-1)
before = peak()
value = array(int(sys.argv[2]))
print((peak() - before) / value.nbytes)
"""


class Keeper:
    """A folder of stored results, and what can be measured of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.filled = folder.parents[1] / "contestant" / "perscache"
        self.fresh = itertools.count(10**12)
        self.storages: dict[tuple[int, bool], LocalFileStorage] = {}
        self.kept: dict[int, int] = {}
        self.pauses: dict[int, float] = {}
        self.last = 0

    # --- A hit's storage part, in microseconds.

    def raw(self, size: int) -> float:
        """Open, fstat, read, close of a file of ``size`` bytes."""
        file = self.folder / f"raw-{size}"
        if not file.exists():
            file.write_bytes(bytes(size))
        return microseconds_each(read, [str(file)] * (LOADS if size < 100_000 else LARGE_LOADS))

    def load(self, size: int) -> float:
        """The same of an entry, with every byte verified, its age judged and its use noted."""
        return self._loads(LocalFileStorage(self.folder / "one"), size)

    def load_limited(self, size: int) -> float:
        """`load` with a limit in force."""
        return self._loads(LocalFileStorage(self.folder / "limited", max_entries=10**6), size)

    @staticmethod
    def _loads(storage: LocalFileStorage, size: int) -> float:
        name = path(size)
        storage.write(name, bytes(size))
        load = partial(storage.load, max_age=3600)
        return microseconds_each(load, [name] * (LOADS if size < 100_000 else LARGE_LOADS))

    # --- Stores of many entries.

    def new_limit(self, entries: int) -> float:
        """Milliseconds of the longest of the first stores under a limit that was not there before; then all is counted.

        As it is where the limit was there from the beginning, which is what the other tasks are about.
        """
        storage, names = self._storage(entries, at_limit=False), self._names()
        names = names[:NEW]
        longest = max(milliseconds(partial(storage.write, name, SMALL)) for name in names)
        for name in names:
            storage.delete(name)
        storage.prune()
        return longest

    def store_below(self, entries: int) -> float:
        """Microseconds of a store into a storage of that many entries, far below its limit."""
        storage, names = self._storage(entries, at_limit=False), self._names()
        taken = microseconds_each(lambda name: storage.write(name, SMALL), names)
        for name in names:
            storage.delete(name)
        return taken

    def store_at_limit(self, entries: int) -> float:
        """Microseconds of a store into a storage that holds as many entries as it may; the longest is remembered."""
        storage, taken = self._storage(entries, at_limit=True), []
        for name in self._names():
            begin = time.perf_counter()
            storage.write(name, SMALL)
            taken.append(time.perf_counter() - begin)
        self.pauses[entries] = max(self.pauses.get(entries, 0), *taken)
        return sum(taken) / len(taken) * 1e6

    def longest_pause(self, entries: int) -> float:
        """Milliseconds of the longest store at the limit so far."""
        return self.pauses[entries] * 1e3

    def hits_at_limit(self, entries: int) -> float:
        """Microseconds of a hit's storage part among that many entries, at the limit, of the latest ones."""
        storage, names = self._storage(entries, at_limit=True), self._names()
        for name in names:
            storage.write(name, SMALL)
        return microseconds_each(partial(storage.load, max_age=3600), 10 * names)

    def overshoot(self, entries: int) -> int:
        """How many entries there are beyond the limit."""
        return max(0, names_in(self._place(entries)) - self.kept[entries])

    def overshoot_of_writers(self, entries: int) -> int | None:
        """How many there were at most beyond it, while four processes stored, each stopped for every count."""
        if not hasattr(signal, "SIGSTOP"):
            return None
        context, place, limit = multiprocessing.get_context("spawn"), self._place(entries), self.kept[entries]
        writers = [context.Process(target=store_many, args=(place, limit, number)) for number in (1, 2, 3, 4)]
        for writer in writers:
            writer.start()
        most = 0
        while alive := [writer.pid for writer in writers if writer.is_alive() and writer.pid is not None]:
            for pid in alive:
                os.kill(pid, signal.SIGSTOP)
            time.sleep(0.001)  # until all of them stand
            most = max(most, names_in(place))
            for pid in alive:
                os.kill(pid, signal.SIGCONT)
            time.sleep(0.001)
        return max(0, most - limit)

    def stats_an_eviction(self, entries: int) -> float | None:
        """Of how many entries a store at the limit asks the system for the status, beyond those of a store below it."""
        strace = shutil.which("strace")
        if strace is None:
            return None
        found: list[int] = []
        for limit in (10 * self.kept[entries], self.kept[entries]):
            report, seed = self.folder / "strace.txt", next(self.fresh)
            asked = [sys.executable, __file__, self._place(entries), str(limit), str(seed)]
            traced = [strace, "-f", "-e", "trace=/.*stat.*", "-o", str(report), *asked]
            if subprocess.run(traced, check=False).returncode:
                return None  # Some machines forbid it.
            found.append(report.read_text().count('.pickle"'))
            if limit > self.kept[entries]:
                for number in range(STORES):
                    self._storage(entries, at_limit=False).delete(path(seed * 1000 + number))
        return (found[1] - found[0]) / STORES

    def listing(self, entries: int) -> dict[str, float]:
        """In a process of its own: milliseconds to the first entry, seconds for all, MiB that it takes."""
        found = map(float, output_of(LISTING, self._place(entries)).split())
        return dict(zip(("entries", "first", "all", "memory"), found, strict=True))

    def clear(self, entries: int) -> dict[str, float]:
        """Milliseconds until a clear returns; microseconds of a hit on another function before that and then."""
        storage = self._storage(entries, at_limit=False)
        names = [path(number, "functions.other") for number in range(OTHERS)]
        for name in names:
            storage.write(name, SMALL)
        before = spread(storage.load, 20 * names)
        returns = milliseconds(lambda: storage.clear(FUNCTION))
        deleting = [thread for thread in threading.enumerate() if thread.name == "perscache-trash"]
        meanwhile = spread(storage.load, still(deleting, names)) if deleting else before
        found = {f"{part} before": value for part, value in before.items()}
        return {"returns": returns} | found | {f"{part} meanwhile": value for part, value in meanwhile.items()}

    def _place(self, entries: int) -> str:
        return str(self.filled / f"among-{entries}")

    def _names(self) -> list[str]:
        return [path(next(self.fresh)) for _ in range(STORES)]

    def _storage(self, entries: int, *, at_limit: bool) -> LocalFileStorage:
        """Our storage of that many entries; the same one for the same limit, as a program has it."""
        if entries not in self.kept:
            self.kept[entries] = names_in(self._place(entries))
        if (entries, at_limit) not in self.storages:
            limit = self.kept[entries] * (1 if at_limit else 10)
            self.storages[entries, at_limit] = LocalFileStorage(self._place(entries), max_entries=limit)
        return self.storages[entries, at_limit]

    # --- Big values, in milliseconds.

    def array_back_alone(self, size: int) -> float:
        """`numpy.load` of an array of ``size`` bytes."""
        file = self.folder / "array.npy"
        if not file.exists():
            np.save(file, made(size))
        return milliseconds(lambda: np.load(file))

    def array_back(self, size: int) -> float:
        """A call whose array is stored."""
        function = self._arrays("copied")
        function(size)
        return milliseconds(lambda: function(size))

    def array_back_mapped(self, size: int) -> float:
        """The same, mapped."""
        function = self._arrays("mapped")
        function(size)
        return milliseconds(lambda: function(size))

    def array_memory(self, size: int) -> float:
        """By how many of its sizes the peak of memory grows in the process that gets the array back."""
        self._arrays("copied")(size)
        return float(output_of(MEMORY, str(self.folder / "arrays"), str(size)))

    def frame_store(self, rows: int) -> float:
        """A frame of so many rows is stored as parquet."""
        self.last = next(self.fresh)
        return milliseconds(lambda: self._frames.cache.put(self._frame(rows), self.last))

    def frame_hit(self, rows: int) -> float:
        """The last one comes back."""
        return milliseconds(lambda: self._frames(self.last))

    def frame_write_alone(self, rows: int) -> float:
        """pyarrow alone writes it."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        frame, file = self._frame(rows), self.folder / f"frame-{next(self.fresh)}.parquet"
        return milliseconds(lambda: pq.write_table(pa.Table.from_pandas(frame), file))

    def frame_read_alone(self, rows: int) -> float:
        """pyarrow alone reads it."""
        import pyarrow.parquet as pq

        file = next(self.folder.glob("frame-*.parquet"))
        return milliseconds(lambda: pq.read_table(file).to_pandas())

    def _arrays(self, way: str) -> Any:
        if way not in self._array_functions:
            from perscache_numpy import NumpySerializer

            serializer = NumpySerializer(mmap_mode="r" if way == "mapped" else None)
            cached = Cache(serializer, self.folder / "arrays")(name="array", track="none")
            self._array_functions[way] = cached(made)
        return self._array_functions[way]

    @cached_property
    def _array_functions(self) -> dict[str, Any]:
        return {}

    @cached_property
    def _frames(self) -> Any:
        return Cache("parquet", self.folder / "frames")(name="frame", track="none")(lambda number: number)

    def _frame(self, rows: int) -> Any:
        if rows not in self._made:
            self._made[rows] = mixed_frame(rows)
        return self._made[rows]

    @cached_property
    def _made(self) -> dict[int, Any]:
        return {}


def path(number: int, function: str = FUNCTION) -> str:
    """The storage path of an entry."""
    return f"{function}/{number * 0x9E3779B97F4A7C15 % 2**64:016x}{number:016x}.pickle"


def made(size: int) -> Any:
    """An array of so many bytes."""
    return np.random.default_rng(0).random(size // 8)


def names_in(place: str) -> int:
    """How many entries lie in the store at ``place``."""
    folders = os.walk(f"{place}/{FUNCTION}")
    return sum(name.endswith(".pickle") and name[0] != "." for _, _, names in folders for name in names)


def read(file: str) -> bytes:
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
    storage = LocalFileStorage(place, max_entries=limit)
    for number in range(STORES):
        storage.write(path(seed * 1000 + number), SMALL)


def microseconds_each(call: Callable[[Any], object], values: Iterable[Any]) -> float:
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
        answer_tasks(Keeper(Path(sys.argv[2])))


if __name__ == "__main__":
    main()
