"""What a key costs in memory: the peak of a process of its own, which a hidden copy of an array would raise."""

from __future__ import annotations

import subprocess
import sys

import pytest

# ru_maxrss of a new process begins with the size of the one that started it: hence one process between.
BETWEEN = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)"

PROGRAM = """
import resource, sys
import numpy as np
from perscache import Cache

@Cache(storage="memory://")
def f(a):
    return a

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)

f.cache.key({small})
array = np.ones((4096, 8192), order="F")
before = peak()
f.cache.key({view})
print(before, peak())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell a process its peak in this way")
@pytest.mark.parametrize("view", ["array", "array[::2]"])
def test_a_non_contiguous_array_is_keyed_with_less_than_64_mib_extra(view: str) -> None:
    pytest.importorskip("numpy")
    small = view.replace("array", "np.ones((600, 900), order='F')")
    program = PROGRAM.format(view=view, small=small)
    done = subprocess.run(
        [sys.executable, "-c", BETWEEN, program], capture_output=True, text=True, timeout=60, check=True
    )
    before, after = map(float, done.stdout.split())
    assert before > 256, "the array itself is not in the figure"
    assert after - before < 64
