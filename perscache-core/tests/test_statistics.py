"""How calls went is known after the process, of every process, and costs the calls nothing."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cloudpickle
import pytest

from perscache import Cache, NoCache
from perscache.counts import Counts
from perscache.statistics import write_down
from perscache.storage import LocalFileStorage, MemoryStorage

LEDGER = Path("results/.state/statistics.jsonl")

HEAD = """
import os, sys
from perscache import Cache
cache = Cache("json", "results")

@cache(name="f")
def f(x):
    return "abc"
"""


def ledger(name: str = "f") -> Counts | None:
    """What the storage tells a new process of a function."""
    return LocalFileStorage("results").ledger().read().get(name)


def counted(name: str = "f") -> tuple[int, int] | None:
    counts = ledger(name)
    return None if counts is None else (counts.hits, counts.misses)


def test_hits_and_misses_of_many_processes_add_up(script):
    for _ in range(3):
        script(HEAD + "f(1), f(2), f(1)")
    assert counted() == (7, 2)
    counts = ledger()
    assert counts is not None
    assert counts.bytes == 7 * len('"abc"')
    assert counts.saved > 0


def test_expired_entries_and_trouble_are_counted(script):
    script(HEAD + "f(1)")
    script(HEAD.replace('name="f"', 'name="f", ttl=0.0') + "import time; time.sleep(0.01); f(1)")
    (file,) = Path("results/f").glob("*.json")
    file.write_text("3")
    script(HEAD + "import warnings; warnings.simplefilter('ignore'); f(1)")
    assert ledger() == Counts(0, 3, 1, 1, 0, 0.0)


def test_a_cache_tells_of_this_process_and_those_before(script):
    script(HEAD + "f(1)")
    assert script(HEAD + "f(1), f(2); print(tuple(cache.statistics()['f'][:2]))") == "(1, 2)\n"
    assert Cache(storage="results").statistics() == {"f": ledger()}
    assert Cache(storage="elsewhere").statistics() == {}
    assert Cache(storage="memory://").statistics() == {}
    assert MemoryStorage().ledger() is None


def test_only_functions_that_were_called_are_written(script):
    script(HEAD + "@cache(name='g')\ndef g(): pass\nf(1)")
    assert set(LocalFileStorage("results").ledger().read()) == {"f"}
    before = LEDGER.read_bytes()
    script(HEAD)
    assert LEDGER.read_bytes() == before


@pytest.mark.parametrize("when", ["at once", "in a cycle"])
def test_functions_that_were_collected_are_counted_too(script, when):
    source = """
import gc, weakref
def once(x):
    @cache(name="g")
    def g(x): return x
    g(x), g(x)
    if {cycle}:
        g.itself = g
    return weakref.ref(g)
gone = [once(x) for x in range(3)]
gc.collect()
assert all(reference() is None for reference in gone)
"""
    script(HEAD + source.format(cycle=when == "in a cycle"))
    assert counted("g") == (3, 3)


def test_a_million_short_lived_functions_would_take_the_memory_of_one():
    from perscache import statistics

    cache = Cache("json", "results")

    def define() -> None:
        cache(name="g")(lambda: 1)()

    gc.collect()
    gc.freeze()  # What other tests left need not be looked at each time.
    try:
        write_down()
        before = len(statistics._live)
        for _ in range(20):
            define()
            gc.collect()
    finally:
        gc.unfreeze()
    assert len(statistics._live) <= before
    assert len(statistics._past) == len(statistics._gone) == 1
    write_down()
    assert counted("g") == (19, 1)


def test_what_was_written_is_not_written_again():
    cache = Cache("json", "results")
    f = cache(name="f")(lambda: 1)
    f()
    write_down()
    f()
    write_down()
    write_down()
    assert counted() == (1, 1)
    assert f.cache_info()[:2] == (1, 1)


# --- Where nothing is to be written


@pytest.mark.parametrize("mode", ["readonly", "offline", "bypass"])
def test_a_mode_that_writes_nothing_writes_no_statistics(script, mode):
    script(HEAD + "f(1)")
    before = LEDGER.read_bytes()
    script(HEAD + "f(1)", PERSCACHE_MODE=mode)
    assert LEDGER.read_bytes() == before


def test_where_nothing_was_ever_stored_nothing_is_made(script):
    script(HEAD.replace('name="f"', 'name="f", store_if=lambda _: False, lock=False') + "f(1)")
    assert not Path("results").exists()


def test_without_a_cache_nothing_is_counted():
    f = NoCache(storage="results")(lambda: 1)
    f()
    write_down()
    assert not Path("results").exists()


def test_a_ledger_that_cannot_be_written_is_no_trouble(script):
    script(HEAD + "f(1)")
    LEDGER.unlink()
    LEDGER.mkdir()
    assert script(HEAD + "f(1)") == ""
    assert ledger() is None


def test_a_planted_symlink_or_pipe_is_not_written_to(script, tmp_path):
    script(HEAD + "f(1)")
    victim = tmp_path / "victim"
    victim.write_text("mine")
    LEDGER.unlink()
    LEDGER.symlink_to(victim)
    script(HEAD + "f(1)")
    assert victim.read_text() == "mine"
    assert ledger() is None
    LEDGER.unlink()
    os.mkfifo(LEDGER)
    script(HEAD + "f(1)")
    assert ledger() is None


def test_a_storage_that_vanished_is_not_made_again(script):
    script(HEAD + "import shutil; f(1); shutil.rmtree('results')")
    assert not Path("results").exists()


# --- Damage


def test_lines_that_are_torn_or_foreign_are_passed_over(script):
    script(HEAD + "f(1)")
    whole = LEDGER.read_bytes()
    for length in range(len(whole)):
        LEDGER.write_bytes(whole[:length])
        assert counted() in {None, (0, 1)}
    LEDGER.write_bytes(whole[: len(whole) // 2])  # A disk that was full.
    script(HEAD + "f(1)")
    assert counted() == (1, 0)
    LEDGER.write_bytes(LEDGER.read_bytes() + os.urandom(1000) + b'\n{"sum":"0123456789abcdef","function":"f"}\n')
    assert counted() == (1, 0)


def test_no_flipped_bit_is_believed(script):
    script(HEAD + "f(1)")
    whole = LEDGER.read_bytes().strip()
    for position in range(len(whole)):
        LEDGER.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        # What stands around the checksum is the same in every line, and not looked at.
        around = position < 8 or 24 <= position < 26
        assert ledger() == (Counts(misses=1) if around else None)


# --- Many processes


ADDING = """
import sys
from perscache.counts import Counts
from perscache.storage import LocalFileStorage
ledger = LocalFileStorage("results").ledger()
for number in range(200):
    ledger.add({"f" * 500: Counts(hits=1), f"g{number % 10}": Counts(misses=1, saved=0.5)})
"""


def test_no_count_is_lost_while_the_ledger_is_rewritten(script):
    script(HEAD + "f(1)")
    processes = [subprocess.Popen([sys.executable, "-c", ADDING]) for _ in range(6)]
    assert [process.wait(60) for process in processes] == [0] * 6
    found = LocalFileStorage("results").ledger().read()
    assert found["f" * 500] == Counts(hits=1200)
    assert [found[f"g{number}"] for number in range(10)] == [Counts(misses=120, saved=60.0)] * 10
    # 1,200 additions of some 800 bytes: it was rewritten more than once.
    assert LEDGER.stat().st_size < 300_000
    assert not list(LEDGER.parent.glob("*.tmp"))


def test_the_child_of_a_fork_writes_its_own_counts_only(script):
    script(
        HEAD
        + """
f(1), f(1)
child = os.fork()
if not child:
    f(1)
    sys.exit()
os.waitpid(child, 0)
f(1)
"""
    )
    assert counted() == (3, 1)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_multiprocessing_are_counted(script, method):
    script(
        HEAD
        + f"""
import multiprocessing
if __name__ == "__main__":
    f(1)
    context = multiprocessing.get_context({method!r})
    workers = [context.Process(target=f, args=(1,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
"""
    )
    assert counted() == (3, 1)


def test_workers_of_an_executor_are_counted(script):
    script(
        HEAD
        + """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
if __name__ == "__main__":
    f(1)
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        list(pool.map(f, [1] * 10))
"""
    )
    assert counted() == (10, 1)


def test_a_function_sent_to_another_process_counts_there():
    f = Cache("json", Path("results").absolute())(name="f")(lambda x: x)
    f(1)
    receiver = "import cloudpickle, sys; f = cloudpickle.load(sys.stdin.buffer); f(1), f(1)"
    subprocess.run([sys.executable, "-c", receiver], input=cloudpickle.dumps(f), check=True, timeout=60)
    assert counted() == (2, 0)


def test_a_process_that_is_killed_costs_its_own_counts_only(script):
    script(HEAD + "f(1)")
    done = subprocess.run(
        [sys.executable, "-c", HEAD + f"f(1); os.kill(os.getpid(), {int(signal.SIGKILL)})"], check=False
    )
    assert done.returncode == -signal.SIGKILL
    script(HEAD + "f(1)")
    assert counted() is not None


def test_the_ledger_is_lines_that_people_and_programs_can_read(script):
    script(HEAD + "f(1)")
    (line,) = LEDGER.read_text().split("\n")[1:-1]
    told = json.loads(line)
    assert (told["function"], told["misses"]) == ("f", 1)
    assert LEDGER.stat().st_mode & 0o777 == 0o600
