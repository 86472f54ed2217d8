"""Both type checkers see the original parameters and results, and reject what does not fit."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CASES = Path(__file__).with_name("typing_cases.py")
EXPECTED = [number for number, line in enumerate(CASES.read_text().splitlines(), 1) if "# expect-error" in line]


def run(*command: str) -> str:
    return subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False).stdout


def test_mypy_agrees(tmp_path):
    pytest.importorskip("mypy", reason="mypy is a tool of the repository, not of the distribution")
    output = run("mypy", "--strict", "--no-error-summary", "--cache-dir", str(tmp_path), str(CASES))
    lines = [line.split(":") for line in output.splitlines() if ": error:" in line]
    assert sorted({int(line[1]) for line in lines}) == EXPECTED, output


def test_pyright_agrees():
    pytest.importorskip("pyright", reason="pyright is a tool of the repository, not of the distribution")
    if shutil.which("node") is None:
        pytest.skip("pyright needs node")
    report = json.loads(run("pyright", "--outputjson", "--pythonpath", sys.executable, str(CASES)))
    errors = [item for item in report["generalDiagnostics"] if item["severity"] == "error"]
    assert sorted({item["range"]["start"]["line"] + 1 for item in errors}) == EXPECTED, errors
