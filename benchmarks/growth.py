"""The chapter of growth: what calls cost among more entries, with larger arguments, in more processes."""

from __future__ import annotations

from collections.abc import Iterator

from bench import FLOOR, PEERS, Bench, Extent, Job
from findings import OURS, Findings, Target, markdown, number, size

ENVIRONMENTS = (OURS, *PEERS)
CROWDS = (OURS, "joblib", "diskcache", "checkpointer")
"""The others have no threads, or hang in them, or take seconds for what these do in one."""


def prepare(extent: Extent) -> list[Job]:
    """Stores of many entries."""
    jobs = filling(extent)
    jobs += [
        Job("contestant.py", library, tuple(f"fill {entries} {extent.patience}" for entries in extent.entries))
        for library in PEERS
    ]
    return jobs


def filling(extent: Extent) -> list[Job]:
    """Ours: as many entries as there are goals for."""
    tasks = tuple(f"fill_together {entries}" for entries in extent.entries)
    return [Job("contestant.py", OURS, tasks, patience=600)]


def measure(bench: Bench) -> None:
    """Hits and stores among entries, and crowds; large arguments are in the chapter of the peers."""
    for entries in bench.extent.entries:
        bench.ask("contestant.py", f"hit_among {entries}", of=(*ENVIRONMENTS, FLOOR))
        bench.ask("contestant.py", f"store_among {entries}", of=ENVIRONMENTS)
    bench.ask("contestant.py", *(f"crowd {processes}" for processes in bench.extent.crowds), of=CROWDS)


def tables(found: Findings, extent: Extent) -> Iterator[str]:
    """One line a library, one column a size."""
    for title, task, libraries in (
        ("small hit of any, µs, among entries", "hit_among", (*ENVIRONMENTS, FLOOR)),
        ("small miss, µs, among entries", "store_among", ENVIRONMENTS),
    ):
        head = [title, *(f"{entries:,}" for entries in extent.entries)]
        tasks = [f"{task} {entries}" for entries in extent.entries]
        yield markdown([head, *([library, *(found.cell(each, library) for each in tasks)] for library in libraries)])
    seconds = found(f"fill_together {extent.entries[-1]}")
    if seconds is not None:
        yield (
            f"A dash: storing so many takes the library more than {extent.patience} s; diskcache did it in one "
            f"transaction. perscache took {number(seconds.median)} s for the most of them, with all cores."
        )
    head = ["hit, µs, argument of", *(size(length) for length in extent.arguments)]
    tasks = [f"array_hit {length}" for length in extent.arguments]
    yield markdown([head, *([library, *(found.cell(each, library) for each in tasks)] for library in ENVIRONMENTS)])
    head = ["calls a second, four of five are hits; processes of 4 threads", *map(str, extent.crowds)]
    tasks = [f"crowd {processes}" for processes in extent.crowds]
    yield markdown([head, *([library, *(found.cell(each, library) for each in tasks)] for library in CROWDS)])


def targets(found: Findings, extent: Extent) -> Iterator[Target]:
    """Of many processes."""
    one, *_, most = extent.crowds
    beside = found.ratio(f"crowd {most}", f"crowd {one}")
    title = f"{most} processes × 4 threads, mixed hits and misses"
    yield found.at_least(title, min(extent.cores, most), beside, goal="the calls of one process: scales with the cores")
