"""Whatever is to be keyed has a key or is refused: no crash, no hang, no other error, no other key the next time.

Values are keyed in processes of their own, so that a crash is seen. A longer run by hand:

    PERSCACHE_FUZZ=20000 python -m pytest perscache-core/tests/test_fingerprint_fuzz.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

ZOO = Path(__file__).with_name("fingerprint_zoo.py")
LIBRARIES = ("numpy", "pandas", "pyarrow", "polars", "scipy", "others")
EXAMPLES = int(os.environ.get("PERSCACHE_FUZZ", "100"))


def run(*task: str, seed: int) -> list[Any]:
    """What a process prints, line by line. One that crashes, fails or hangs is a failure that says where."""
    program = [sys.executable, "-W", "ignore", "-X", "faulthandler", str(ZOO), *task]
    places = {**os.environ, "PYTHONHASHSEED": str(seed)}
    with subprocess.Popen(program, env=places, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            out, err = process.communicate(timeout=300 + EXAMPLES / 5)
            what = f"ended with {process.returncode}"
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            what = "never ended"
    lines = [json.loads(line) for line in out.splitlines()]
    assert not process.returncode, f"{what} at {lines[-1:]}: {err[-3000:]}"
    return lines


@pytest.mark.parametrize("group", ["python", *LIBRARIES])
def test_a_value_has_one_key_or_is_refused_by_its_path(group: str) -> None:
    if group in LIBRARIES[:-1]:
        pytest.importorskip(group)
    with ThreadPoolExecutor() as pool:
        lines, others = pool.map(lambda seed: run("zoo", group, seed=seed), (1, 2))
    if group == "others" and not lines:
        pytest.skip("none of the other libraries is installed")
    wrong = []
    for (verdict, name), told, other in zip(lines[::2], lines[1::2], others[1::2], strict=True):
        match verdict, told:
            case (("keyed" | "either"), ["key", one, again]):
                good = one == again and other == told
            case (("refused" | "either"), ["refused", message]):
                good = "argument 'value' → ['a'] → [0]" in message and "ignore=" in message and other == told
            case "raised", ["raised", _]:
                good = other == told
            case _:
                good = False
        if not good:
            wrong.append((name, told, other))
    assert lines
    assert not wrong


def test_objects_that_do_anything_at_all_are_keyed_or_refused() -> None:
    pytest.importorskip("hypothesis")
    run("odd", seed=1)


def test_generated_values_have_one_key_in_all_processes(tmp_path: Path) -> None:
    pytest.importorskip("hypothesis")
    run("plain", str(tmp_path / "kept"), seed=1)
    run("compare", str(tmp_path / "kept"), seed=2)
