"""One memoizing library, in a process and an environment of its own: obeys the chapters `peers` and `growth`.

    python contestant.py LIBRARY FOLDER

Every library is set up as its documentation says first, with everything left at its default. Two are special: "a file"
is no library, but what none can be faster than, reading or writing one file; cashews has coroutines only, and is
measured inside a loop, around a coroutine function that does the same.
"""

from __future__ import annotations

import asyncio
import dbm
import functools
import importlib.metadata
import importlib.util
import itertools
import multiprocessing
import os
import pickle
import random
import statistics
import sys
import threading
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from process import answer_tasks

HITS, MISSES, CALLERS = 200, 40, 8
HITS_AMONG, STORES_AMONG = 100, 20
WAIT = 5.0  # seconds for calls that take 0.2
SURE = 2.0  # seconds after which it is known how long the rest takes
CALLS, THREADS, WARM, FRESH = 400, 4, 500, 0.2

FUNCTIONS = """
import time

def small(a, b, c):
    return {"a": a, "b": b, "c": c}

def first(array):
    return float(array[0])

def total(array):
    return float(array.sum())

def slow(log, x):
    log_one_line(log)
    time.sleep(0.2)
    return x

def large(log, size):
    log_one_line(log)
    return b"x" * size

def log_one_line(log):
    with open(log, "a") as lines:
        lines.write("computed\\n")

def helped(x):
    return helper(x)

def helper(x):
    return x + 1
"""


class Contestant:
    """A library's decorator on a few functions, and what can be measured of it."""

    def __init__(self, library: str, folder: Path) -> None:
        self.library, self.folder = library, folder
        self.results = folder / "results"
        self.loop = asyncio.new_event_loop() if library == "cashews" else None
        self.decorate = decorator(library, self.results)
        self.functions = load_module(folder / "functions.py", FUNCTIONS)
        self.small = self.decorate(self.functions.small)
        self.fresh = itertools.count(10**9 * os.getpid())
        self.arguments: dict[int, tuple[Any, Any]] = {}
        self.among: dict[int, Any] = {}
        self.filled: set[int] = set()
        self.gave_up = False
        self.crowded: list[Worker] = []
        self.call(self.small, 1, 2.5, "x")

    def version(self) -> str:
        """The library's version, and what it keeps results in where that depends on the Python."""
        if self.library == "dogpile.cache":
            return f"{version(self.library)} on {dbm.whichdb(str(self.results / 'results.dbm'))}"
        return version(self.library)

    # --- Single calls, in microseconds.

    def small_hit(self) -> float:
        """A call whose small result is stored."""
        return steadily(lambda: self.each(self.small, [(1, 2.5, "x")] * HITS))

    def small_miss(self) -> float:
        """A call whose small result is computed, at once, and stored."""
        return steadily(lambda: self.each(self.small, [(next(self.fresh), 2.5, "y") for _ in range(MISSES)]))

    def array_hit(self, size: int) -> float:
        """A call whose argument is an array of ``size`` bytes."""
        if size not in self.arguments:
            # A cache for each: some keep the whole argument, and are slow ever after.
            first, array = decorator(self.library, self.folder / f"argument-{size}")(self.functions.first), made(size)
            self.call(first, array)
            self.arguments[size] = first, array
        first, array = self.arguments[size]
        return self.each(first, [(array,)] * max(1, min(30, 3 * 10**7 // size)))

    # --- Stores of many entries.

    def fill(self, entries: int, patience: int) -> float | None:
        """Store that many small results: seconds, or None where it takes over ``patience`` of them."""
        if self.gave_up:
            return None
        with self.storing(entries) as store:
            store(0)  # Some set up files first.
            started = time.perf_counter()
            for number in range(1, entries):
                store(number)
                taken = time.perf_counter() - started
                if taken > SURE and taken * entries > patience * number:
                    self.gave_up = True  # It would take longer, and more entries even more.
                    return None
        self.filled.add(entries)
        return time.perf_counter() - started

    def fill_together(self, entries: int) -> float:
        """Store that many with all cores, however long that takes: seconds."""
        cores, started = os.cpu_count() or 1, time.perf_counter()
        context = multiprocessing.get_context("spawn")
        parts = [range(core, entries, cores) for core in range(cores)]
        fillers = [context.Process(target=fill_part, args=(self.library, self.folder, entries, part)) for part in parts]
        for filler in fillers:
            filler.start()
        for filler in fillers:
            filler.join()
        self.filled.add(entries)
        return time.perf_counter() - started

    @contextmanager
    def storing(self, entries: int) -> Iterator[Callable[[int], object]]:
        """What stores the result for a number, in the way that the library has for many."""
        function = self._among(entries)
        if self.library == "perscache":
            yield lambda number: function.cache.put({"a": number, "b": 2.5, "c": "x"}, number, 2.5, "x")
        elif self.library == "diskcache":
            import diskcache

            cache, key = diskcache.Cache(str(self._place(entries))), function.__cache_key__
            with cache.transact():
                yield lambda number: cache.set(key(number, 2.5, "x"), {"a": number, "b": 2.5, "c": "x"}, retry=True)
        else:
            yield lambda number: self.call(function, number, 2.5, "x")

    def hit_among(self, entries: int) -> float | None:
        """Microseconds of a hit, of any of so many entries."""
        if entries not in self.filled:
            return None

        def block() -> float:
            calls = [(random.randrange(entries), 2.5, "x") for _ in range(HITS_AMONG)]
            return self.each(self._among(entries), calls)

        return steadily(block)

    def store_among(self, entries: int) -> float | None:
        """Microseconds of a miss beside so many entries."""
        calls = [(next(self.fresh), 2.5, "x") for _ in range(STORES_AMONG)]
        return self.each(self._among(entries), calls) if entries in self.filled else None

    def _among(self, entries: int) -> Any:
        if entries not in self.among:
            self.among[entries] = decorator(self.library, self._place(entries))(self.functions.small)
        return self.among[entries]

    def _place(self, entries: int) -> Path:
        return self.folder / f"among-{entries}"

    # --- Many processes.

    def crowd(self, processes: int) -> float:
        """Calls a second of that many processes with four threads each, four of five of them hits."""
        hired = [Worker(self.library, self.folder) for _ in range(processes - len(self.crowded))]
        for worker in hired:
            worker.pipe.recv()  # It is ready.
        self.crowded.extend(hired)
        begin, crowd = next(self.fresh) * 1000, self.crowded[:processes]
        for worker in crowd:
            worker.pipe.send(begin)
        begins, ends = zip(*(worker.pipe.recv() for worker in crowd), strict=True)
        return float(processes * THREADS * CALLS / (max(ends) - min(begins)))

    # --- What is right.

    def runs_for_eight(self) -> int | str:
        """How often the function runs when eight callers ask for one missing result at the same time."""
        slow, log = self.decorate(self.functions.slow), self.folder / "slow.log"
        if self.loop is not None:
            self.loop.run_until_complete(together(lambda: slow(str(log), 1)))
            return lines(log)
        barrier = threading.Barrier(CALLERS)

        def call() -> None:
            barrier.wait()
            slow(str(log), 1)

        threads = [threading.Thread(target=call, daemon=True) for _ in range(CALLERS)]
        for thread in threads:
            thread.start()
        stop = time.monotonic() + WAIT
        for thread in threads:
            thread.join(max(0.0, stop - time.monotonic()))
        return "hangs" if any(thread.is_alive() for thread in threads) else lines(log)

    def runs_for_two_spellings(self) -> int | str:
        """How often the function runs for ``f(log, 5)`` and ``f(log, size=5)`` together."""
        large, log = self.decorate(self.functions.large), self.folder / "spelled.log"
        self.call(large, str(log), 5)
        try:
            self.call(large, str(log), size=5)
        except Exception as error:  # noqa: BLE001 - whatever a library raises here is its answer
            return f"raises {type(error).__name__}"
        return lines(log)

    def after_a_changed_array(self) -> str:
        """What a call returns after one of two million numbers in its argument was changed."""
        total, array = self.decorate(self.functions.total), made(16_000_000)
        before = self.call(total, array)
        other = array.copy()
        other[1_000_000] += 1
        return "computed again" if self.call(total, other) == before + 1 else "old value"

    def after_an_edited_helper(self) -> str:
        """What a call returns whose function is unchanged, but whose helper was edited."""
        path = self.folder / "edited.py"
        before = self.call(self.decorate(load_module(path, FUNCTIONS).helped), 1)
        edited = load_module(path, FUNCTIONS.replace("x + 1", "x + 22"))
        after = self.call(self.decorate(edited.helped), 1)
        return "computed again" if (before, after) == (2, 23) else "old value"

    def after_a_flipped_byte(self) -> str:
        """What a call returns when one byte of its stored result of 100 kB was changed."""
        large, log = self.decorate(self.functions.large), self.folder / "large.log"
        value = self.call(large, str(log), 100_000)
        files = [path for path in self.results.rglob("*") if path.is_file() and value[1:] in path.read_bytes()]
        for file in files:
            data = file.read_bytes()
            at = data.index(value[1:]) + 50_000
            file.write_bytes(data[:at] + b"y" + data[at + 1 :])
        try:
            again = self.call(large, str(log), 100_000)
        except Exception as error:  # noqa: BLE001 - whatever a library raises here is its answer
            return f"raises {type(error).__name__}"
        return "wrong value" if again != value else "computed again" if lines(log) == 2 else "unharmed"

    # ---

    def call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """One call."""
        made = function(*args, **kwargs)
        return made if self.loop is None else self.loop.run_until_complete(made)

    def each(self, function: Any, calls: Sequence[tuple[Any, ...]]) -> float:
        """Microseconds of one of some calls, on average."""
        if self.loop is not None:
            return self.loop.run_until_complete(seconds_of_awaits(function, calls)) / len(calls) * 1e6
        begin = time.perf_counter()
        for args in calls:
            function(*args)
        return (time.perf_counter() - begin) / len(calls) * 1e6


class Floor:
    """One file that is read or written: what no library can be faster than."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = str(folder / "stored")
        self.fresh = itertools.count()
        self.stored: dict[int, list[str]] = {}
        Path(self.file).write_bytes(pickle.dumps({"a": 1, "b": 2.5, "c": "x"}))

    def small_hit(self) -> float:
        """Microseconds of open, fstat, read, close, unpickle."""
        return steadily(self._reads)

    def small_miss(self) -> float:
        """Microseconds of pickle, create, write, close, rename: what a reader never finds half."""
        return steadily(self._writes)

    def hit_among(self, entries: int) -> float:
        """Microseconds of open, fstat, read, close, of any of so many files: those that perscache has stored."""
        if entries not in self.stored:
            place = self.folder.parent / "perscache" / f"among-{entries}" / "functions.small"
            files = (f"{folder}/{name}" for folder, _, names in os.walk(place) for name in names)
            self.stored[entries] = list(itertools.islice(files, 0, None, max(1, entries // 10_000)))

        def block() -> float:
            chosen = random.choices(self.stored[entries], k=HITS_AMONG)
            begin = time.perf_counter()
            for file in chosen:
                fd = os.open(file, os.O_RDONLY)
                os.read(fd, os.fstat(fd).st_size)
                os.close(fd)
            return (time.perf_counter() - begin) / HITS_AMONG * 1e6

        return steadily(block)

    def _reads(self) -> float:
        begin = time.perf_counter()
        for _ in range(HITS):
            fd = os.open(self.file, os.O_RDONLY)
            data = os.read(fd, os.fstat(fd).st_size)
            os.close(fd)
            pickle.loads(data)
        return (time.perf_counter() - begin) / HITS * 1e6

    def _writes(self) -> float:
        part, files = f"{self.folder}/part", [f"{self.folder}/{next(self.fresh)}" for _ in range(MISSES)]
        begin = time.perf_counter()
        for file in files:
            fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.write(fd, pickle.dumps({"a": 1, "b": 2.5, "c": "x"}))
            os.close(fd)
            os.rename(part, file)  # noqa: PTH104 - pathlib costs more than the system does
        return (time.perf_counter() - begin) / MISSES * 1e6


def fill_part(library: str, folder: Path, entries: int, numbers: range) -> None:
    """Store some of so many entries."""
    with Contestant(library, folder).storing(entries) as store:
        for number in numbers:
            store(number)


class Worker:
    """One process of a crowd, which waits until it is told to call."""

    def __init__(self, library: str, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        context.Process(target=call_many, args=(library, folder, theirs), daemon=True).start()
        theirs.close()


def call_many(library: str, folder: Path, pipe: Any) -> None:
    """Call a cached function from four threads, whenever the pipe says so, and tell when that began and ended."""
    warnings.simplefilter("ignore")
    function = decorator(library, folder / "crowd")(load_module(folder / "functions.py", FUNCTIONS).small)
    for number in range(WARM):
        function(number, 2.5, "crowd")

    def calls(begin: int) -> None:
        chance = random.Random()
        for _ in range(CALLS):
            fresh = chance.random() < FRESH
            function(begin + chance.randrange(1000) if fresh else chance.randrange(WARM), 2.5, "crowd")

    pipe.send("ready")
    while True:
        try:
            begin = pipe.recv()
        except EOFError:
            return
        threads = [threading.Thread(target=calls, args=(begin,)) for _ in range(THREADS)]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        pipe.send((started, time.monotonic()))


def made(size: int) -> Any:
    """An array of so many bytes."""
    return np.arange(size // 8, dtype=np.float64)


def version(library: str) -> str:
    """The version of a library."""
    return importlib.metadata.version("perscache-core" if library == "perscache" else library.partition(" ")[0])


def decorator(library: str, folder: Path) -> Any:
    """The decorator that the library's documentation shows first, with results in ``folder``."""
    match library:
        case "perscache":
            import perscache

            return perscache.Cache(storage=str(folder))
        case "perscache 0.7.1":
            import perscache.storage

            return perscache.Cache(storage=perscache.storage.LocalFileStorage(str(folder)))
        case "joblib":
            import joblib

            return joblib.Memory(folder, verbose=0).cache
        case "diskcache":
            import diskcache

            return diskcache.Cache(str(folder)).memoize()
        case "cachier":
            import cachier

            return cachier.cachier(cache_dir=folder)
        case "checkpointer":
            import checkpointer

            return checkpointer.checkpoint(directory=folder, verbosity=0)
        case "cashews":
            import cashews

            cache = cashews.Cache()
            cache.setup("disk://", directory=str(folder))
            return lambda function: cache(ttl="3h")(as_coroutine(function))
        case "dogpile.cache":
            from dogpile.cache import make_region

            folder.mkdir(exist_ok=True)
            region = make_region().configure("dogpile.cache.dbm", arguments={"filename": str(folder / "results.dbm")})
            return region.cache_on_arguments()
        case "klepto":
            from klepto import inf_cache
            from klepto.archives import dir_archive
            from klepto.keymaps import hashmap

            return inf_cache(cache=dir_archive(str(folder), cached=False), keymap=hashmap(algorithm="md5"))
    raise ValueError(f"{library} is no contestant")


def steadily(block: Callable[[], float]) -> float:
    """What one of several calls takes, of as many blocks of them as fit into a twentieth of a second."""
    taken, stop = [block()], time.perf_counter() + 0.05
    while time.perf_counter() < stop:
        taken.append(block())
    return statistics.fmean(taken)


def as_coroutine(function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """A coroutine function that does what ``function`` does, and is called like it."""

    @functools.wraps(function)
    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return coroutine


async def seconds_of_awaits(function: Any, calls: Sequence[tuple[Any, ...]]) -> float:
    """How long some calls take, awaited one after the other."""
    begin = time.perf_counter()
    for args in calls:
        await function(*args)
    return time.perf_counter() - begin


async def together(call: Callable[[], Awaitable[Any]]) -> None:
    """Eight calls at the same time."""
    await asyncio.gather(*(call() for _ in range(CALLERS)))


def load_module(path: Path, source: str) -> ModuleType:
    """The module with ``source``, from a file, since some libraries read the source of what they decorate."""
    if not path.exists() or path.read_text() != source:  # Others may be reading it.
        path.write_text(source)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def lines(log: Path) -> int:
    """How many lines the file has."""
    return len(log.read_text().splitlines())


def main() -> None:
    """Answer one task a line."""
    warnings.simplefilter("ignore")
    library, folder = sys.argv[1], Path(sys.argv[2])
    answer_tasks(Floor(folder) if library == "a file" else Contestant(library, folder))


if __name__ == "__main__":
    main()
