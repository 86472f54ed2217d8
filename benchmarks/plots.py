"""The plots of a run, as SVG that is readable on light and on dark: by matplotlib, in an environment of its own.

python plots.py RESULTS FOLDER
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from bench import FLOOR, PEERS, Extent
from findings import OURS, Findings, size
from growth import CROWDS

mpl.use("svg")

from matplotlib import pyplot as plt
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator

# Both are seen on white and on black: 4 : 1 or more. What is neither is ink, which the style below turns.
ACCENT, OTHERS, INK = "#d9480f", "#7a828c", "#010203"
STYLE = """
svg { color: #1f2328; background: #ffffff }
@media (prefers-color-scheme: dark) { svg { color: #e6edf3; background: #0d1117 } }
"""
LAYOUT = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "perscache",
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.minor.bottom": False,
    "ytick.minor.left": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
PAD = 12
LABELS_APART = 0.062
"""Parts of the height of a panel."""


def overview(found: Findings, extent: Extent) -> Any:
    """A small call of each library, and what a hit costs by the size of its argument."""
    figure, (calls, arguments) = plt.subplots(1, 2, figsize=(10.5, 4.5), width_ratios=(1, 1), layout=LAYOUT)
    small_calls(calls, found)
    looking = [name for name in (OURS, *PEERS) if found.once("after_a_changed_array", name) == "computed again"]
    of_arguments(arguments, found, extent, looking)
    arguments.set_title("A hit, by the size of the array that is its argument", pad=PAD)
    arguments.set_xlabel("of the libraries that notice a change in it", loc="left")
    return figure


def growth(found: Findings, extent: Extent) -> Any:
    """What hits and misses cost among more entries, with larger arguments, and what more processes get done."""
    figure, ((hits, misses), (arguments, crowds)) = plt.subplots(2, 2, figsize=(10.5, 8.4), layout=LAYOUT)
    everybody = (OURS, *PEERS, FLOOR)
    entries = [f"{count:,}" for count in extent.entries]
    for panel, task, title in ((hits, "hit_among", "A small hit"), (misses, "store_among", "A small miss")):
        lines(panel, found, [f"{task} {count}" for count in extent.entries], everybody)
        scales(panel, f"{title}, by the entries that are stored", "entries", entries)
    of_arguments(arguments, found, extent, everybody)
    arguments.set_title("A hit, by the size of the array that is its argument", pad=PAD)
    lines(crowds, found, [f"crowd {count}" for count in extent.crowds], CROWDS)
    scales(crowds, "Calls a second, a fifth of them misses", "processes of four threads", list(map(str, extent.crowds)))
    crowds.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    return figure


def small_calls(panel: Any, found: Findings) -> None:
    """A line a library: its hit and its miss."""
    medians = {name: hit.median for name in (OURS, FLOOR, *PEERS) if (hit := found("small_hit", name))}
    names = sorted(medians, key=medians.__getitem__, reverse=True)
    for row, name in enumerate(names):
        hit, miss = found("small_hit", name), found("small_miss", name)
        colour = ACCENT if name == OURS else OTHERS
        if hit is None or miss is None:
            continue
        panel.plot([hit.median, miss.median], [row, row], color=colour, linewidth=1, zorder=1)
        panel.plot([hit.median], [row], "o", color=colour, markersize=7)
        panel.plot([miss.median], [row], "D", color=colour, markersize=6)
        for measure, side, offset in ((hit, "right", -8), (miss, "left", 8)):
            place = {"xytext": (offset, 0), "textcoords": "offset points", "ha": side, "va": "center", "fontsize": 8.5}
            panel.annotate(duration(measure.median), (measure.median, row), **place)
    panel.set_yticks(range(len(names)), names)
    for label in panel.get_yticklabels():
        if label.get_text() == OURS:
            label.set_fontweight("bold")
    panel.set_xscale("log")
    low, high = panel.get_xlim()
    panel.set_xlim(low / 3.5, high * 3)
    panel.tick_params(axis="y", length=0)
    panel.spines["left"].set_visible(False)
    panel.xaxis.set_major_formatter(lambda value, _: duration(value))
    panel.set_title("A small call: ● hit  ◆ miss", pad=PAD)


def of_arguments(panel: Any, found: Findings, extent: Extent, names: Sequence[str]) -> None:
    """What a hit costs by the size of an array that is its argument."""
    lines(panel, found, [f"array_hit {length}" for length in extent.arguments], names)
    scales(panel, "", "", [size(length).replace(" ", "\u00a0") for length in extent.arguments])


def lines(panel: Any, found: Findings, tasks: Sequence[str], names: Sequence[str]) -> None:
    """A line a library over the tasks, with its name at the end."""
    ends: list[tuple[str, int, float]] = []
    for name in names:
        measures = [(place, measure.median) for place, task in enumerate(tasks) if (measure := found(task, name))]
        if not measures:
            continue
        ours = name == OURS
        places, medians = zip(*measures, strict=True)
        colour, width = (ACCENT, 2.4) if ours else (OTHERS, 1.2)
        panel.plot(places, medians, "o-", color=colour, linewidth=width, zorder=3 if ours else 2)
        ends.append((name, places[-1], medians[-1]))
    panel.set_yscale("log")
    low, high = panel.get_ylim()
    panel.yaxis.set_major_locator(LogLocator(subs=(1,) if high > 100 * low else (1, 2, 5)))
    panel.set_xlim(-0.2, len(tasks) - 1 + 0.36 * len(tasks))
    names_at_ends(panel, ends, len(tasks) - 1)


def names_at_ends(panel: Any, ends: Iterable[tuple[str, int, float]], last: int) -> None:
    """Write the names in a column beside the ``last`` place, those that are too near to each other moved apart."""
    to_part = panel.transScale + panel.transLimits
    beside = to_part.transform((last, 1))[0] + 0.045
    labels = sorted((to_part.transform((place, value))[1], name, place, value) for name, place, value in ends)
    heights = [label[0] for label in labels]
    for _ in range(500):
        for lower in range(len(heights) - 1):
            missing = LABELS_APART - (heights[lower + 1] - heights[lower])
            if missing > 0:
                heights[lower] -= missing / 2
                heights[lower + 1] += missing / 2
    for height, (_, name, place, value) in zip(heights, labels, strict=True):
        weight, colour = ("bold", ACCENT) if name == OURS else ("normal", INK)
        dots = {"arrowstyle": "-", "color": OTHERS, "linewidth": 0.7, "linestyle": ":", "shrinkA": 1, "shrinkB": 3}
        at: dict[str, Any] = {"xytext": (beside, height), "textcoords": "axes fraction", "va": "center"}
        panel.annotate(name, (place, value), color=colour, fontsize=8.5, fontweight=weight, arrowprops=dots, **at)


def scales(panel: Any, title: str, label: str, steps: Sequence[str]) -> None:
    """The axes of a panel of lines."""
    panel.set_xticks(range(len(steps)), steps)
    panel.spines["bottom"].set_bounds(0, len(steps) - 1)
    panel.set_xlabel(label)
    panel.yaxis.set_major_formatter(lambda value, _: duration(value))
    panel.set_title(title, pad=PAD)
    panel.grid(axis="y", color=OTHERS, linewidth=0.4, alpha=0.5)


def duration(microseconds: float) -> str:
    """A time with two digits, or as many as it has before the point."""
    units = (("s", 10**6), ("ms", 10**3), ("µs", 1))
    unit, factor = next((each for each in units if microseconds >= each[1]), units[-1])
    value = microseconds / factor
    return f"{value:.2g} {unit}" if value < 10 else f"{value:.0f} {unit}"


def save(figure: Any, file: Path, results: bytes) -> None:
    """Write the figure with its ink as a style, without the day, and with the digest of what it was made of."""
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    digest = hashlib.sha256(results).hexdigest()
    text = file.read_text(encoding="utf-8").replace(INK, "currentColor")
    text = re.sub(r"(<svg [^>]*>)", lambda root: f"{root[1]}\n<!-- {digest} -->\n<style>{STYLE}</style>", text, count=1)
    lines_of_text = (line.rstrip() for line in text.splitlines())
    file.write_text("\n".join(lines_of_text) + "\n", encoding="utf-8")


def main() -> None:
    """Draw both."""
    written = Path(sys.argv[1]).read_bytes()
    results = json.loads(written)
    found, extent, folder = Findings(results["answers"]), Extent(**results["extent"]), Path(sys.argv[2])
    with mpl.rc_context(SETTINGS):
        save(overview(found, extent), folder / "overview.svg", written)
        save(growth(found, extent), folder / "growth.svg", written)


if __name__ == "__main__":
    main()
