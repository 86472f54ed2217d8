"""Importing perscache and naming a plugin stay cheap. Each in an interpreter of its own."""

import pytest

HEAVY = "asyncio cloudpickle email importlib.metadata pandas pyarrow polars fsspec gcsfs yaml tomllib multiprocessing"

# Modules that some site customisation imported before us are not our doing.
LOADED = f"""
import sys
before = set(sys.modules)
def loaded():
    return sorted(set({HEAVY!r}.split()) & (sys.modules.keys() - before))
"""


@pytest.mark.parametrize(
    "statement",
    [
        "from perscache import *",
        "import perscache.plugins",
        "import perscache.storage, perscache.serializers",
        "from perscache.serializers import JSONSerializer, PickleSerializer, CloudPickleSerializer",
        "from perscache.storage import LocalFileStorage, MemoryStorage, FileStorage",
        "from perscache import Cache; Cache('json', 'memory://')(len)",
    ],
)
def test_nothing_heavy_is_imported(run, statement):
    assert run(f"{LOADED}\n{statement}\nprint(loaded())") == "[]\n"


def test_the_package_imports_nothing_of_itself_before_a_name_is_used(run):
    printed = run("""
import sys
import perscache
print([name for name in sys.modules if name.startswith("perscache")])
print(perscache.storage.Storage.__module__, perscache.errors.CacheMiss is perscache.CacheMiss)
print(set(perscache.__all__) <= set(dir(perscache)), hasattr(perscache, "cash"))
""")
    assert printed == "['perscache']\nperscache.storage.base True\nTrue False\n"


FRAMES = """
    from perscache.plugins import Serializer, hookimpl

    PERSCACHE_API = 1

    class FrameSerializer(Serializer):
        name = "frames"
        extension = "frames"

        def dumps(self, data):
            import heavy_frames

        def loads(self, data):
            import heavy_frames

    @hookimpl
    def perscache_serializers():
        return [FrameSerializer]
"""

SCANS = """
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
"""


def test_naming_a_plugin_costs_one_scan_and_not_the_library_that_it_wraps(run, site):
    points = "[perscache.serializers]\nframes = frames_plugin\n"
    site.put("perscache-frames", entry_points=points, frames_plugin=FRAMES, heavy_frames="")
    printed = run(f"""
import sys
sys.path.insert(0, {str(site.folder)!r})
{SCANS}
from perscache import Cache
for _ in range(3):
    cache = Cache("frames", "memory://")
    cache(serializer="frames")(len)
print(cache.serializer.name, len(scans), "heavy_frames" in sys.modules)
""")
    assert printed == "frames 1 False\n"
