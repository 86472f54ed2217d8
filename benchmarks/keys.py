"""Compare the keys of perscache with those of joblib, dask and checkpointer: how fast they are, and how many are wrong.

    python3 benchmarks/keys.py

Each library runs in a process and an environment of its own, made here with pip; the rounds are interleaved, and the
median of all rounds counts. Prints Markdown tables, and writes what they hold beside this file as JSON. Needs a system
that forks.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from process import HERE, markdown, medians, start

ROUNDS = 7
LIBRARIES = {
    "perscache": str(HERE.parent / "perscache-core"),
    "joblib": "joblib",
    "dask": "dask",
    "checkpointer": "checkpointer",
}
# pytest, since the cases are those of our own tests; the others, since values are theirs.
BESIDES = ["numpy", "pandas", "pyarrow", "polars", "xarray", "scipy", "pytest"]
TIMES = {
    "three_scalars": "a call with three scalars, µs",
    "three_scalars_alone": "three scalars, `joblib.hash` alone, µs",
    "array": "a contiguous array of 100 MB, ms",
    "blake3_alone": "`blake3` alone on its buffer, as many threads, ms",
    "frame": "a frame of 1,000,000 rows, 6 mixed columns, ms",
    "nested_dict": "a nested dict of 100,000 leaves, ms",
    "first_key": "first key of a function with 300 helpers in 40 modules, ms",
}
KINDS = ("wrong hits", "needless misses", "no key")
ASKED = """\
Asked: perscache `f.cache.key(…)`, which binds, checks the code and gives the whole key; joblib
`f.check_call_in_cache(…)` of its decorated function for the call, which also looks into its folder, and
`joblib.hash(…)` for all else; dask `dask.base.tokenize(…)`, which knows arguments only; checkpointer
`f.get_call_hash(…)` of its decorated function."""
COUNTED = """\
Wrong hits / needless misses / no key (an error, or nothing within three seconds), of so many pairs of programs or
values. Pairs about ways that only perscache has (its settings, `__cache_key__`) are left out for the others."""

# Prints by how many MiB the peak of memory grows while an array of 1 GiB in Fortran's order is keyed.
MEMORY = """
import resource, sys
import numpy as np
from perscache import Cache

@Cache(storage="memory://")
def f(a):
    return a

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)

f.cache.key(np.ones((600, 900), order="F"))
array = np.ones((8192, 16384), order="F")
before = peak()
f.cache.key(array)
print(peak() - before)
"""


def compare(folder: Path) -> dict[str, dict[str, Any]]:
    """What was found of each library: its version, the median of each time, its wrong answers; and our memory."""
    processes = start("keymaker.py", {library: [source, *BESIDES] for library, source in LIBRARIES.items()}, folder)
    found: dict[str, dict[str, Any]] = {
        library: {"version": process.ask("version"), "answers": process.ask("answers")}
        for library, process in processes.items()
    }
    for library, times in medians(processes, TIMES, ROUNDS).items():
        found[library] |= times
    for process in processes.values():
        process.end()
    found["perscache"]["memory"] = extra_memory(processes["perscache"].python)
    return found


def extra_memory(python: Path) -> float | str:
    """MiB on top of an array of 1 GiB that its key takes, or why that is not known."""
    available = Path("/proc/meminfo")
    if available.exists():
        facts = dict(line.split(":") for line in available.read_text().splitlines())
        if (free := int(facts["MemAvailable"].split()[0]) >> 10) < 2048:
            return f"skipped: {free:,} MiB of memory are free, 2,048 are needed"
    done = subprocess.run([python, "-c", MEMORY], capture_output=True, text=True, check=False)
    if done.returncode:
        return f"skipped: {(done.stderr.splitlines() or [f'ended with {done.returncode}'])[-1]}"
    return float(done.stdout)


def times(found: dict[str, dict[str, Any]]) -> str:
    """The times in Markdown, one column a library."""
    rows = [["", *(f"{library} {facts['version']}" for library, facts in found.items())]]
    rows += [
        [title, *("–" if facts[task] is None else f"{facts[task]:,.1f}" for facts in found.values())]
        for task, title in TIMES.items()
    ]
    memory = found["perscache"]["memory"]
    cell = memory if isinstance(memory, str) else f"{memory:,.1f}"
    rows.append(["memory on top of an array of 1 GiB in Fortran's order, MiB", cell, *["–"] * (len(found) - 1)])
    return markdown(rows)


def answers(found: dict[str, dict[str, Any]]) -> str:
    """The wrong answers in Markdown, one column a library."""

    def cell(counts: dict[str, int] | None) -> str:
        if counts is None:
            return "–"
        return f"{' / '.join(str(counts[kind]) for kind in KINDS)} of {counts['cases']}"

    rows = [["", *found]]
    rows += [
        [group, *(cell(facts["answers"].get(group)) for facts in found.values())]
        for group in found["perscache"]["answers"]
    ]
    rows.append(["all", *(cell(total(facts["answers"])) for facts in found.values())])
    return markdown(rows)


def total(groups: dict[str, dict[str, int]]) -> dict[str, int]:
    """The counts of all groups together."""
    return {kind: sum(counts[kind] for counts in groups.values()) for kind in (*KINDS, "cases")}


def goals(found: dict[str, dict[str, Any]]) -> str:
    """What was aimed at beside what was reached, in Markdown."""
    ours, joblib = found["perscache"], found["joblib"]

    def faster(task: str) -> str:
        return f"{joblib[task] / ours[task]:.1f} ×"

    answered = " / ".join(str(total(ours["answers"])[kind]) for kind in KINDS)
    memory = ours["memory"]
    rows = [
        ["goal", "reached"],
        ["three scalars: under 5 µs", f"{ours['three_scalars']:.1f} µs"],
        ["three scalars: 20 × faster than joblib's", faster("three_scalars")],
        ["array: 0.8 of the speed of `blake3` alone", f"{ours['blake3_alone'] / ours['array']:.2f}"],
        ["array: over 5 × faster than `joblib.hash`", faster("array")],
        ["frame: under 30 ms", f"{ours['frame']:.1f} ms"],
        ["frame: 10 × faster than `joblib.hash`", faster("frame")],
        ["nested dict: 4 × faster than `joblib.hash`", faster("nested_dict")],
        ["first key: under 2,000 ms", f"{ours['first_key']:,.0f} ms"],
        ["memory: under 64 MiB", memory if isinstance(memory, str) else f"{memory:.1f} MiB"],
        ["wrong hits, needless misses, values without a key: none", answered],
    ]
    return markdown(rows)


def main() -> None:
    """Compare, print, write."""
    with tempfile.TemporaryDirectory() as folder:
        found = compare(Path(folder))
    print(times(found), ASKED, answers(found), COUNTED, goals(found), sep="\n\n")
    (HERE / "keys.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
