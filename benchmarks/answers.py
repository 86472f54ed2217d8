"""The chapter of answers, for which one must ask by name: how many of perscache's own cases each library gets wrong."""

from __future__ import annotations

from collections.abc import Iterator

from bench import VALUES, Bench, Extent, Job
from findings import MISSING, OURS, Findings, Measure, Target, markdown

LIBRARIES = {OURS: OURS + VALUES, **{name: name + VALUES for name in ("joblib", "dask", "checkpointer")}}
ENVIRONMENTS = tuple(LIBRARIES.values())
KINDS = ("wrong hits", "needless misses", "no key")
COUNTED = """\
Wrong hits / needless misses / no key (an error, or nothing within three seconds), of so many pairs of programs or
values. Pairs about ways that only perscache has (its settings, `__cache_key__`) are left out for the others."""


def prepare(extent: Extent) -> list[Job]:
    """All of it."""
    tasks = ("version", "answers")
    return [Job("keymaker.py", environment, tasks, patience=1200) for environment in ENVIRONMENTS]


def measure(bench: Bench) -> None:
    """Nothing takes times."""


def groups(found: Findings) -> list[str]:
    """Kinds of pairs."""
    prefix = "answers "
    return [task.removeprefix(prefix) for task in found.answers if task.startswith(prefix)]


def tables(found: Findings, extent: Extent) -> Iterator[str]:
    """One column a library."""
    rows = [["", *(f"{name} {found.cell('version', asked)}" for name, asked in LIBRARIES.items())]]
    rows += [
        [group, *(cell(found.once(f"answers {group}", asked)) for asked in ENVIRONMENTS)] for group in groups(found)
    ]
    rows.append(["all", *(cell(total(found, asked)) for asked in ENVIRONMENTS)])
    yield markdown(rows)
    yield COUNTED


def cell(counts: dict[str, int] | None) -> str:
    """Counts as a table shows them."""
    if counts is None:
        return MISSING
    return f"{' / '.join(str(counts[kind]) for kind in KINDS)} of {counts['cases']}"


def total(found: Findings, asked: str) -> dict[str, int]:
    """The counts of all groups together."""
    known = [counts for group in groups(found) if (counts := found.once(f"answers {group}", asked))]
    return {kind: sum(counts[kind] for counts in known) for kind in (*KINDS, "cases")}


def targets(found: Findings, extent: Extent) -> Iterator[Target]:
    """None is answered wrongly."""
    counts = total(found, ENVIRONMENTS[0])
    if counts["cases"]:
        wrong = sum(counts[kind] for kind in KINDS)
        yield found.at_most(f"wrong keys, of {counts['cases']} cases", 0, Measure(wrong, 0), "")
