"""One library that makes keys, in a process and environment of its own: obeys the chapters `keys` and `answers`.

    python keymaker.py LIBRARY FOLDER

Each library is set up as its documentation says. checkpointer also captures globals, an option of its own, since it
would miss them otherwise. dask tokenizes arguments, and has no decorator.
"""

from __future__ import annotations

import importlib
import importlib.util
import multiprocessing
import re
import shutil
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from contestant import decorator, load_module, version
from process import HERE, PEAK, answer_tasks, output_of

CALLS, MODULES, HELPERS = 5000, 40, 300
DEADLINE = 3.0  # seconds for the keys of a case
CASES = HERE.parent / "perscache-core" / "tests"
OWN_WAYS = re.compile(r"@cache\(\w+=|says? (its|their) key")  # settings of perscache, and its `__cache_key__`
ANSWERS = ("wrong hits", "needless misses", "no key", "cases")
NO_KEY = {"cases": 1, "no key": 1}

# Prints by how many MiB the peak of memory grows while a large array in Fortran's order is keyed.
MEMORY = f"""
{PEAK}
import numpy as np
from perscache import Cache

@Cache(storage="memory://")
def f(a):
    return a

f.cache.key(np.ones((600, 900), order="F"))
side = int(sys.argv[1])
array = np.ones((side, 2 * side), order="F")
before = peak()
f.cache.key(array)
print((peak() - before) / (1 << 20))
"""

FUNCTION = """
def function(a, b=0, c=0):
    return a
"""


class Keymaker:
    """A library's keys: how long they take, and which are wrong."""

    def __init__(self, library: str, folder: Path) -> None:
        self.library, self.folder = library, folder
        self.decorate = key_decorator(library, folder / "results")
        self.function = self.decorate(load_module(folder / "function.py", FUNCTION).function)
        self.key_of_value = key_of_value(library, self.function)

    def version(self) -> str:
        """The library's version."""
        return version(self.library)

    def key_of_scalars(self) -> float:
        """Microseconds of the key of a call with three scalars, through the decorator."""
        key = self.key_of_value
        if self.library == "joblib":
            self.function(1, 2.5, "x")
            key = self.function.check_call_in_cache
        return self._milliseconds(lambda: key(1, 2.5, "x"), CALLS) * 1000

    def key_of_array(self, size: int) -> dict[str, float]:
        """Milliseconds of the key of a contiguous array; and of blake3 alone, with as many threads as perscache."""
        array = self._made(("array", size), lambda: np.random.default_rng(0).random(size // 8))
        taken = {"": self._milliseconds(lambda: self.key_of_value(array))}
        if self.library == "perscache":
            from blake3 import blake3

            from perscache.fingerprint.containers import THREADS

            buffer, threads = array.data.cast("B"), THREADS
            taken["blake3"] = self._milliseconds(lambda: blake3(buffer, max_threads=threads).digest())
        return taken

    def key_of_frame(self, rows: int) -> float:
        """Milliseconds of the key of a frame of so many rows and 6 columns."""
        frame = self._made(("frame", rows), lambda: mixed_frame(rows))
        return self._milliseconds(lambda: self.key_of_value(frame))

    def key_of_dict(self, leaves: int) -> float:
        """Milliseconds of the key of a nested dict."""
        nested = self._made(("dict", leaves), lambda: nested_dict(leaves))
        return self._milliseconds(lambda: self.key_of_value(nested))

    def first_key(self) -> float:
        """Milliseconds of the first key of a function with many helpers, in a new process."""
        asked = "import time, app; start = time.perf_counter(); app.f.cache.key(1); print(time.perf_counter() - start)"
        program = [sys.executable, "-c", asked]
        return 1000 * float(subprocess.run(program, cwd=self._program, check=True, stdout=subprocess.PIPE).stdout)

    def memory_of_key(self, side: int) -> float:
        """By how many MiB the peak of memory grows while an array in Fortran's order is keyed, of ``side`` × 2 side."""
        return float(output_of(MEMORY, str(side)))

    def answers(self) -> dict[str, Counter[str]]:
        """How many of the cases of perscache's own tests are answered wrongly, by group."""
        cases = self.folder / "cases"
        cases.mkdir()
        for name in ("test_code_cases", "test_key_arguments", "test_key_tables"):
            # Beside the programs: checkpointer takes what lies below the current folder for the user's own code.
            shutil.copy(CASES / f"{name}.py", cases)
        sys.path.insert(0, str(cases))
        return (self._answers_of_code() if self.library != "dask" else {}) | self._answers_of_arguments()

    def _answers_of_code(self) -> dict[str, Counter[str]]:
        module = importlib.import_module("test_code_cases")
        libraries = [case[1:] for case in module.LIBRARIES if importlib.util.find_spec(case[0])]
        groups = {
            "a function's own code": module.OWN_CODE,
            "its helpers": module.HELPERS,
            "its globals": module.GLOBALS,
            "classes it uses": module.CLASSES,
            "other code": module.MORE,
            "libraries around code": libraries,
        }
        found = {}
        for group, cases in groups.items():
            found[group] = Counter(dict.fromkeys(ANSWERS, 0))
            for _, verdict, before, after in cases:
                if self.library != "perscache" and OWN_WAYS.search(before + after):
                    continue
                keys = (partial(self._key_of_program, module, text) for text in (before, before, after))
                found[group].update(judge(verdict == module.SAME, *keys))
        return found

    def _key_of_program(self, cases: ModuleType, program: str) -> str:
        folder = self.folder / "program"
        shutil.rmtree(folder, ignore_errors=True)
        return str(cases._key(program, folder))

    def _answers_of_arguments(self) -> dict[str, Counter[str]]:
        arguments, tables = importlib.import_module("test_key_arguments"), importlib.import_module("test_key_tables")
        pairs: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
            "values of Python": (arguments.EQUAL, arguments.DIFFERENT)
        }
        for library in ("numpy", "pandas", "pyarrow", "polars", "xarray", "scipy.sparse"):
            group = f"values of {library}"
            vars(tables)["check"] = lambda same, other, group=group: pairs.update({group: (same, other)})
            getattr(tables, f"test_{library.replace('.', '_')}")()
        found = {}
        for group, (same, other) in pairs.items():
            found[group] = Counter(dict.fromkeys(ANSWERS, 0))
            for equal, cases in ((True, same), (False, other)):
                for title, (one, another) in cases.items():
                    if self.library != "perscache" and OWN_WAYS.search(title):
                        continue
                    keys = (partial(key_of_made, arguments.key, make) for make in (one, one, another))
                    found[group].update(judge(equal, *keys))
        return found

    def _made(self, name: tuple[str, int], make: Callable[[], Any]) -> Any:
        if name not in self._values:
            self._values[name] = make()
        return self._values[name]

    @cached_property
    def _values(self) -> dict[tuple[str, int], Any]:
        return {}

    @cached_property
    def _program(self) -> Path:
        """A folder with `app.py`, whose function reaches all helpers through a tree over all modules."""
        folder = self.folder / "many"
        folder.mkdir()
        texts = {module: f"LIMIT = {module}\n" for module in range(MODULES)}
        for helper in range(HELPERS):
            used = [child for child in (2 * helper + 1, 2 * helper + 2) if child < HELPERS]
            imports = "".join(f"import m{child % MODULES}\n" for child in used)
            calls = "".join(f"    found.append(m{child % MODULES}.h{child}(x + {helper}))\n" for child in used)
            texts[helper % MODULES] += (
                f"{imports}def h{helper}(x):\n    found = []\n    for i in range(3):\n        if x > LIMIT + i:\n"
                f"            found.append(sorted([x, {helper}, i]))\n{calls}    return found\n"
            )
        for module, text in texts.items():
            (folder / f"m{module}.py").write_text(text)
        head = "import m0\nfrom perscache import Cache\n@Cache(storage='memory://')\n"
        (folder / "app.py").write_text(f"{head}def f(x):\n    return m0.h0(x)\n")
        return folder

    @staticmethod
    def _milliseconds(call: Callable[[], object], repetitions: int = 1) -> float:
        start = time.perf_counter()
        for _ in range(repetitions):
            call()
        return (time.perf_counter() - start) / repetitions * 1e3


def mixed_frame(rows: int) -> Any:
    """A frame of 6 columns, each of another kind."""
    import pandas as pd

    chance = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "whole": chance.integers(0, 1000, rows),
            "real": chance.random(rows),
            "truth": chance.random(rows) > 0.5,
            "time": pd.date_range("2020", periods=rows, freq="s"),
            "category": pd.Categorical.from_codes(chance.integers(0, 3, rows), pd.Index(["a", "b", "c"])),
            "text": [f"item {row % 1000}" for row in range(rows)],
        }
    )


def nested_dict(leaves: int) -> Any:
    """A dict of dicts of dicts of ten scalars each."""

    def scalars(i: int, j: int) -> dict[str, Any]:
        values = [i, j, -i, i * j, j / 7, 1.5, f"{i} {j}", "x", None, True]
        return {f"leaf {number}": value for number, value in enumerate(values)}

    return {f"outer {i}": {f"inner {j}": scalars(i, j) for j in range(100)} for i in range(leaves // 1000)}


def key_decorator(library: str, folder: Path) -> Any:
    """The library's decorator. What it returns is asked for keys like a function of perscache, ``f.cache.key(…)``.

    Programs that import `perscache.Cache` get this decorator from it.
    """
    match library:
        case "perscache":
            return decorator(library, folder)
        case "joblib":
            from joblib.memory import MemorizedFunc

            decorate = decorator(library, folder)
            _give_keys(MemorizedFunc, _key_of_joblib)
        case "checkpointer":
            import checkpointer

            decorate = checkpointer.checkpoint(directory=folder, capture=True, verbosity=0)
            _give_keys(checkpointer.CachedFunction, _key_of_checkpointer)
        case "dask":
            from dask.base import tokenize

            tokenized = SimpleNamespace(cache=SimpleNamespace(key=tokenize))

            def decorate(_: object) -> Any:
                return tokenized

        case _:
            raise ValueError(f"{library} makes no keys")
    stand_in, errors = ModuleType("perscache"), ModuleType("perscache.errors")
    vars(stand_in)["Cache"] = lambda *_, **__: decorate
    vars(errors)["UnkeyableError"] = LookupError
    sys.modules.update({"perscache": stand_in, "perscache.errors": errors})
    return decorate


def _give_keys(decorated: type, key: Callable[..., str]) -> None:
    handle = property(lambda function: SimpleNamespace(key=partial(key, function)))
    decorated.cache = handle  # type: ignore[attr-defined]  # on the class, where no peer looks for an object's state


def _key_of_joblib(function: Any, *args: Any, **kwargs: Any) -> str:
    # What its decorator compares: the function's name, its source, its arguments.
    return repr((function.func_id, function.func_code_info[0], function._get_args_id(*args, **kwargs)))


def _key_of_checkpointer(function: Any, *args: Any, **kwargs: Any) -> str:
    return f"{function.storage.fn_id()}/{function.get_call_hash(*args, **kwargs)}"


def key_of_value(library: str, function: Any) -> Callable[..., Any]:
    """What the library documents for the key of a value: on the decorated function, or a function of its own."""
    match library:
        case "joblib":
            import joblib

            return joblib.hash  # type: ignore[no-any-return]
        case "checkpointer":
            return function.get_call_hash  # type: ignore[no-any-return]
    return function.cache.key  # type: ignore[no-any-return]


def key_of_made(key: Callable[[Any], str], make: Callable[[], Any]) -> str:
    """The key of a value made for it alone."""
    return key(make())


def judge(equal: bool, *keys: Callable[[], str]) -> dict[str, int]:
    """One case: the key of a thing, of the same thing made again, and of the other one, which is ``equal`` or not.

    In a process of its own: nothing is left over from the cases before, and what never ends can be killed.
    """
    processes = multiprocessing.get_context("fork")
    verdicts, verdict = processes.Pipe(duplex=False)
    process = processes.Process(target=lambda: verdict.send(judge_here(equal, *keys)))
    process.start()
    verdict.close()
    try:
        return verdicts.recv() if verdicts.poll(DEADLINE) else NO_KEY
    except EOFError:
        return NO_KEY
    finally:
        process.kill()
        process.join()
        verdicts.close()


def judge_here(equal: bool, *keys: Callable[[], str]) -> dict[str, int]:
    """`judge`, in this process."""
    try:
        one, again, other = (key() for key in keys)
    except Exception:  # noqa: BLE001 - whatever a library raises here is its answer
        return NO_KEY
    if one != again or (equal and one != other):
        return {"cases": 1, "needless misses": 1}
    return {"cases": 1, "wrong hits": int(not equal and one == other)}


def main() -> None:
    """Answer one task a line."""
    warnings.simplefilter("ignore")
    answer_tasks(Keymaker(sys.argv[1], Path(sys.argv[2])))


if __name__ == "__main__":
    main()
