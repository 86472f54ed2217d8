"""Where the time of a small miss goes: prints it as a Markdown table, beside diskcache's if that is installed.

    python3 benchmarks/miss.py

All is measured in this one process, interleaved, in a fresh folder from which nothing is removed: for some minutes
after thousands of files were removed, ext4 takes several times as long to make new ones.
"""

from __future__ import annotations

import importlib
import itertools
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from perscache import Cache, single_flight
from perscache.entry import Entry, moment

ROUNDS = 61
CALLS = 10


def small(a: int, b: float, c: str) -> dict[str, Any]:
    """Three scalars in, a small dict out."""
    return {"a": a, "b": b, "c": c}


class Miss:
    """A decorated function that is never called twice with the same arguments, and the parts of such a call."""

    def __init__(self, folder: Path) -> None:
        self.call = Cache(storage=folder / "results")(small)
        self.plan: Any = self.call.cache._calls.plan
        self.storage: Any = self.plan.storage
        self.fresh = itertools.count()
        self.raw = folder / "raw"
        self.raw.mkdir()
        for _ in range(100):
            self.whole()

    def whole(self) -> None:
        """All of it."""
        self.call(next(self.fresh), 2.5, "y")

    def system(self) -> None:
        """What makes a file whole or not at all."""
        draft, file = f"{self.raw}/.{next(self.fresh)}", f"{self.raw}/{next(self.fresh):040x}"
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, b"x" * 60)
        finally:
            os.close(fd)
        os.replace(draft, file)  # noqa: PTH105 - the system's call alone

    def path(self) -> str:
        """The key of another call."""
        return str(self.plan.path((next(self.fresh), 2.5, "y"), {}))

    def look(self) -> None:
        """The look-up of what is not there."""
        try:
            self.storage.load(f"{self.plan.prefix}{next(self.fresh):040x}{self.plan.suffix}", None)
        except FileNotFoundError:
            return

    def fly(self) -> None:
        """Being the only one of the threads."""
        _, flight = single_flight.board(("", ""))
        with flight.leading():
            pass

    def lock(self, path: str) -> None:
        """Being the only one of the processes, and looking again."""
        lock = self.storage.lock(path)
        lock.acquire(())
        self.storage.lacks(path)
        lock.release()

    def describe(self) -> None:
        """The arguments in words, and a digest of each."""
        self.plan.builder.describe((next(self.fresh), 2.5, "y"), {})

    def steps(self) -> dict[str, Callable[[], object]]:
        """The parts, each alone."""
        plan, storage, path = self.plan, self.storage, self.path()
        value, parts = small(1, 2.5, "y"), {"code": "0" * 64, **{f"argument {name!r}": "0" * 12 for name in "abc"}}
        told, made = "a=1, b=2.5, c='y'", moment(time.time())
        known = Entry(path, made, 43, None, None, 1e-6, plan.format, plan.name, told, parts)
        place = storage._place(path)

        def publish() -> None:
            # In another folder: of two thousand entries a folder's later ones go to 256 folders, which are made once.
            other = storage._layout.place(f"published/{next(self.fresh):040x}{plan.suffix}")
            storage._publisher.publish(other, other.file, b"x" * 43, known)

        return {
            "nothing": lambda: None,
            "system": self.system,
            "key": self.path,
            "look": self.look,
            "fly": self.fly,
            "lock": lambda: self.lock(path),
            "describe": self.describe,
            "pickle": lambda: plan.encode(path, value),
            "publish": publish,
            "journal": lambda: storage._note(place, place.file, known),
            "miss": self.whole,
        }


def measure(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Microseconds of each call: medians over rounds in which all of them take turns."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            begin = time.perf_counter()
            for _ in range(CALLS):
                call()
            taken[name].append((time.perf_counter() - begin) / CALLS * 1e6)
    return {name: statistics.median(values) for name, values in taken.items()}


def peer(folder: Path) -> dict[str, Callable[[], object]]:
    """The same of diskcache, if it is installed."""
    try:
        diskcache: Any = importlib.import_module("diskcache")
    except ImportError:
        return {}
    cached, fresh = diskcache.Cache(str(folder / "diskcache")).memoize()(small), itertools.count()
    return {"diskcache": lambda: cached(next(fresh), 2.5, "y")}


def main() -> None:
    """Print the table."""
    folder = Path(tempfile.mkdtemp(prefix="perscache-miss-"))
    miss = Miss(folder)
    taken = measure(miss.steps() | peer(folder))
    alone = {name: value - taken["nothing"] for name, value in taken.items()}
    rows = {
        "the system: create, write, close, rename": alone["system"],
        "publishing: seal, times, is anything in the way?": alone["publish"] - alone["system"],
        "the key": alone["key"],
        "looking it up": alone["look"],
        "one thread at a time": alone["fly"],
        "one process at a time, who looks again": alone["lock"],
        "the arguments in words, and their digests": alone["describe"],
        "pickling": alone["pickle"],
        "the line of the journal": alone["journal"],
    }
    rows["passing on; and what the parts take more in turn than each alone"] = alone["miss"] - sum(rows.values())
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores\n")
    print("| a small miss | µs | share |\n|---|---|---|")
    for name, value in rows.items():
        print(f"| {name} | {value:.1f} | {value / alone['miss']:.0%} |")
    print(f"| **all of it** | **{alone['miss']:.0f}** | 100% |")
    if "diskcache" in alone:
        print(f"| diskcache | {alone['diskcache']:.0f} | {alone['diskcache'] / alone['miss']:.0%} |")
    print(f"\nThe files are left in {folder.name} in the folder for temporary files: remove them when you are done.")


if __name__ == "__main__":
    main()
