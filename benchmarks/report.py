"""What a run prints, and what the README quotes of it: made of the results alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import answers
import calls
import files
import growth
import keys
import peers
import remote
import values
from bench import ROOT, Chapter, Extent
from findings import MISSING, Findings, Target, markdown

CHAPTERS: dict[str, Chapter] = {
    "peers": peers,
    "calls": calls,
    "keys": keys,
    "values": values,
    "remote": remote,
    "growth": growth,
    "files": files,
    "answers": answers,
}
README = ROOT / "README.md"
BEGIN, END = "<!-- made by `python3 benchmarks --readme` -->", "<!-- until here -->"
VERDICTS = {True: "yes", False: "**no**", None: MISSING}

Results = dict[str, Any]


def printed(results: Results, chapters: Iterable[str]) -> str:
    """The tables of some chapters, then their targets."""
    found, extent = read(results)
    parts = [how(results, extent)]
    for name in chapters:
        parts += [f"## {name}", *CHAPTERS[name].tables(found, extent)]
    return "\n\n".join([*parts, "## targets", targets(results, chapters)])


def section(results: Results) -> str:
    """What stands in the README between its marks."""
    found, extent = read(results)
    return "\n\n".join(
        [
            BEGIN,
            how(results, extent),
            *peers.tables(found, extent),
            "![A small call of each library; what a hit costs by the size of its argument](benchmarks/overview.svg)",
            "What perscache aims at, and what it reaches:",
            targets(results, CHAPTERS),
            END,
        ]
    )


def how(results: Results, extent: Extent) -> str:
    """When, where and how it was measured."""
    machine = results["machine"]
    return (
        f"One run of `python3 benchmarks` on {results['date']}: {results['minutes']:.0f} minutes on {machine['cores']} "
        f"cores ({machine['processor']}, {machine['memory, GB']} GB, {machine['file system']}, {machine['system']}, "
        f"Python {machine['python']}), the load before was {machine['load before']}. Each library runs in a process "
        f"and an environment of its own, set up as its documentation says first; rounds are interleaved. A figure is "
        f"the median of {extent.rounds} rounds ± half the distance of the quartiles; ratios are taken round by round."
    )


def targets(results: Results, chapters: Iterable[str]) -> str:
    """All targets of some chapters."""
    found, extent = read(results)
    lines: list[Target] = [target for name in chapters for target in CHAPTERS[name].targets(found, extent)]
    rows = [[line.title, line.goal, line.reached, VERDICTS[line.met]] for line in lines]
    return markdown([["target", "goal", "reached", "met"], *rows])


def read(results: Results) -> tuple[Findings, Extent]:
    """The answers, and how much was measured."""
    return Findings(results["answers"]), Extent(**results["extent"])


def into_readme(results: Results, readme: Path = README) -> None:
    """Put the section into the README, in place of the former one."""
    text = readme.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise SystemExit(f"{readme.name} has no place for the section: put {BEGIN} and {END} where it belongs")
    marked = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    readme.write_text(marked.sub(lambda _: section(results), text), encoding="utf-8")
