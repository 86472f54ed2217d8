"""The chapter of calls: what a hit of perscache costs in each way of calling, what it asks the system for, imports."""

from __future__ import annotations

from collections.abc import Iterator

from bench import Bench, Extent, Job
from findings import MISSING, OURS, Findings, Measure, Target, markdown, number

ENVIRONMENTS = (OURS,)
HITS = {
    "hit": "from a file",
    "limited_hit": "from a file, with `max_size`",
    "memory_hit": "from memory",
    "async_hit": "of a coroutine function, from a file",
    "observed_hit": "from a file, told to an observer that does nothing",
}
IMPORTS = ("import_package", "import_package_parts", "import_cache", "import_cache_parts")
COUNTED = (
    "libraries",
    "system_calls",
    "marks",
    "observers_on_a_hit",
    "heavy_imports",
    "heavy_imports_of_parquet",
    "scans",
)


def prepare(extent: Extent) -> list[Job]:
    """What is counted."""
    return [Job("caller.py", OURS, COUNTED)]


def measure(bench: Bench) -> None:
    """Hits, imports and the crowd of one key."""
    bench.ask("caller.py", *HITS, "look_for_observers")
    bench.ask("caller.py", *IMPORTS)
    bench.ask("caller.py", f"awaits {bench.extent.awaits}")


def tables(found: Findings, extent: Extent) -> Iterator[str]:
    """The hits."""
    if found.once("system_calls names") is None:
        yield "System calls were not counted: strace is missing here, or forbidden."
    yield f"Installed with perscache: {found.cell('libraries')}."
    yield markdown([["a small hit of perscache", "µs"], *([title, found.cell(task)] for task, title in HITS.items())])


def targets(found: Findings, extent: Extent) -> Iterator[Target]:
    """Of calls and imports."""
    yield found.at_most("small hit, memory storage", 0.6, found.ratio("memory_hit", "hit"), goal="the file hit")
    yield found.at_most("small hit, async", 3, found.difference("async_hit", "hit"), "µs", "more than the sync one")
    yield found.exactly("system calls of a local hit", "system_calls names", "open, fstat, read, close")
    yield found.exactly("marks of use that 100 hits of an entry leave within an hour", "marks", 1)
    yield found.at_most("hit with `max_size`", 1.05, found.ratio("limited_hit", "hit"), goal="a hit without")
    yield observer(found)
    computations, longest = (found(f"awaits {extent.awaits} {part}") for part in ("computations", "longest"))
    title = f"{extent.awaits:,} concurrent awaits of one missing key"
    once = None if computations is None else computations == Measure(1, 0)
    yield Target(f"{title}: computations", "1", MISSING if computations is None else str(computations), once)
    yield found.at_most(f"{title}: longest step of the loop", 5, longest, "ms")
    for task, statement in (("import_package", "import perscache"), ("import_cache", "from perscache import Cache")):
        beside = found.ratio(task, f"{task}_parts")
        yield found.at_most(f"`{statement}`", 1.6, beside, goal="what it imports")
    heavy = "asyncio, cloudpickle, email, pandas, pyarrow, fsspec, yaml"
    yield found.exactly(f"the same: what it loads of {heavy}", "heavy_imports", "none")
    title = '`Cache("parquet", "memory://")`: '
    yield found.exactly(f"{title}what it loads of pandas, pyarrow", "heavy_imports_of_parquet", "none")
    yield found.exactly(f"{title}scans of metadata", "scans", 1)


def observer(found: Findings) -> Target:
    """What a hit does for observers when there is none: below what two runs differ by."""
    title, goal = "overhead of an observer that nobody installed", "at most 2 % of a hit"
    looked, hit = found("look_for_observers"), found("hit")
    if looked is None or hit is None:
        return Target(title, goal, MISSING, None)
    functions = found.cell("observers_on_a_hit")
    reached = f"{number(looked.median)} µs of {number(hit.median)} µs, {functions} function run"
    return Target(title, goal, reached, looked.median <= 0.02 * hit.median)
