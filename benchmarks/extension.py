"""Where the time of a small hit goes, and what a compiled extension would gain: prints both as Markdown tables.

    python3 benchmarks/extension.py

The extension, `extension.c`, is a prototype of the local hit. It is built in a temporary folder by the system's C
compiler, and does for plain hits what the Python code does; it is used by nothing else. All is measured in this one
process, interleaved; the tables show medians of microseconds.
"""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import os
import pickle
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xxhash

from perscache import Cache, modes
from perscache.trouble import logger

ROUNDS = 151
CALLS = 50
LARGE_CALLS = 10
MEGABYTE = 1_000_000
AGE = 3600.0

FUNCTION = """
def small(a, b, c):
    return {"a": a, "b": b, "c": c}
"""


class Hit:
    """A decorated function with a small result, and results of 1 KB and 1 MB in the same storage."""

    def __init__(self, folder: Path) -> None:
        (folder / "functions.py").write_text(FUNCTION)
        self.function = load_module("functions", folder / "functions.py").small
        self.call = Cache(storage=folder / "results", ttl=AGE)(self.function)
        self.call(1, 2.5, "x")
        self.path = self.call.cache.key(1, 2.5, "x")
        self.plan: Any = self.call.cache._calls.plan
        self.storage = self.plan.storage
        self.kilobyte, self.megabyte = (f"f/{size:032x}.pickle" for size in (1000, MEGABYTE))
        self.storage.write(self.kilobyte, bytes(1000))
        self.storage.write(self.megabyte, bytes(MEGABYTE))

    def file(self, path: str) -> str:
        """Where an entry lies."""
        return str(self.storage.location / path)

    def steps(self) -> dict[str, Callable[[], object]]:
        """The parts of a small hit, each alone, and all of it."""
        plan, storage, builder = self.plan, self.storage, self.plan.builder
        args: tuple[Any, ...] = (1, 2.5, "x")
        kwargs: dict[str, Any] = {}
        path, file, age = self.path, self.file(self.path), plan.max_age
        data = storage.load(path, age, "buffer").data
        code, loads, decode, count = builder._ready.code, pickle.loads, plan.decode, plan.statistics.hit
        return {
            "nothing": lambda: None,
            "mode": lambda: not plan.modes.straight or plan.observers.active or logger.isEnabledFor(logging.DEBUG),
            "guards": code.holds,
            "key": lambda: builder.digest(args, kwargs),
            "raw": lambda: raw(file),
            "load": lambda: storage.load(path, age, "buffer"),
            "unpickle": lambda: loads(data),
            "decode": lambda: decode(path, data),
            "count": lambda: count(43, 0.001),
            "hit": lambda: self.call(1, 2.5, "x"),
        }

    def compiled(self, extension: Any) -> tuple[Any, Any]:
        """The storage's part, and the whole hit, in C."""
        plan, storage, function = self.plan, self.storage, self.function
        part = extension.Storage(f"{storage.location}{os.sep}", storage._flags, os.geteuid())
        ready = plan.builder._ready
        logger.isEnabledFor(logging.DEBUG)
        whole = extension.Hit(
            *(self.call, function, function.__code__, function.__defaults__, function.__kwdefaults__),
            *(ready.code.holds.__self__.looks, ready.prefix, plan.prefix.encode(), plan.suffix.encode()),
            *(pickle.loads, modes._switches, plan.observers._registered, plan.observers._own),
            *(vars(logger)["_cache"], logging.DEBUG, part, AGE, ready.whole),
        )
        return part, whole


def raw(file: str) -> bytes:
    """The bytes of a file with as few system calls as can be."""
    fd = os.open(file, os.O_RDONLY)
    try:
        return os.read(fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)


def build(folder: Path) -> Any:
    """The extension as a module, None where there is no compiler; raises what the compiler says."""
    asked = shlex.split(sysconfig.get_config_var("CC") or "cc")
    compiler = next((command for command in (asked, ["cc"]) if shutil.which(command[0])), None)
    if os.name == "nt" or compiler is None:
        return None
    library = ctypes.CDLL(sys.modules["xxhash._xxhash"].__file__)
    hashes = [getattr(library, name, None) for name in ("XXH3_64bits_withSeed_dispatch", "XXH3_64bits_withSeed")]
    address = next((ctypes.cast(found, ctypes.c_void_p).value for found in hashes if found is not None), None)
    if address is None:
        return None
    binary = folder / "extension.so"
    include = sysconfig.get_path("include")
    options = ["-O3", "-shared", "-fPIC", *(["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else [])]
    source = Path(__file__).with_suffix(".c")
    subprocess.run([*compiler, *options, f"-I{include}", str(source), "-o", str(binary)], check=True)
    module = load_module("extension", binary)
    module.hash_with(address)
    return module


def load_module(name: str, file: Path) -> Any:
    """The module in ``file``."""
    specification = importlib.util.spec_from_file_location(name, file)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    specification.loader.exec_module(module)
    return module


def measure(calls: dict[str, tuple[Callable[[], object], int]]) -> dict[str, float]:
    """Microseconds of each call: medians over rounds in which all of them take turns."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, (call, number) in calls.items():
            begin = time.perf_counter()
            for _ in range(number):
                call()
            taken[name].append((time.perf_counter() - begin) / number * 1e6)
    return {name: statistics.median(values) for name, values in taken.items()}


def print_steps(hit: Hit) -> None:
    """The table of where the time goes."""
    taken = measure({name: (call, CALLS) for name, call in hit.steps().items()})
    alone = {name: value - taken["nothing"] for name, value in taken.items()}
    rows = {
        "the system: open, fstat, read, close": alone["raw"],
        "the storage's Python: owner, mode, age, every byte verified": alone["load"] - alone["raw"],
        "the key: has any code changed that the function uses?": alone["guards"],
        "the key: arguments to bytes, BLAKE3": alone["key"] - alone["guards"],
        "`pickle.loads`": alone["unpickle"],
        "what stands around it: signature, byte code of another Python": alone["decode"] - alone["unpickle"],
        "is the mode normal, does anybody listen or log?": alone["mode"],
        "counting it": alone["count"],
    }
    rows["passing on; and what the parts take more in turn than each alone"] = alone["hit"] - sum(rows.values())
    print("| a small hit | µs | share |\n|---|---|---|")
    for name, value in rows.items():
        print(f"| {name} | {value:.2f} | {value / alone['hit']:.0%} |")
    print(f"| **all of it** | **{alone['hit']:.2f}** | 100% |\n")


def print_gains(hit: Hit, extension: Any) -> None:
    """The table of what an extension gains; raises where it does not do the same as the Python code."""
    part, whole = hit.compiled(extension)
    load, call, file = hit.storage.load, hit.call, hit.file(hit.path)
    for path in (hit.path, hit.kilobyte, hit.megabyte):
        same = [(it.data, it.created, it.compute_time) for it in (part.load(path, AGE), load(path, AGE))]
        assert same[0] == same[1]
    assert whole(1, 2.5, "x") == call(1, 2.5, "x")
    assert whole.hits == 1, "the extension handed a plain hit over"

    def in_part() -> None:
        hit.storage.load = part.load
        try:
            for _ in range(CALLS):
                call(1, 2.5, "x")
        finally:
            del hit.storage.load

    def ways(size: str, path: str, number: int) -> dict[str, tuple[Callable[[], object], int]]:
        file = hit.file(path)
        return {
            f"{size} floor": (lambda: raw(file), number),
            f"{size} hashed": (lambda: xxhash.xxh3_64_intdigest(raw(file), 1), number),
            f"{size} python": (lambda: load(path, AGE), number),
            f"{size} buffer": (lambda: load(path, AGE, "buffer"), number),
            f"{size} part": (lambda: part.load(path, AGE), number),
        }

    # Each size by itself: a megabyte drives everything else out of the processor's cache.
    taken = measure(
        {
            "small floor": (lambda: pickle.loads(raw(file)), CALLS),
            "small python": (lambda: call(1, 2.5, "x"), CALLS),
            "small part": (in_part, 1),
            "small whole": (lambda: whole(1, 2.5, "x"), CALLS),
        }
    )
    taken["small part"] /= CALLS
    taken |= measure(ways("1 KB", hit.kilobyte, CALLS)) | measure(ways("1 MB", hit.megabyte, LARGE_CALLS))

    def print_row(name: str, *ways: str) -> None:
        floor = taken[ways[0]]
        cells = [f"{taken[way]:.1f} ({taken[way] / floor:.2f} ×)" if way else "–" for way in ways[1:]]
        print(f"| {name} | {floor:.1f} | {' | '.join(cells)} |")

    print("| µs (times the raw read) | raw read | read and hashed | Python | storage in C | all in C |")
    print("|---|---|---|---|---|---|")
    print_row("a small hit", "small floor", "", "small python", "small part", "small whole")
    for size in ("1 KB", "1 MB"):
        print_row(
            f"the storage's part, {size}", *(f"{size} {way}" for way in ("floor", "hashed", "python", "part")), ""
        )
        print_row(f"the same for a pickle, {size}", *(f"{size} {way}" for way in ("floor", "hashed", "buffer")), "", "")


def main() -> None:
    """Print the tables; the second where there is a compiler."""
    with tempfile.TemporaryDirectory(prefix="perscache-extension-") as folder:
        hit = Hit(Path(folder))
        print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores\n")
        print_steps(hit)
        extension = build(Path(folder))
        if extension is None:
            print(
                "There is no C compiler here, or no XXH3 in the library of xxhash: what an extension gains is left out."
            )
        else:
            print_gains(hit, extension)


if __name__ == "__main__":
    main()
