"""Compare perscache with those that keep results on disk: how fast a call is, and what is right.

    python3 benchmarks/compare.py

Each library runs in a process and an environment of its own, made here with pip; the rounds are interleaved, and the
median of all rounds counts. Prints the table of the README, and writes it beside this file as JSON and as a plot.
"""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import Any

from process import HERE, markdown, medians, start

ROUNDS = 9
LIBRARIES = {
    "perscache": str(HERE.parent / "perscache-core"),
    "diskcache": "diskcache",
    "joblib": "joblib",
    "checkpointer": "checkpointer",
    "cachier": "cachier",
    "dogpile.cache": "dogpile.cache",
    "klepto": "klepto",
    "perscache 0.7.1": "perscache==0.7.1",
}
TIMES = {
    "small_hit": "small hit, µs",
    "small_miss": "small miss, µs",
    "array_hit": "hit, argument of 16 MB, µs",
}
FACTS = {
    "computations_for_eight_callers": "runs for 8 threads",
    "spellings_of_one_call": "runs for 2 spellings",
    "after_a_changed_array": "another array",
    "after_an_edited_helper": "an edited helper",
    "after_a_flipped_byte": "a flipped byte",
}


def compare(folder: Path) -> dict[str, dict[str, Any]]:
    """What was found of each library: its version, the median of each time, and each fact."""
    processes = start("contestant.py", {library: ["numpy", source] for library, source in LIBRARIES.items()}, folder)
    *small, array = TIMES
    times = medians(processes, small, ROUNDS)
    # Apart from the others: some keep the whole argument, after which each of their stores takes longer.
    for library, taken in medians(processes, [array], ROUNDS).items():
        times[library] |= taken
    found = {
        library: {"version": process.ask("version")} | times[library] | {task: process.ask(task) for task in FACTS}
        for library, process in processes.items()
    }
    for process in processes.values():
        process.end()
    return found


def table(found: dict[str, dict[str, Any]]) -> str:
    """The findings in Markdown, one line a library."""
    rows = [["", *TIMES.values(), *FACTS.values()]]
    for name, facts in found.items():
        library = name if name[-1].isdigit() else f"{name} {facts['version']}"
        rows.append([library, *(f"{facts[task]:,.0f}" for task in TIMES), *(str(facts[task]) for task in FACTS)])
    return markdown(rows)


def plot(found: dict[str, dict[str, Any]]) -> str:
    """The times as an SVG of bars on a logarithmic scale that begins at 1 µs."""
    parts, y = [], 0
    for task, title in TIMES.items():
        y += 30
        parts.append(f'<text x="10" y="{y}" font-weight="bold">{title.removesuffix(", µs")}</text>')
        for library, facts in found.items():
            y += 20
            width = 80 * math.log10(max(facts[task], 1))
            parts.append(
                f'<text x="10" y="{y}">{library}</text>'
                f'<rect x="130" y="{y - 11}" width="{width:.0f}" height="13" fill="#4477aa"/>'
                f'<text x="{135 + width:.0f}" y="{y}">{facts[task]:,.0f} µs</text>'
            )
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="{y + 20}" '
        f'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def main() -> None:
    """Compare, print, write."""
    with tempfile.TemporaryDirectory() as folder:
        found = compare(Path(folder))
    print(table(found))
    (HERE / "compare.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    (HERE / "compare.svg").write_text(plot(found), encoding="utf-8")


if __name__ == "__main__":
    main()
