"""Measure perscache beside the libraries that a user would pick instead, and beside what no library can be faster than.

    python3 benchmarks [--readme]    everything, in less than ten minutes: prints it, writes results.json and plots
    python3 benchmarks CHAPTER …     some chapters, only printed
    python3 benchmarks --quick       everything in small, in about a minute, only printed: to see that it works

Needs Python with pip; all else is installed by pip into environments of its own. Works in the folder for temporary
files (TMPDIR), which should be on a disk with room for 1,500,000 files and 20 GB; they are removed by a process that
goes on for some minutes after the end. System calls are counted where strace is; Azure's server needs npm.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import report
from bench import FULL, PLOTS, QUICK, Bench, Extent
from machine import machine
from process import HERE, NotInstalledError

RESULTS = HERE / "results.json"
BY_NAME = "answers"


def measured(folder: Path, extent: Extent, chapters: list[str], *, plotted: bool) -> report.Results:
    """The results of some chapters."""
    began, bench = time.monotonic(), Bench(folder, extent)
    results: report.Results = {
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "machine": machine(str(folder)),
        "extent": extent._asdict(),
    }
    chosen = [report.CHAPTERS[name] for name in chapters]
    environments = {name for chapter in chosen for name in chapter.ENVIRONMENTS} | ({PLOTS} if plotted else set())
    try:
        bench.prepare(environments, (job for chapter in chosen for job in chapter.prepare(extent)))
        for chapter in chosen:
            chapter.measure(bench)
    finally:
        with bench.timed("ending"):
            bench.end()
    results |= {"minutes": (time.monotonic() - began) / 60, "seconds": bench.seconds, "answers": bench.answers}
    if plotted:
        write(results)
        try:
            subprocess.run([bench.environment(PLOTS).python, HERE / "plots.py", RESULTS, HERE], check=True)
        except (NotInstalledError, subprocess.CalledProcessError) as error:
            print(f"the plots are those of another run: {error}", file=sys.stderr)
    return results


def write(results: report.Results) -> None:
    """Write the results: a line a task."""
    answers = ",\n".join(f"  {json.dumps(task)}: {json.dumps(of)}" for task, of in sorted(results["answers"].items()))
    rest = json.dumps({name: value for name, value in results.items() if name != "answers"}, indent=1)
    RESULTS.write_text(f'{rest[:-2]},\n "answers": {{\n{answers}\n }}\n}}\n', encoding="utf-8")


def check_room(folder: str, extent: Extent) -> None:
    """SystemExit where the disk has no room for so many files."""
    if not hasattr(os, "statvfs"):
        return
    disk, files, room = os.statvfs(folder), 3 * extent.entries[-1] // 2, 4000 * extent.entries[-1] + 16 * extent.array
    free = disk.f_favail or sys.maxsize  # Some file systems do not count them.
    available = disk.f_bavail * disk.f_frsize
    if free < files or available < room:
        raise SystemExit(
            f"the folder for temporary files has room for {free:,} files and {available / 1e9:,.0f} GB: {files:,} and "
            f"{room / 1e9:,.0f} GB are needed; set TMPDIR to another disk, or ask for --quick"
        )


def main() -> None:
    """Measure, print, write."""
    options = argparse.ArgumentParser(
        prog="python3 benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("chapters", nargs="*", metavar="CHAPTER", help=", ".join(report.CHAPTERS))
    options.add_argument("--quick", action="store_true", help="small sizes, two rounds, nothing is written")
    options.add_argument("--readme", action="store_true", help="put the tables into the README, too")
    asked = options.parse_args()
    if unknown := set(asked.chapters) - set(report.CHAPTERS):
        options.error(f"there is no chapter {', '.join(sorted(unknown))}; there are {', '.join(report.CHAPTERS)}")
    whole = not asked.quick and not asked.chapters
    if asked.readme and not whole:
        options.error("the README quotes whole runs: ask for neither --quick nor chapters")
    extent = QUICK if asked.quick else FULL
    chapters = asked.chapters or [name for name in report.CHAPTERS if name != BY_NAME]
    folder = tempfile.mkdtemp()
    try:
        check_room(folder, extent)
        results = measured(Path(folder), extent, chapters, plotted=whole)
    finally:
        # A million files take minutes to go.
        removal = [sys.executable, "-c", "import shutil, sys; shutil.rmtree(sys.argv[1])", folder]
        subprocess.Popen(removal, start_new_session=True)
    print(report.printed(results, chapters))
    if asked.readme:
        report.into_readme(results)


if __name__ == "__main__":
    main()
