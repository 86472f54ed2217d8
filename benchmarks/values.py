"""The chapter of large values: arrays and frames, stored and back, beside numpy and pyarrow alone."""

from __future__ import annotations

from collections.abc import Iterator

from bench import Bench, Extent, Job
from findings import OURS, Findings, Target, markdown, size

ENVIRONMENTS = (OURS,)


def prepare(extent: Extent) -> list[Job]:
    """Nothing."""
    return []


def measure(bench: Bench) -> None:
    """Arrays and frames."""
    array, rows = bench.extent.array, bench.extent.rows
    bench.ask("keeper.py", *(f"{task} {array}" for task in ("array_back_alone", "array_back", "array_back_mapped")))
    bench.ask_once("keeper.py", f"array_memory {array}")
    frames = ("frame_write_alone", "frame_store", "frame_read_alone", "frame_hit")
    bench.ask("keeper.py", *(f"{task} {rows}" for task in frames))


def tables(found: Findings, extent: Extent) -> Iterator[str]:
    """One line a deed."""
    array, frame = f"array of {size(extent.array)}", f"frame of {extent.rows:,} rows"
    deeds = (
        (f"{array} back", "array_back", "array_back_alone", extent.array),
        (f"{array} back, mapped", "array_back_mapped", "array_back_alone", extent.array),
        (f"{frame} stored", "frame_store", "frame_write_alone", extent.rows),
        (f"{frame} back", "frame_hit", "frame_read_alone", extent.rows),
    )
    rows = [["", "perscache, ms", "numpy or pyarrow alone, ms"]]
    rows += [[title, *(found.cell(f"{task} {length}") for task in tasks)] for title, *tasks, length in deeds]
    yield markdown(rows)


def targets(found: Findings, extent: Extent) -> Iterator[Target]:
    """Of arrays and frames."""
    array, rows = extent.array, extent.rows
    title = f"array of {size(array)} back from disk"
    beside = found.ratio(f"array_back {array}", f"array_back_alone {array}")
    yield found.at_most(title, 1.1, beside, goal="`numpy.load`")
    yield found.at_most(f"{title}: peak memory", 1.1, found(f"array_memory {array}"), goal="the array")
    mapped = found.ratio(f"array_back_mapped {array}", f"array_back_alone {array}")
    yield found.at_most(f"{title}, mapped on request", 1.1, mapped, goal="`numpy.load`")
    for deed, ours, alone in (
        ("stored as parquet", "frame_store", "frame_write_alone"),
        ("back", "frame_hit", "frame_read_alone"),
    ):
        beside = found.ratio(f"{ours} {rows}", f"{alone} {rows}")
        yield found.at_most(f"frame of {rows:,} rows, {deed}", 1.1, beside, goal="pyarrow alone")
