"""The chapter of keys: how fast they are made, beside joblib's and beside the hash alone."""

from __future__ import annotations

from collections.abc import Iterator

from bench import Bench, Extent, Job
from findings import OURS, Findings, Target, markdown, size

ENVIRONMENTS = (OURS, "joblib")
ASKED = """\
Asked: perscache `f.cache.key(…)`, which binds, checks the code and gives the whole key; joblib
`f.check_call_in_cache(…)` of its decorated function for the call, which also looks into its folder, and
`joblib.hash(…)` for all else."""


def values(extent: Extent) -> dict[str, str]:
    """What is keyed by both: the task and its title."""
    return {
        "key_of_scalars": "a call with three scalars, µs",
        f"key_of_array {extent.keyed}": f"a contiguous array of {size(extent.keyed)}, ms",
        f"key_of_frame {extent.rows}": f"a frame of {extent.rows:,} rows, 6 mixed columns, ms",
        f"key_of_dict {extent.leaves}": f"a nested dict of {extent.leaves:,} leaves, ms",
    }


def side(extent: Extent) -> int:
    """Of an array whose key is watched for memory: a GiB in full."""
    return 8192 if extent.keyed >= 10**8 else 1024


def prepare(extent: Extent) -> list[Job]:
    """Nothing."""
    return []


def measure(bench: Bench) -> None:
    """Keys of both, and the hash alone."""
    bench.ask("keymaker.py", *values(bench.extent), of=ENVIRONMENTS)
    bench.ask("keymaker.py", "first_key")
    bench.ask_once("keymaker.py", f"memory_of_key {side(bench.extent)}")


def tables(found: Findings, extent: Extent) -> Iterator[str]:
    """One line a value."""
    rows = [["key of", *ENVIRONMENTS, "blake3 alone"]]
    for task, title in values(extent).items():
        cells = (found.cell(task, library) for library in ENVIRONMENTS)
        rows.append([title, *cells, found.cell(f"{task} blake3")])
    yield markdown(rows)
    yield ASKED


def targets(found: Findings, extent: Extent) -> Iterator[Target]:
    """Of keys."""
    scalars, array, frame, nested = values(extent)
    yield found.at_most("key of a call with three scalars", 5, found(scalars), "µs")
    yield found.at_least("the same", 20, found.ratio(scalars, scalars, "joblib", OURS), "× faster", "than joblib")
    title = f"key of an array of {size(extent.keyed)}"
    beside = found.ratio(f"{array} blake3", array)
    yield found.at_least(title, 0.8, beside, "×", "the speed of `blake3` alone")
    yield found.at_least("the same", 5, found.ratio(array, array, "joblib", OURS), "× faster", "than `joblib.hash`")
    yield found.at_most(f"key of a frame of {extent.rows:,} rows, 6 mixed columns", 30, found(frame), "ms")
    yield found.at_least("the same", 10, found.ratio(frame, frame, "joblib", OURS), "× faster", "than `joblib.hash`")
    title = f"key of a nested dict of {extent.leaves:,} leaves"
    yield found.at_least(title, 4, found.ratio(nested, nested, "joblib", OURS), "× faster", "than `joblib.hash`")
    yield found.at_most("first key of a function with 300 helpers in 40 modules", 2000, found("first_key"), "ms")
    length = 16 * side(extent) ** 2 / 2**30
    title = f"memory for the key of an array of {length:g} GiB in Fortran's order"
    yield found.at_most(title, 64, found(f"memory_of_key {side(extent)}"), "MiB", "on top of it")
