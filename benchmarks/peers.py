"""The chapter of the peers: how fast a call is, and what is right, of each library that keeps results on disk."""

from __future__ import annotations

from collections.abc import Iterator

from bench import FLOOR, OLD, PEERS, Bench, Extent, Job
from findings import OURS, Findings, Target, markdown

ENVIRONMENTS = (OURS, *PEERS)
TIMES = {
    "small_hit": "small hit, µs",
    "small_miss": "small miss, µs",
    "array_hit 10000000": "hit, argument of 10 MB, µs",
}
FACTS = {
    "runs_for_eight": "runs for 8 callers",
    "runs_for_two_spellings": "runs for 2 spellings",
    "after_a_changed_array": "another array",
    "after_an_edited_helper": "an edited helper",
    "after_a_flipped_byte": "a flipped byte",
}
EXPLAINED = """\
The function takes three scalars and returns a small dict. "A file" is what none can be faster than: open, fstat, read,
close, unpickle; and pickle, create, write, close, rename. cashews has coroutines only, and is measured inside a loop.
Then: how often a slow function runs for eight callers that ask for one missing result together, and for `f(a, 5)` and
`f(a, size=5)`; what a call gives after one of two million numbers in its argument was changed, after a helper that the
function calls was edited, and after one byte of its stored result of 100 kB was flipped."""


def prepare(extent: Extent) -> list[Job]:
    """The facts take no times, and some libraries hang: in processes of their own."""
    return [Job("contestant.py", library, ("version", *FACTS), apart=True) for library in ENVIRONMENTS]


def measure(bench: Bench) -> None:
    """Small calls, and large arguments."""
    *small, _ = TIMES
    bench.ask("contestant.py", *small, of=(FLOOR, *ENVIRONMENTS))
    bench.ask("contestant.py", *(f"array_hit {size}" for size in bench.extent.arguments), of=ENVIRONMENTS)


def tables(found: Findings, extent: Extent) -> Iterator[str]:
    """One line a library."""
    rows = [["library", *TIMES.values(), *FACTS.values()]]
    for library in (OURS, *sorted(PEERS, key=lambda peer: order(found, peer)), FLOOR):
        title = library if library in (OLD, FLOOR) else f"{library} {found.cell('version', library)}"
        rows.append([title, *(found.cell(task, library) for task in (*TIMES, *FACTS))])
    yield markdown(rows)
    yield EXPLAINED


def order(found: Findings, library: str) -> float:
    """Libraries whose hits are fast come first."""
    hit = found("small_hit", library)
    return float("inf") if hit is None else hit.median


def targets(found: Findings, extent: Extent) -> Iterator[Target]:
    """Of small calls."""
    beside_file = found.ratio("small_hit", "small_hit", OURS, FLOOR)
    yield found.at_most("small hit, local files", 3, beside_file, goal="the file alone")
    for library, limit in (("diskcache", 4), ("joblib", 15)):
        faster = found.ratio("small_hit", "small_hit", library, OURS)
        yield found.at_least("the same", limit, faster, "× faster", f"than {library}")
    beside_diskcache = found.ratio("small_miss", "small_miss", OURS, "diskcache")
    yield found.at_most("small miss, local files, single flight on", 0.8, beside_diskcache, goal="diskcache's")
