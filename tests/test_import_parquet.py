"""Naming parquet costs one look at the metadata, and no pandas or pyarrow until there is a frame."""

import subprocess
import sys

SCRIPT = """
import sys
scans = []
class Counter:
    @staticmethod
    def find_spec(*_):
        return None
    @staticmethod
    def find_distributions(context):
        if context.name is None:
            scans.append(context)
        return []
sys.meta_path.insert(0, Counter)

from perscache import Cache
cache = Cache("parquet", "memory://")
assert cache.serializer.name == "parquet"

@cache
def f():
    return 1

print(len(scans), [name for name in ("pandas", "pyarrow", "polars") if name in sys.modules])
"""


def test_cache_of_parquet_in_memory_imports_no_pandas_and_no_pyarrow():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1 []\n"
