"""Calls of perscache alone, in a process and an environment of its own: obeys the chapter `calls`.

python caller.py perscache FOLDER
"""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
import re
import shutil
import subprocess
import sys
import time
import warnings
from asyncio import events
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import Any

from process import answer_tasks, output_of

from perscache import Cache
from perscache.events import Observers
from perscache.plugins import hookimpl

HITS = 2000
TRACED = 100
HEAVY = ("asyncio", "cloudpickle", "email", "pandas", "pyarrow", "fsspec", "yaml")

# Hits of one entry in a store that is two days old, between two looks at files that are not there.
TRACED_HITS = """
import os, sys
from pathlib import Path
from perscache import Cache

def small(a, b, c):
    return {"a": a, "b": b, "c": c}

place, limited, hits = sys.argv[1], sys.argv[2] == "limited", int(sys.argv[3])
stored = Cache(storage=place)(small)
stored(1, 2.5, "x")
file = Path(place, stored.cache.key(1, 2.5, "x"))
status = file.stat()
os.utime(file, ns=(status.st_atime_ns - 2 * 86400 * 10**9, status.st_mtime_ns))
cached = Cache(storage=place, max_size="1GB" if limited else None)(small)
cached(2, 2.5, "x")
Path("begin-of-hits").exists()
for _ in range(hits):
    cached(1, 2.5, "x")
Path("end-of-hits").exists()
"""

# Prints the modules of others that a statement imports, those first that are needed first.
PARTS = """
import sys
before = set(sys.modules)
{statement}
names = [name for name in sys.modules if name not in before and name.partition(".")[0] != "perscache"]
print(*[name for name in names if getattr(sys.modules[name], "__spec__", None)])
"""

# Prints the milliseconds that a statement takes in a fresh process.
IMPORT = "import time\nbegin = time.perf_counter()\n{statement}\nprint((time.perf_counter() - begin) * 1e3)"

# Prints how often the metadata of all installed distributions are looked through.
SCANS = """
import sys
scans = []
class Counter:
    @staticmethod
    def find_spec(*_):
        return None
    @staticmethod
    def find_distributions(context):
        scans.extend([context] if context.name is None else [])
        return []
sys.meta_path.insert(0, Counter)
from perscache import Cache
Cache("parquet", "memory://")
print(len(scans))
"""


class Quiet:
    """An observer that does nothing with what it is told."""

    @hookimpl
    def perscache_hit(self, call: Any, entry: Any, seconds: float) -> None:
        """A hit."""


class Caller:
    """What a call of a cached function costs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    # --- Hits, in microseconds.

    def hit(self) -> float:
        """From a file."""
        return microseconds(self._cached(storage=str(self.folder / "files")))

    def limited_hit(self) -> float:
        """From a file, with `max_size`."""
        return microseconds(self._cached(storage=str(self.folder / "limited"), max_size="1GB"))

    def memory_hit(self) -> float:
        """From memory."""
        return microseconds(self._cached(storage="memory://"))

    def observed_hit(self) -> float:
        """From a file, told to an observer that does nothing."""
        return microseconds(self._cached(storage=str(self.folder / "observed"), observers=[Quiet()]))

    def async_hit(self) -> float:
        """Of a coroutine function, from a file."""
        cached: Any = Cache(storage=str(self.folder / "async"))(small_async)
        return asyncio.run(microseconds_of_awaits(cached))

    def _cached(self, **settings: Any) -> Any:
        """The same function for the same settings, as a program has it."""
        kept = str(settings["storage"])
        if kept not in self._functions:
            self._functions[kept] = Cache(**settings)(small)
        return self._functions[kept]

    @cached_property
    def _functions(self) -> dict[str, Any]:
        return {}

    # --- What is counted.

    def libraries(self) -> str:
        """What is installed beside perscache, with versions."""
        found = {each.name.lower(): each.version for each in importlib.metadata.distributions()}
        others = sorted(name for name in found if not name.startswith("perscache"))
        return ", ".join(f"{name} {found[name]}" for name in others)

    def look_for_observers(self) -> float:
        """What a hit does about observers when nobody listens: it asks whether somebody does."""
        observers = Observers()
        begin = time.perf_counter()
        for _ in range(HITS):
            _ = observers.active
        return (time.perf_counter() - begin) / HITS * 1e6

    def observers_on_a_hit(self) -> int:
        """How many functions of `perscache.events` and of pluggy run on a hit when nobody listens."""
        cached = self._cached(storage=str(self.folder / "files"))
        cached(1, 2.5, "x")
        run: Counter[str] = Counter()

        def count(frame: FrameType, event: str, _: Any) -> None:
            if event == "call":
                run[frame.f_globals.get("__name__", "")] += 1

        sys.setprofile(count)
        try:
            cached(1, 2.5, "x")
        finally:
            sys.setprofile(None)
        return sum(times for name, times in run.items() if name == "perscache.events" or name.startswith("pluggy"))

    def system_calls(self) -> dict[str, Any]:
        """The system calls of a hit: how many, and which."""
        traced = self._traced("unlimited")
        if traced is None:
            return {"number": None, "names": None}
        names = [name for name, times in traced.items() for _ in range(round(times / TRACED))]
        return {"number": sum(traced.values()) / TRACED, "names": ", ".join(names)}

    def marks(self) -> int | None:
        """How many marks of use many hits of one entry leave, where the last use is two days ago."""
        traced = self._traced("limited")
        return None if traced is None else traced["utimensat"]

    def _traced(self, kind: str) -> Counter[str] | None:
        strace, report = shutil.which("strace"), self.folder / "strace.txt"
        if strace is None:
            return None
        program = [sys.executable, "-c", TRACED_HITS, str(self.folder / kind), kind, str(TRACED)]
        subprocess.run(program, cwd=self.folder, check=True)  # A limit takes a store to know how old the others are.
        if subprocess.run([strace, "-o", report, *program], cwd=self.folder, check=False).returncode:
            return None  # Some machines forbid it.
        lines = report.read_text().split("begin-of-hits")[1].split("end-of-hits")[0].splitlines()[1:-1]
        known = {"openat": "open", "newfstatat": "fstat", "pread64": "read"}
        names = [found[1] for line in lines if (found := re.match(r"(\w+)\(", line))]
        return Counter(known.get(name, name) for name in names)

    # --- Many awaits.

    def awaits(self, number: int) -> dict[str, float]:
        """So many tasks that await one missing key: computations, and milliseconds of the loop's longest step.

        A step's own time: neither what other processes take meanwhile, nor the collector of garbage, which looks
        through so many tasks of anything.
        """
        ran: list[int] = []
        longest, run = 0.0, events.Handle._run

        async def slow(x: int) -> int:
            ran.append(x)
            await asyncio.sleep(0.2)
            return x

        def timed(handle: events.Handle) -> None:
            nonlocal longest
            begin = time.thread_time()
            run(handle)
            longest = max(longest, time.thread_time() - begin)

        async def all_together(cached: Callable[[int], Awaitable[int]]) -> None:
            tasks = [asyncio.ensure_future(cached(1)) for _ in range(number)]
            events.Handle._run = timed  # type: ignore[method-assign,assignment]  # What asyncio's own debug mode calls slow.
            assert await asyncio.gather(*tasks) == [1] * number

        place = self.folder / "awaits"
        shutil.rmtree(place, ignore_errors=True)
        cached: Any = Cache(storage=str(place))(name="awaited", track="none")(slow)
        gc.disable()
        try:
            asyncio.run(all_together(cached))
        finally:
            gc.enable()
            events.Handle._run = run  # type: ignore[method-assign]
        return {"computations": len(ran), "longest": longest * 1e3}

    # --- Imports, in milliseconds.

    def import_package(self) -> float:
        """Of `import perscache`."""
        return milliseconds_of_import("import perscache")

    def import_package_parts(self) -> float:
        """Of what that imports."""
        return milliseconds_of_import(self._parts("import perscache"))

    def import_cache(self) -> float:
        """Of `from perscache import Cache`."""
        return milliseconds_of_import("from perscache import Cache")

    def import_cache_parts(self) -> float:
        """Of what that imports."""
        return milliseconds_of_import(self._parts("from perscache import Cache"))

    def _parts(self, statement: str) -> str:
        if statement not in self._known_parts:
            names = output_of(PARTS.format(statement=statement)).split()
            self._known_parts[statement] = "\n".join(f"import {name}" for name in names)
        return self._known_parts[statement]

    @cached_property
    def _known_parts(self) -> dict[str, str]:
        return {}

    def heavy_imports(self) -> str:
        """Which heavy modules `from perscache import *` imports."""
        return loaded("from perscache import *", HEAVY)

    def heavy_imports_of_parquet(self) -> str:
        """Which heavy modules a cache of frames imports before there is one."""
        return loaded("from perscache import Cache\nCache('parquet', 'memory://')", ("pandas", "pyarrow"))

    def scans(self) -> int:
        """How often that looks through the metadata of what is installed."""
        return int(output_of(SCANS))


def small(a: int, b: float, c: str) -> dict[str, Any]:
    """Three scalars in, a small dict out."""
    return {"a": a, "b": b, "c": c}


async def small_async(a: int, b: float, c: str) -> dict[str, Any]:
    """The same, as a coroutine function."""
    return {"a": a, "b": b, "c": c}


def microseconds(function: Any) -> float:
    """Of one hit, on average."""
    function(1, 2.5, "x")
    begin = time.perf_counter()
    for _ in range(HITS):
        function(1, 2.5, "x")
    return (time.perf_counter() - begin) / HITS * 1e6


async def microseconds_of_awaits(function: Any) -> float:
    """Of one hit, awaited."""
    await function(1, 2.5, "x")
    begin = time.perf_counter()
    for _ in range(HITS):
        await function(1, 2.5, "x")
    return (time.perf_counter() - begin) / HITS * 1e6


def milliseconds_of_import(statement: str) -> float:
    """In a fresh process."""
    return float(output_of(IMPORT.format(statement=statement)))


def loaded(statement: str, names: tuple[str, ...]) -> str:
    """Which of some modules a statement imports, in a fresh process."""
    asked = f"print(*sorted(set({names!r}) & (sys.modules.keys() - before)))"
    return output_of(f"import sys\nbefore = set(sys.modules)\n{statement}\n{asked}").strip() or "none"


def main() -> None:
    """Answer one task a line."""
    warnings.simplefilter("ignore")
    answer_tasks(Caller(Path(sys.argv[2])))


if __name__ == "__main__":
    main()
