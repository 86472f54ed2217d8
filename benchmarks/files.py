"""The chapter of local files: a hit's storage part, limits, listing and clearing of many entries."""

from __future__ import annotations

from collections.abc import Iterator

import growth
from bench import Bench, Extent, Job
from findings import OURS, Findings, Target, markdown

ENVIRONMENTS = (OURS,)
KB, MB = 1_000, 1_000_000


def prepare(extent: Extent) -> list[Job]:
    """The stores that growth measures, too."""
    return growth.filling(extent)


def measure(bench: Bench) -> None:
    """The clearing comes last: it ends the largest store."""
    few, *_, most = bench.extent.entries
    sizes = (f"{task} {length}" for length in (KB, MB) for task in ("raw", "load", "load_limited"))
    bench.ask("keeper.py", *sizes)
    bench.ask_once("keeper.py", f"new_limit {few}", f"new_limit {most}")
    bench.ask(
        "keeper.py",
        *(f"{task} {n}" for task in ("store_below", "store_at_limit", "hits_at_limit") for n in (few, most)),
    )
    bench.ask_once("keeper.py", *(f"{task} {n}" for task in ("longest_pause", "overshoot") for n in (few, most)))
    bench.ask_once("keeper.py", f"overshoot_of_writers {few}", f"stats_an_eviction {most}", f"listing {most}")
    bench.ask_once("keeper.py", f"clear {most}")


def tables(found: Findings, extent: Extent) -> Iterator[str]:
    """The storage's part alone, and among entries."""
    rows = [["a hit's storage part, µs", "perscache", "with a limit", "open, fstat, read, close"]]
    for title, length in (("1 KB", KB), ("1 MB", MB)):
        rows.append([title, *(found.cell(f"{task} {length}") for task in ("load", "load_limited", "raw"))])
    yield markdown(rows)
    few, *_, most = extent.entries
    rows = [["among entries", f"{few:,}", f"{most:,}"]]
    for title, task in (
        ("store below the limit, µs", "store_below"),
        ("store at the limit, µs", "store_at_limit"),
        ("longest store at the limit, ms", "longest_pause"),
        ("longest of the first 20 stores under a limit that is new, ms", "new_limit"),
        ("storage part of a hit at the limit, µs", "hits_at_limit"),
    ):
        rows.append([title, *(found.cell(f"{task} {entries}") for entries in (few, most))])
    yield markdown(rows)


def targets(found: Findings, extent: Extent) -> Iterator[Target]:
    """Of files."""
    for title, length, limit in (("1 KB", KB, 1.4), ("1 MB", MB, 1.3)):
        beside = found.ratio(f"load {length}", f"raw {length}")
        yield found.at_most(f"a hit's storage part, {title}", limit, beside, goal="reading alone")
    few, *_, most = extent.entries
    among = f"with {most:,} entries"
    beside = found.ratio(f"store_at_limit {most}", f"store_below {most}")
    yield found.at_most(f"store at the limit, {among}", 4, beside, goal="a store below it")
    yield found.at_most("the same: longest pause", 100, found(f"longest_pause {most}"), "ms")
    yield found.at_most("the same: stats an eviction", 12, found(f"stats_an_eviction {most}"), "")
    title = "the same: entries beyond the limit"
    yield found.at_most(f"{title}, one writer", 1, found(f"overshoot {most}"), "")
    yield found.at_most(f"{title}, four writers", 4, found(f"overshoot_of_writers {few}"), "", "(one each)")
    title = f"a hit's storage part at the limit, {among}"
    beside = found.ratio(f"hits_at_limit {most}", f"hits_at_limit {few}")
    yield found.at_most(title, 1.1, beside, goal=f"the same with {few:,}")
    beside = found.ratio(f"load_limited {KB}", f"load {KB}")
    yield found.at_most("a hit's storage part, with a limit", 1.05, beside, goal="without")
    listing, clear = f"listing {most}", f"clear {most}"
    yield found.at_most(f"listing {most:,} entries", 15, found(f"{listing} all"), "s")
    yield found.at_most("the same: first entry", 100, found(f"{listing} first"), "ms")
    yield found.at_most("the same: memory", 16, found(f"{listing} memory"), "MiB")
    yield found.at_most(f"`clear()` of {most:,} entries returns", 50, found(f"{clear} returns"), "ms")
    beside = found.ratio(f"{clear} median meanwhile", f"{clear} median before")
    yield found.at_most("the same: hits while they are deleted", 1.1, beside, goal="before")
