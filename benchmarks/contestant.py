"""One memoizing library under test, in a process and an environment of its own: obeys `compare.py` line by line.

    python contestant.py LIBRARY FOLDER

Every library is set up as its documentation says, with everything left at its default.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from process import answer_tasks

SMALL_HITS, SMALL_MISSES, ARRAY_HITS, CALLERS = 200, 50, 3, 8
PATIENCE = 10.0  # seconds for calls that take 0.2

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
        self.library = library
        self.folder = folder
        self.results = folder / "results"
        self.decorate = decorator(library, self.results)
        self.functions = load_module(folder / "functions.py", FUNCTIONS)
        self.small = self.decorate(self.functions.small)
        self.first = self.decorate(self.functions.first)
        self.array = np.arange(2_000_000, dtype=np.float64)
        self.fresh = 0
        self.small(1, 2.5, "x")

    def version(self) -> str:
        """The library's version."""
        return version(self.library)

    def small_hit(self) -> float:
        """Microseconds of a call whose small result is stored."""
        return self._microseconds(lambda: self.small(1, 2.5, "x"), SMALL_HITS)

    def small_miss(self) -> float:
        """Microseconds of a call whose small result is computed, at once, and stored."""

        def miss() -> None:
            self.fresh += 1
            self.small(self.fresh, 2.5, "y")

        return self._microseconds(miss, SMALL_MISSES)

    def array_hit(self) -> float:
        """Microseconds of a call whose argument is an array of 16 MB."""
        self.first(self.array)
        return self._microseconds(lambda: self.first(self.array), ARRAY_HITS)

    def computations_for_eight_callers(self) -> int | str:
        """How often the function runs when eight threads ask for one missing result at the same time."""
        slow, log = self.decorate(self.functions.slow), self.folder / "slow.log"
        together = threading.Barrier(CALLERS)

        def call() -> None:
            together.wait()
            slow(str(log), 1)

        threads = [threading.Thread(target=call, daemon=True) for _ in range(CALLERS)]
        for thread in threads:
            thread.start()
        stop = time.monotonic() + PATIENCE
        for thread in threads:
            thread.join(max(0.0, stop - time.monotonic()))
        return "hangs" if any(thread.is_alive() for thread in threads) else lines(log)

    def after_a_flipped_byte(self) -> str:
        """What a call returns when one byte of its stored result of 100 kB was changed."""
        large, log = self.decorate(self.functions.large), self.folder / "large.log"
        value = large(str(log), 100_000)
        files = [path for path in self.results.rglob("*") if path.is_file() and value[1:] in path.read_bytes()]
        for file in files:
            data = file.read_bytes()
            at = data.index(value[1:]) + 50_000
            file.write_bytes(data[:at] + b"y" + data[at + 1 :])
        try:
            again = large(str(log), 100_000)
        except Exception as error:  # noqa: BLE001 - whatever a library raises here is its answer
            return f"raises {type(error).__name__}"
        return "wrong value" if again != value else "computed again" if lines(log) == 2 else "unharmed"

    def after_a_changed_array(self) -> str:
        """What a call returns after one of two million numbers in its argument was changed."""
        total = self.decorate(self.functions.total)
        before = total(self.array)
        other = self.array.copy()
        other[1_000_000] += 1
        return "computed again" if total(other) == before + 1 else "old value"

    def after_an_edited_helper(self) -> str:
        """What a call returns whose function is unchanged, but whose helper was edited."""
        path = self.folder / "edited.py"
        before = self.decorate(load_module(path, FUNCTIONS).helped)(1)
        after = self.decorate(load_module(path, FUNCTIONS.replace("x + 1", "x + 22")).helped)(1)
        return "computed again" if (before, after) == (2, 23) else "old value"

    def spellings_of_one_call(self) -> int | str:
        """How often the function runs for ``f(log, 5)`` and ``f(log, size=5)`` together."""
        large, log = self.decorate(self.functions.large), self.folder / "spelled.log"
        large(str(log), 5)
        try:
            large(str(log), size=5)
        except Exception as error:  # noqa: BLE001 - whatever a library raises here is its answer
            return f"raises {type(error).__name__}"
        return lines(log)

    @staticmethod
    def _microseconds(call: Callable[[], object], repetitions: int) -> float:
        start = time.perf_counter()
        for _ in range(repetitions):
            call()
        return (time.perf_counter() - start) / repetitions * 1e6


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
        case "dogpile.cache":
            from dogpile.cache import make_region

            folder.mkdir()
            region = make_region().configure("dogpile.cache.dbm", arguments={"filename": str(folder / "results.dbm")})
            return region.cache_on_arguments()
        case "klepto":
            from klepto import inf_cache
            from klepto.archives import dir_archive
            from klepto.keymaps import hashmap

            return inf_cache(cache=dir_archive(str(folder), cached=False), keymap=hashmap(algorithm="md5"))
    raise ValueError(f"{library} is no contestant")


def load_module(path: Path, source: str) -> ModuleType:
    """The module with ``source``, from a file, since some libraries read the source of what they decorate."""
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
    answer_tasks(Contestant(sys.argv[1], Path(sys.argv[2])))


if __name__ == "__main__":
    main()
