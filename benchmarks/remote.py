"""Measure perscache's remote storages beside the bare libraries that they ask with, against real servers here.

    python3 benchmarks/remote.py [--quick]

Counts the requests of a hit, a miss and a store, times them beside gcsfs, boto3, redis-py and azure-storage-blob,
looks up 1,000 keys on a server as far away as 20 ms, and computes 1,000 keys on a cluster of two Dask workers. Each
store has a process and an environment of its own, made here with pip, and its server; the rounds are interleaved, and
the median of all rounds counts. Azure's server needs npm, and is left out where that is missing. Prints Markdown tables
with the goals, and writes what was found beside this file as JSON, unless it was quick.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from process import HERE, Process, markdown, medians, start

CORE = str(HERE.parent / "perscache-core")
STORES = {
    store: [CORE, str(HERE.parent / f"perscache-{distribution}[testing]"), *further]
    for store, distribution, further in (
        ("gs", "gcs", []),
        ("s3", "s3", []),
        ("redis", "redis", ["distributed"]),
        ("az", "azure", []),
    )
}
KB, MB = 1_000, 1_000_000
ROUNDS = 7
ONCE = ("version", "requests_of_hit", "requests_of_miss", "requests_of_store")
TIMED = tuple(f"{task} {size}" for size in (KB, MB) for task in ("hit", "hit_alone", "call", "store", "store_alone"))
FAR_ONCE = ("far_one_by_one", "near_map")
FEW_ROUNDS = 3
FAR = ("far_map",)

Findings = dict[str, dict[str, Any]]
"""What was answered, by task and store."""


def measure(processes: dict[str, Process], *, quick: bool) -> Findings:
    """Ask for everything."""
    found: Findings = {}
    plan = ((ONCE, 1), (TIMED, 1 if quick else ROUNDS), (FAR_ONCE, 1), (FAR, 1 if quick else FEW_ROUNDS))
    for tasks, rounds in plan:
        begin = time.monotonic()
        for store, answers in medians(processes, tasks, rounds).items():
            for task, answer in answers.items():
                found.setdefault(task, {})[store] = answer
        say(begin, *tasks)
    begin = time.monotonic()
    found["cluster"] = processes["redis"].ask("cluster")
    say(begin, "cluster")
    return found


def say(begin: float, *tasks: str) -> None:
    """Tell on stderr how long it took."""
    print(f"{time.monotonic() - begin:6.1f} s  {', '.join(tasks)}", file=sys.stderr)


class Row(NamedTuple):
    """A line of the table: a task, and another beside it."""

    title: str
    task: str
    beside: str = ""
    goal: str = ""
    faster: bool = False
    """Whether the task is to be faster than what stands beside it."""


def rows() -> Iterator[Row]:
    """The lines of the table."""
    yield Row("requests of a hit", "requests_of_hit", goal="1")
    yield Row("requests of a look-up that misses", "requests_of_miss", goal="1")
    yield Row("requests of a store", "requests_of_store", goal="1")
    for title, size in (("1 KB", KB), ("1 MB", MB)):
        yield Row(f"hit of {title}, ms (beside the library)", f"hit {size}", f"hit_alone {size}")
        yield Row(f"call that hits, {title}, ms (beside the library)", f"call {size}", f"hit_alone {size}")
        yield Row(f"store of {title}, ms (beside the library)", f"store {size}", f"store_alone {size}")
    yield Row("1,000 keys one by one, 20 ms away, s", "far_one_by_one")
    goal = "20 × faster than one by one"
    yield Row("the same by `map`, s", "far_map", "far_one_by_one", goal, faster=True)
    yield Row("the same by `map`, server near, s", "near_map")


def table(found: Findings) -> str:
    """The findings in Markdown, one column a store."""

    def cell(row: Row, store: str) -> str:
        ours = found[row.task][store]
        text = f"{ours}" if isinstance(ours, int) else f"{ours:.3g}"
        if not row.beside:
            return text
        other = found[row.beside][store]
        return f"{text} ({other / ours:.1f} × faster)" if row.faster else f"{text} ({ours / other:.2f} ×)"

    stores = list(found["version"])
    lines = [["", *(f"{store}: {found['version'][store]}" for store in stores), "goal"]]
    lines += [[row.title, *(cell(row, store) for store in stores), row.goal] for row in rows()]
    return markdown(lines)


def cluster(found: Findings) -> str:
    """The findings of the cluster in Markdown."""
    ways = ("plain", "half cached", "all cached")
    goals = ("", "500 computations", "none")
    head = ["1,000 keys of 30 ms on two Dask workers", "computations", "seconds", "goal"]
    answers = found["cluster"]
    lines = [
        [way, str(answers[f"{way} computations"]), f"{answers[f'{way} seconds']:.1f}", goal]
        for way, goal in zip(ways, goals, strict=True)
    ]
    return markdown([head, *lines])


def notes(load: float) -> str:
    """How it was taken."""
    return f"""\
Medians of {ROUNDS} interleaved rounds of 10 calls; of {FEW_ROUNDS} for `map` far away; everything else once.
{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}; {load:.1f} processes wanted to run
in the minute before.

The servers are fake-gcs-server, moto, redis-server and azurite, on the same machine: moto and azurite take longer to
answer than the libraries take to ask, and `map` is as fast as they are. "Hit" and "store" are the storage's part, with
the checksum and all that is known of an entry; "call" is a call of a cached function. One by one is 50 keys,
times 20. Far away is a relay that passes on after 20 ms. The cluster shares `redis`; each computation takes a
lease there."""


def main() -> None:
    """Measure, print, write."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="one round: to see that it works")
    quick = options.parse_args().quick
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        stores = {store: STORES[store] for store in STORES if store != "az" or shutil.which("npm")}
        processes = start("courier.py", stores, Path(folder))
        say(begin, "environments")
        found = measure(processes, quick=quick)
        for process in processes.values():
            process.end()
    print(table(found), cluster(found), notes(load), sep="\n\n")
    if not quick:
        written = {"rounds": ROUNDS, "cores": os.cpu_count(), "load": round(load, 1), "answers": found}
        (HERE / "remote.json").write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
