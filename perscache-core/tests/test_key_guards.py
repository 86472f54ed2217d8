"""Changes while a program runs: notebook cells run again, reloads, patches, configuration changed in place."""

from __future__ import annotations

import importlib
import linecache
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from perscache import Cache, PerscacheWarning

cache = Cache(storage="memory://")


class Session:
    """A console whose lines are kept, as notebooks keep their cells."""

    def __init__(self) -> None:
        self.scope: dict[str, Any] = {"__name__": "__main__", "cache": cache}
        self.count = 0

    def run(self, cell: str) -> None:
        self.count += 1
        name = f"<cell {id(self)} {self.count}>"
        linecache.cache[name] = (len(cell), None, cell.splitlines(keepends=True), name)
        exec(compile(cell, name, "exec"), self.scope)

    def key(self, *args: Any) -> str:
        return str(self.scope["f"].cache.key(*(args or (1,))))


@pytest.fixture
def session() -> Session:
    return Session()


def test_a_cell_that_is_run_again_keeps_the_key(session: Session) -> None:
    session.run("def g(x): return x\n@cache\ndef f(x): return g(x)\n")
    before = session.key()
    session.run("def g(x): return x\n")
    session.run("@cache\ndef f(x): return g(x)\n")
    assert session.key() == before


def test_a_helper_defined_anew_changes_the_key_and_back(session: Session) -> None:
    session.run("def g(x): return x\n@cache\ndef f(x): return g(x)\n")
    before = session.key()
    session.run("def g(x): return -x\n")
    assert session.key() != before
    session.run("def g(x): return x\n")
    assert session.key() == before


CHANGES: dict[str, tuple[str, str, str]] = {
    "a global": ("n = 1\n@cache\ndef f(x): return n\n", "n = 2", "n = 1"),
    "a dict in place": ("c = {'a': 1}\n@cache\ndef f(x): return c['a']\n", "c['a'] = 2", "c['a'] = 1"),
    "a deep list in place": ("c = [[1]]\n@cache\ndef f(x): return c\n", "c[0].append(2)", "c[0].pop()"),
    "a set in place": ("c = {1}\n@cache\ndef f(x): return 1 in c\n", "c.add(2)", "c.remove(2)"),
    "a field": (
        "class C: pass\nc = C()\nc.a = 1\n@cache\ndef f(x): return c.a\n",
        "c.a = 2",
        "c.a = 1",
    ),
    "a class attribute": ("class C: a = 1\n@cache\ndef f(x): return C.a\n", "C.a = 2", "C.a = 1"),
    "a mutable class attribute": ("class C: a = [1]\n@cache\ndef f(x): return C.a\n", "C.a.append(2)", "C.a.pop()"),
    "a method": (
        "class C:\n    def m(self): return 1\nold = C.m\n@cache\ndef f(x): return C().m()\n",
        "C.m = lambda self: 2",
        "C.m = old",
    ),
    "a base's method": (
        "class B:\n    def m(self): return 1\nold = B.m\nclass C(B): pass\n@cache\ndef f(x): return C().m()\n",
        "B.m = lambda self: 2",
        "B.m = old",
    ),
    "a helper's code": (
        "def g(x): return 1\nold = g.__code__\n@cache\ndef f(x): return g(x)\n",
        "g.__code__ = (lambda x: 2).__code__",
        "g.__code__ = old",
    ),
    "a helper's defaults": (
        "def g(x, n=1): return n\n@cache\ndef f(x): return g(x)\n",
        "g.__defaults__ = (2,)",
        "g.__defaults__ = (1,)",
    ),
    "its own code": (
        "@cache\ndef f(x): return 1\nold = f.__wrapped__.__code__\n",
        "f.__wrapped__.__code__ = (lambda x: 2).__code__",
        "f.__wrapped__.__code__ = old",
    ),
    "its own defaults": (
        "@cache\ndef f(x, n=1): return n\n",
        "f.__wrapped__.__defaults__ = (2,)",
        "f.__wrapped__.__defaults__ = (1,)",
    ),
    "a shadowed builtin": ("@cache\ndef f(x): return len(x)\n", "len = lambda x: 2", "del len"),
    "a name that comes": ("@cache\ndef f(x): return later\n", "later = 1", "del later"),
    "a name that goes": ("n = 1\n@cache\ndef f(x): return n\n", "del n", "n = 1"),
    "an attribute of a function": (
        "def g(x): return 1\ng.n = 1\n@cache\ndef f(x): return g.n\n",
        "g.n = 2",
        "g.n = 1",
    ),
    "a closure's cell": (
        """
def make():
    n = 1
    def g(x): return n
    def put(v):
        nonlocal n
        n = v
    return g, put
g, put = make()
f = cache(g)
""",
        "put(2)",
        "put(1)",
    ),
    "a closure's list": (
        "def make(a):\n    return lambda x: a[0]\na = [1]\nf = cache(make(a))\n",
        "a[0] = 2",
        "a[0] = 1",
    ),
    "a function in a dict": (
        "ops = {'a': len}\n@cache\ndef f(x): return ops['a'](x)\n",
        "ops['a'] = max",
        "ops['a'] = len",
    ),
    "an implementation registered later": (
        "import functools\n@functools.singledispatch\ndef g(x): return 1\n@cache\ndef f(x): return g(x)\n",
        "g.register(int)(lambda x: 2)",
        "",
    ),
    "what holds itself": (
        "c = {'a': [1]}\nc['all'] = c\n@cache\ndef f(x): return c['a']\n",
        "c['a'][0] = 2",
        "c['a'][0] = 1",
    ),
    "what is nested deep": (
        "c = last = [1]\nfor _ in range(500): c = [c]\n@cache\ndef f(x): return c\n",
        "last[0] = 2",
        "last[0] = 1",
    ),
    "a simple namespace": (
        "import types\nc = types.SimpleNamespace(a=1)\n@cache\ndef f(x): return c.a\n",
        "c.a = 2",
        "c.a = 1",
    ),
}


@pytest.mark.parametrize(("start", "change", "back"), CHANGES.values(), ids=CHANGES)
def test_a_change_in_place_is_seen_at_the_next_call(session: Session, start: str, change: str, back: str) -> None:
    session.run(start)
    before = session.key()
    assert session.key() == before
    session.run(change)
    assert session.key() != before
    if back:
        session.run(back)
        assert session.key() == before


def test_what_the_function_fills_itself_leaves_the_key_alone(session: Session) -> None:
    session.run("memo = {}\nn = 0\n@cache\ndef f(x):\n    global n\n    n += 1\n    memo[x] = n\n    return n\n")
    before = session.key()
    session.run("f(1)\nf(2)")
    assert session.key() == before


def test_a_reloaded_module_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "reloaded_low.py").write_text("def g(x): return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    low = importlib.import_module("reloaded_low")

    @cache
    def f(x: int) -> int:
        return int(low.g(x))

    before = f.cache.key(1)
    (tmp_path / "reloaded_low.py").write_text("def g(x): return 1 + 1  # longer\n")
    importlib.reload(low)
    changed = f.cache.key(1)
    (tmp_path / "reloaded_low.py").write_text("def g(x): return 1\n")
    importlib.reload(low)
    assert (changed != before, f.cache.key(1)) == (True, before)
    del sys.modules["reloaded_low"]


def test_a_file_edited_behind_running_code_does_not_mislead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Byte code on disk is not asked whether the file has changed within a second.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "edited_low.py").write_text("def f(x): return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    low = importlib.import_module("edited_low")
    (tmp_path / "edited_low.py").write_text("def f(x): return 2\n")
    running = cache(low.f).cache.key(1)
    del sys.modules["edited_low"]
    linecache.checkcache()
    importlib.invalidate_caches()
    later = importlib.import_module("edited_low")
    assert later.f(1) == 2
    assert cache(later.f).cache.key(1) != running
    del sys.modules["edited_low"]


def test_an_argument_of_a_class_that_changes_has_another_key(session: Session) -> None:
    session.run("class C:\n    def m(self): return 1\n@cache\ndef f(x): return x.m()\nc = C()\n")
    before = session.key(session.scope["c"])
    session.run("C.m = lambda self: 2")
    assert session.key(session.scope["c"]) != before


def test_a_callback_that_changes_has_another_key(session: Session) -> None:
    session.run("n = 1\ndef by(x): return n\n@cache\ndef f(x): return x(1)\n")
    before = session.key(session.scope["by"])
    session.run("n = 2")
    assert session.key(session.scope["by"]) != before


def test_a_client_is_known_by_its_type_and_warned_of_once(session: Session) -> None:
    session.run("import sqlite3\ndb = sqlite3.connect(':memory:')\n@cache\ndef f(x): return db\n")
    with pytest.warns(PerscacheWarning, match=r"global __main__\.db .* sqlite3\.Connection"):
        before = session.key()
    session.scope["db"].close()
    session.run("db = sqlite3.connect(':memory:')")
    assert session.key() == before
    session.scope["db"].close()


def test_two_closures_never_share(session: Session) -> None:
    def make(n: Any) -> Callable[[int], Any]:
        return cache(lambda x: (x, n))

    keys = {make(n).cache.key(1) for n in (1, 2, True, "1", [1], {"a": 1}, None, len, make)}  # type: ignore[attr-defined]
    assert len(keys) == 9


def test_keys_are_made_by_many_threads_at_once(session: Session) -> None:
    session.run("c = {'a': 1}\ndef g(x): return c\n@cache\ndef f(x): return g(x)\n")
    found: set[str] = set()
    start = threading.Barrier(16)

    def ask() -> None:
        start.wait()
        for _ in range(50):
            found.add(session.key(types.SimpleNamespace(a=[1, {2}])))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 1


def test_a_forked_child_makes_the_same_keys_of_large_arrays() -> None:
    numpy = pytest.importorskip("numpy")
    if not hasattr(__import__("os"), "fork"):
        pytest.skip("this system does not fork")
    import multiprocessing

    value = numpy.arange(3_000_000)
    here = subject.cache.key(value)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert set(pool.map(_key_of, [value, value])) == {here}


@cache
def subject(value: Any) -> Any:
    return value


def _key_of(value: Any) -> str:
    return str(subject.cache.key(value))


@pytest.fixture(autouse=True)
def _no_cells_left() -> Iterator[None]:
    yield
    for name in [name for name in linecache.cache if name.startswith("<cell ")]:
        del linecache.cache[name]


@pytest.mark.filterwarnings("ignore::perscache.PerscacheWarning")
def test_locks_queues_and_pools_of_libraries_are_known_by_type(session: Session) -> None:
    session.run(
        "import concurrent.futures, queue, threading\n"
        "started, places, jobs = threading.Event(), threading.Semaphore(3), queue.Queue()\n"
        "pool = concurrent.futures.ThreadPoolExecutor(1)\n"
        "@cache\n"
        "def f(x):\n"
        "    started.set(); places.acquire(); jobs.put(x)\n"
        "    return pool.submit(int, x).result()\n"
    )
    before = session.key()
    session.run("f(1)")
    assert session.key() == before
    session.run("jobs = queue.LifoQueue()")
    assert session.key() != before
    session.run("pool.shutdown()")
