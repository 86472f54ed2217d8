"""Measure the Python standard library, keep the table in four formats, and see what the second run costs.

The input is on every machine: the sources of the modules that came with Python. Each is parsed and becomes one row:
lines, functions, classes, and cyclomatic complexity (McCabe, "A Complexity Measure", IEEE TSE 2(4), 1976).
Run it twice: the second process computes nothing.
"""

from __future__ import annotations

import ast
import platform
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa

from perscache import Cache

Row: TypeAlias = dict[str, str | int]

# The version is part of every key: another Python has another library.
cache = Cache(storage=".cache", version=platform.python_version())

FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
LOOPS = ast.For | ast.AsyncFor | ast.While | ast.comprehension
CHOICES = ast.If | ast.IfExp | ast.match_case | ast.ExceptHandler | ast.Assert


@cache(serializer="json")
def metrics_as_json(library: str) -> list[Row]:
    """The table as JSON: any tool reads it."""
    return measure(library)


@cache(serializer="yaml")
def metrics_as_yaml(library: str) -> list[Row]:
    """The table as YAML: people read it."""
    return measure(library)


@cache(serializer="parquet")
def metrics_as_parquet(library: str) -> pa.Table:
    """The table as Parquet: pandas, polars, DuckDB and Spark read it."""
    return pa.Table.from_pylist(measure(library))


@cache(serializer="pickle")
def metrics_as_pickle(library: str) -> list[Row]:
    """The table as a pickle: whatever Python can pickle comes back as it was."""
    return measure(library)


def measure(library: str) -> list[Row]:
    """One row of metrics for each module directly under ``library``."""
    return [row(path) for path in sorted(Path(library).glob("*.py"))]


def row(path: Path) -> Row:
    """The metrics of one module."""
    source = path.read_text(encoding="utf-8")
    nodes = list(ast.walk(ast.parse(source)))
    functions = sum(isinstance(node, FUNCTIONS) for node in nodes)
    return {
        "module": path.stem,
        "lines": source.count("\n"),
        "functions": functions,
        "classes": sum(isinstance(node, ast.ClassDef) for node in nodes),
        "complexity": functions + sum(decisions(node) for node in nodes),
    }


def decisions(node: ast.AST) -> int:
    """How many ways out of ``node`` there are, beyond the one straight on."""
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    return int(isinstance(node, LOOPS | CHOICES))


def seconds(table: Callable[[str], object], library: str) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    table(library)
    return time.perf_counter() - start


def main() -> None:
    """Make the table in each format twice, and show what is in it and where it lies."""
    library = sysconfig.get_path("stdlib")
    print(f"Measuring the modules of Python {platform.python_version()} in {library}\n")
    print(f"{'format':10}{'first run':>12}{'second run':>13}   file")
    for table in (metrics_as_json, metrics_as_yaml, metrics_as_parquet, metrics_as_pickle):
        first, second = seconds(table, library), seconds(table, library)
        file = Path(".cache", table.cache.key(library))
        print(f"{file.suffix[1:]:10}{first * 1000:9.1f} ms{second * 1000:10.1f} ms   {file}")

    rows = metrics_as_json(library)
    print(f"\n{len(rows)} modules, {sum(int(row['lines']) for row in rows):,} lines. The most complex ones:")
    for row in sorted(rows, key=lambda row: -int(row["complexity"]))[:5]:
        print(f"{row['complexity']:10,}  {row['module']}")

    readable = Path(".cache", metrics_as_yaml.cache.key(library))
    print(f"\nThe results are files that you can read. {readable} begins with")
    with readable.open(encoding="utf-8") as lines:
        print("".join(f"    {next(lines)}" for _ in range(5)))
    print("Run me again: then nothing is computed any more.")


if __name__ == "__main__":
    main()
