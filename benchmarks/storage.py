"""Measure perscache's local files beside diskcache and joblib: hits, misses, limits, clean-up, listing, big values.

    python3 benchmarks/storage.py [--quick] [--entries 1000000]

Each library runs in a process and an environment of its own, made here with pip; the rounds are interleaved, and the
median of all rounds counts. What takes long is measured once. Works in the folder for temporary files (TMPDIR), which
should be on a disk, and removes everything. Prints a Markdown table with the goals, and writes what was found beside
this file as JSON, unless it was quick.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from process import HERE, Process, markdown, medians, start

LIBRARIES = {
    "perscache": [*(str(HERE.parent / f"perscache-{name}") for name in ("core", "numpy", "parquet")), "pandas"],
    "diskcache": ["diskcache", "numpy"],
    "joblib": ["joblib", "numpy"],
}
OURS, DISKCACHE, JOBLIB = LIBRARIES
FEW, KB, MB, GB = 1_000, 1_000, 1_000_000, 1_000_000_000


class Extent(NamedTuple):
    """How much is measured."""

    rounds: int
    most: int
    """Entries of the largest store."""
    array: int
    """Bytes."""
    rows: int
    processes: int

    @property
    def many(self) -> int:
        """Entries of the largest store of a peer."""
        return self.most // 10


FULL = Extent(rounds=7, most=1_000_000, array=GB, rows=1_000_000, processes=8)
QUICK = Extent(rounds=1, most=20_000, array=10_000_000, rows=10_000, processes=2)


class Findings:
    """What each library answered to each task, or to each part of it."""

    def __init__(self, processes: dict[str, Process], rounds: int) -> None:
        self.answers: dict[str, dict[str, Any]] = {}
        self._processes = processes
        self._rounds = rounds

    def ask(self, *tasks: str, of: tuple[str, ...] = tuple(LIBRARIES), once: bool = False) -> None:
        """The median of interleaved rounds, or the answer to asking ``once``."""
        begin = time.monotonic()
        asked = {library: self._processes[library] for library in of}
        found: dict[str, dict[str, Any]]
        if once:
            found = {library: {task: process.ask(task) for task in tasks} for library, process in asked.items()}
        else:
            found = medians(asked, tasks, self._rounds)
        for library, answers in found.items():
            for task, answer in answers.items():
                several = answer if isinstance(answer, dict) else {"": answer}
                for part, value in several.items():
                    self.answers.setdefault(f"{task} {part}".strip(), {})[library] = value
        print(f"{time.monotonic() - begin:6.1f} s  {', '.join(tasks)}", file=sys.stderr)

    def __call__(self, task: str | None, library: str = OURS) -> Any:
        """An answer, ours unless said otherwise; None where nobody was asked, or had none."""
        return self.answers.get(task or "", {}).get(library)


def measure(found: Findings, extent: Extent) -> None:
    """Ask for everything."""
    found.ask("version", once=True)
    found.ask("small_hit", "raw_small_hit", "small_miss", f"hit {KB}", f"hit {MB}")
    found.ask(f"raw {KB}", f"load {KB}", f"load_limited {KB}", f"raw {MB}", f"load {MB}", of=(OURS,))
    found.ask("crowd 1", f"crowd {extent.processes}")
    found.ask(f"array_alone {extent.array}", f"array_hit {extent.array}")
    found.ask(f"array_memory {extent.array}", of=(OURS,), once=True)
    for tasks in (("frame_write_alone", "frame_store"), ("frame_read_alone", "frame_hit")):
        found.ask(*(f"{task} {extent.rows}" for task in tasks), of=(OURS,))
    for entries in (FEW, extent.many, extent.most):
        limited = (OURS,) if entries == extent.most else (OURS, DISKCACHE)
        found.ask(f"fill {entries}", of=tuple(LIBRARIES) if entries == extent.many else limited, once=True)
        found.ask(f"store_below {entries}", f"store_at_limit {entries}", of=limited)
        found.ask(f"longest_pause {entries}", of=limited, once=True)
        found.ask(f"hits {entries}", of=(OURS,))
        found.ask(f"overshoot {entries}", of=(OURS,), once=True)
    found.ask(f"overshoot_of_writers {FEW}", f"stats_an_eviction {extent.most}", of=(OURS,), once=True)
    found.ask(f"listing {extent.most}", f"clear {extent.most}", of=(OURS,), once=True)
    found.ask(f"shrink {extent.many}", of=(OURS, JOBLIB), once=True)
    found.ask(f"clear {extent.many}", once=True)


class Row(NamedTuple):
    """A line of the table."""

    title: str
    task: str
    beside: str | None = None
    """The task of our own process to compare with."""
    goal: str = ""
    reached: str = ""


def rows(found: Findings, extent: Extent) -> Iterator[Row]:
    """The lines of the table."""

    def times(task: str, other: str, library: str = OURS) -> str:
        return f"{found(task) / found(other, library):.2f} ×"

    def faster(library: str) -> str:
        return f"{found('small_hit', library) / found('small_hit'):.1f} ×"

    goal = "3 × reading and unpickling alone; 4 × faster than diskcache, 15 × than joblib"
    reached = f"{times('small_hit', 'raw_small_hit')}; {faster(DISKCACHE)}, {faster(JOBLIB)}"
    yield Row("small hit, µs", "small_hit", "raw_small_hit", goal, reached)
    yield Row("small miss, µs", "small_miss", None, "0.8 of diskcache's", times("small_miss", "small_miss", DISKCACHE))
    yield Row("hit, 1 KB, µs", f"hit {KB}")
    yield Row("hit, 1 MB, µs", f"hit {MB}")
    for title, length, goal in (("1 KB", KB, "1.4"), ("1 MB", MB, "1.3")):
        ours, alone = f"load {length}", f"raw {length}"
        yield Row(f"storage's part of a hit, {title}, µs", ours, alone, f"{goal} × reading", times(ours, alone))
    ours, without = f"load_limited {KB}", f"load {KB}"
    yield Row("the same with a limit, 1 KB, µs", ours, without, "no dearer than without", times(ours, without))
    for entries in (FEW, extent.many, extent.most):
        yield from rows_of_store(entries, extent, times)
    yield Row("the same, four processes storing", f"overshoot_of_writers {FEW}", goal="1 a writer")
    yield Row("entries asked about, an eviction", f"stats_an_eviction {extent.most}", goal="12")
    yield Row(f"{extent.many:,} entries brought down to half, s", f"shrink {extent.many}")
    listing, clear = f"listing {extent.most}", f"clear {extent.most}"
    yield Row(f"listing {extent.most:,}: first entry, ms", f"{listing} first", goal="at once")
    yield Row(f"listing {extent.most:,}: all, s", f"{listing} all", goal="15 s")
    yield Row(f"listing {extent.most:,}: memory, MiB", f"{listing} memory", goal="constant")
    yield Row(f"clear of {extent.many:,} returns, ms", f"clear {extent.many} returns")
    yield Row(f"clear of {extent.most:,} returns, ms", f"{clear} returns", goal="50 ms")
    for part in ("median", "99 %"):
        meanwhile, before = f"{clear} {part} meanwhile", f"{clear} {part} before"
        title = f"storage's part of a hit while they are deleted, {part}, µs"
        yield Row(title, meanwhile, before, "undisturbed", times(meanwhile, before))
    alone, together = "crowd 1", f"crowd {extent.processes}"
    goal = f"with the cores, {min(os.cpu_count() or 1, extent.processes)} ×"
    yield Row("calls a second, 1 process, 4 threads", alone)
    title = f"calls a second, {extent.processes} processes, 4 threads each"
    yield Row(title, together, alone, goal, times(together, alone))
    ours, alone = f"array_hit {extent.array}", f"array_alone {extent.array}"
    title = f"array of {extent.array / GB:g} GB back, ms"
    yield Row(title, ours, alone, "1.1 × `numpy.load`", times(ours, alone))
    yield Row("its memory, of its size", f"array_memory {extent.array}", goal="1.1")
    frames = {"stored": ("frame_store", "frame_write_alone"), "back": ("frame_hit", "frame_read_alone")}
    for deed, tasks in frames.items():
        ours, alone = (f"{task} {extent.rows}" for task in tasks)
        yield Row(f"frame of {extent.rows:,} rows {deed}, ms", ours, alone, "1.1 × pyarrow", times(ours, alone))


def rows_of_store(entries: int, extent: Extent, times: Callable[[str, str], str]) -> Iterator[Row]:
    """The lines of a store of that many entries; the largest one has goals."""
    below, at_limit, hits = (f"{task} {entries}" for task in ("store_below", "store_at_limit", "hits"))
    goals = ("4 × a store below", "100 ms", f"as among {FEW:,}") if entries == extent.most else ("", "", "")
    yield Row(f"store among {entries:,} entries, below the limit, µs", below)
    yield Row(f"store among {entries:,}, at the limit, µs", at_limit, below, goals[0], times(at_limit, below))
    yield Row(f"longest pause among {entries:,}, ms", f"longest_pause {entries}", goal=goals[1])
    hits_reached = times(hits, f"hits {FEW}")
    yield Row(f"storage's part of a hit among {entries:,}, µs", hits, goal=goals[2], reached=hits_reached)
    yield Row(f"entries beyond a limit of {entries:,}", f"overshoot {entries}", goal="1 a writer")


def table(found: Findings, extent: Extent) -> str:
    """The findings in Markdown, with the goals."""

    def cell(value: float | None) -> str:
        if value is None:
            return ""
        return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"

    head = [
        "",
        *(f"{library} {found('version', library)}" for library in LIBRARIES),
        "beside",
        "goal, at most",
        "reached",
    ]
    body: list[list[str]] = []
    for row in rows(found, extent):
        cells = [*(cell(found(row.task, library)) for library in LIBRARIES), cell(found(row.beside))]
        body.append([row.title, *cells, row.goal, row.reached])
    return markdown([head, *body])


def notes(found: Findings, extent: Extent) -> str:
    """What was asked of whom, and how."""
    ours, diskcache, joblib = (found(f"fill {extent.many}", library) for library in LIBRARIES)
    return f"""\
Medians of {extent.rounds} interleaved rounds; filling, listing, clean-up, memory and overshoot once.
{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}.

Stores of many entries hold 100 bytes each: perscache's `LocalFileStorage`, with what is known of each entry, and
diskcache's `Cache(eviction_policy="least-recently-used")`. Filling them took {ours:.0f} µs an entry, in diskcache
{diskcache:.0f} µs in one transaction, through joblib's decorator {joblib:.0f} µs. joblib has no limit that a store
keeps to: `reduce_size` is called by hand. The peers were not asked for {extent.most:,} entries: storing them
would take joblib {joblib * extent.most / 60e6:.0f} minutes, and the goals there are none of theirs."""


def check_room(folder: str, entries: int) -> None:
    """SystemExit where the disk has no room for so many files."""
    if not hasattr(os, "statvfs"):
        return
    disk = os.statvfs(folder)
    needed, free = 5 * entries // 2, disk.f_favail or sys.maxsize  # some file systems do not count them
    if free < needed or disk.f_bavail * disk.f_frsize < 6000 * entries + 20 * GB:
        raise SystemExit(
            f"{folder} has room for {free:,} files and {disk.f_bavail * disk.f_frsize / GB:,.0f} GB: {needed:,} and "
            f"{6000 * entries / GB + 20:,.0f} GB are needed; set TMPDIR to another disk, or ask for fewer --entries"
        )


def main() -> None:
    """Measure, print, write."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="small sizes, one round: to see that it works")
    options.add_argument("--entries", type=int, help="of the largest store")
    asked = options.parse_args()
    extent = QUICK if asked.quick else FULL
    if asked.entries:
        extent = extent._replace(most=asked.entries)
    with tempfile.TemporaryDirectory() as folder:
        if not asked.quick:
            check_room(folder, extent.most)
        processes = start("keeper.py", LIBRARIES, Path(folder))
        found = Findings(processes, extent.rounds)
        measure(found, extent)
        for process in processes.values():
            process.end()
    print(table(found, extent), notes(found, extent), sep="\n\n")
    if not asked.quick:
        written = {"extent": extent._asdict(), "cores": os.cpu_count(), "answers": found.answers}
        (HERE / "storage.json").write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
