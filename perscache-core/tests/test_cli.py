"""The terminal: what lies in a cache is listed, shown, checked, sealed and removed, and no value is ever loaded."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from perscache import Cache
from perscache.errors import PerscacheWarning
from perscache.storage import LocalFileStorage
from perscache.units import seconds, size_in_bytes, spelled_duration, spelled_size


def objects(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


SHOP = """
from perscache import Cache

cache = Cache("json", "results")

@cache(name="shop.prices")
def prices(day, *, currency="EUR"):
    return {"day": day, "prices": [1, 2, 3]}

@cache(name="shop.stock")
def stock(item):
    return "x" * item

@cache(name="other.report", serializer="pickle")
def report():
    return [1.5]

prices("2024-01-01"), prices("2024-01-02"), stock(5000), report()
"""


@pytest.fixture
def shop(script: Callable[..., str]) -> Path:
    """A cache of four entries of three functions, in ``results``."""
    script(SHOP)
    return Path("results").absolute()


def age(file: Path, seconds: float) -> None:
    os.utime(file, (time.time() - seconds,) * 2)


def flip(file: Path, position: int = 0) -> None:
    data = bytearray(file.read_bytes())
    data[position] ^= 1
    file.write_bytes(data)


def files(folder: Path) -> set[Path]:
    return {file for file in folder.rglob("*") if file.is_file() and ".state" not in file.parts}


# --- ls


def test_ls_tells_of_each_entry_where_it_is_and_what_it_was_called_with(shop, perscache):
    entries = {entry["path"]: entry for entry in objects(perscache("ls", "--storage", shop, "--json"))}
    assert {shop / path for path in entries} == {file for file in files(shop) if file.suffix in {".json", ".pickle"}}
    (stock,) = [entry for entry in entries.values() if entry["function"] == "shop.stock"]
    assert stock["arguments"] == "item=5000"
    assert stock["format"] == "json"
    assert stock["size"] == 5002
    assert 0 < stock["compute_time"] < 10
    assert abs(time.time() - stock["created"]) < 60

    printed = perscache("ls", "--storage", shop).stdout
    assert stock["path"] in printed
    assert "5.0 kB" in printed
    assert "shop.stock(item=5000)" in printed
    assert len(printed.splitlines()) == 1 + 4


@pytest.mark.parametrize(
    ("pattern", "functions"),
    [
        ("shop.prices", ["shop.prices", "shop.prices"]),
        ("shop.*", ["shop.prices", "shop.prices", "shop.stock"]),
        ("*.report", ["other.report"]),
        ("[ab]*", []),
        ("shop", []),
    ],
)
def test_ls_lists_the_functions_that_a_name_or_pattern_matches(shop, perscache, pattern, functions):
    found = objects(perscache("ls", pattern, "--storage", shop, "--json"))
    assert sorted(entry["function"] for entry in found) == functions


def test_a_function_is_found_by_its_name_whatever_its_folder(perscache):
    cache = Cache("json", "results")
    names = ["f.<locals>.g", "a" * 100, "größe"]
    for name in names:
        cache(name=name)(lambda: 1)()
    for name in names:
        (entry,) = objects(perscache("ls", name, "--storage", "results", "--json"))
        assert entry["function"] == name


def test_ls_selects_by_age_and_size(shop, perscache):
    for file in shop.glob("shop.prices/*.json"):
        age(file, 8 * 86400)
    chosen = [
        (("--older-than", "7d"), {"shop.prices"}),
        (("--younger-than", "7d"), {"shop.stock", "other.report"}),
        (("--older-than", "7d", "--younger-than", "8d"), set()),
        (("--larger-than", "5kB"), {"shop.stock"}),
        (("--larger-than", "5kB", "--older-than", "7d"), set()),
    ]
    for options, functions in chosen:
        found = objects(perscache("ls", *options, "--storage", shop, "--json"))
        assert {entry["function"] for entry in found} == functions


def test_the_summary_has_a_line_for_each_function_with_how_its_calls_went(shop, perscache, script):
    script(SHOP)
    summary = {row["function"]: row for row in objects(perscache("ls", "--summary", "--storage", shop, "--json"))}
    assert set(summary) == {"shop.prices", "shop.stock", "other.report"}
    prices = summary["shop.prices"]
    assert (prices["entries"], prices["hits"], prices["misses"]) == (2, 2, 2)
    assert prices["oldest"] < prices["newest"]
    assert prices["saved"] > 0
    assert summary["shop.stock"]["size"] == summary["shop.stock"]["bytes_read"] == 5002

    lines = perscache("ls", "--summary", "--storage", shop).stdout.splitlines()
    assert lines[1].endswith("shop.stock")
    assert lines[-1].split()[0] == "4"
    assert lines[-1].endswith("3 functions")


def test_functions_whose_results_are_gone_keep_their_counts(shop, perscache):
    perscache("clear", "shop.*", "-y", "--storage", shop)
    summary = {row["function"]: row for row in objects(perscache("ls", "--summary", "--storage", shop, "--json"))}
    assert (summary["shop.prices"]["entries"], summary["shop.prices"]["misses"]) == (0, 2)
    only = objects(perscache("ls", "other.*", "--summary", "--storage", shop, "--json"))
    assert [row["function"] for row in only] == ["other.report"]


def test_records_of_accepted_edits_are_no_results(script, perscache):
    source = "from perscache import Cache\n@Cache('json', 'results')(name='f')\ndef f(x): return x{}\n{}"
    script(source.format("", "f(1)"))
    assert script(source.format(" + 0", "print(f.cache.accept())")) == "1\n"
    assert [entry["function"] for entry in objects(perscache("ls", "--storage", "results", "--json"))] == ["f"]
    assert objects(perscache("verify", "--storage", "results", "--json"))[0]["ok"] == 2
    assert objects(perscache("clear", "--storage", "results", "--json"))[0]["entries"] == 2
    assert objects(perscache("clear", "-y", "--storage", "results", "--json"))[0]["entries"] == 2


def test_where_nothing_is_stored_ls_says_so_and_makes_nothing(perscache):
    done = perscache("ls")
    assert done.stdout == ""
    assert str(Path(".cache").absolute()) in done.stderr
    assert "--storage" in done.stderr
    assert not Path(".cache").exists()


def test_whoever_stops_reading_is_left_alone(perscache):
    storage = LocalFileStorage("many")
    for number in range(3000):
        storage.write(f"f/{number:040x}.pickle", b"")
    listing = f"{shlex.quote(sys.executable)} -m perscache ls --storage many"
    done = subprocess.run(["sh", "-c", f"{listing} | head -n 1"], capture_output=True, text=True, check=False)
    assert done.stdout.split()[:2] == ["AGE", "SIZE"]
    assert done.stderr == ""


def test_the_first_line_is_there_before_the_last_is_found(perscache):
    storage = LocalFileStorage("many")
    for number in range(3000):
        storage.write(f"f/{number:040x}.pickle", b"")
    command = [sys.executable, "-m", "perscache", "ls", "--storage", "many"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        # The pipe holds 64 KiB and the list is longer: the process cannot have ended.
        assert process.stdout.readline().split()[0] == "AGE"
        assert process.poll() is None
        assert len(process.stdout.readlines()) == 3000
    assert process.returncode == 0


def test_what_would_command_the_terminal_is_written_out(perscache):
    cache = Cache("json", "results")
    cache(name="evil\x1b[31m")(lambda text: text)("\x1b]0;title\x07")
    (entry,) = objects(perscache("ls", "--storage", "results", "--json"))
    shown = perscache("ls", "--storage", "results").stdout + perscache("ls", "--summary", "--storage", "results").stdout
    shown += perscache("show", entry["path"], "--storage", "results").stdout
    assert "\x1b" not in shown
    assert "evil\\x1b[31m" in shown


def test_a_narrow_encoding_is_no_reason_to_fail(perscache):
    Cache("json", "results")(name="größe")(lambda x: x)("…")
    for command in (["ls"], ["ls", "--summary"], ["verify"]):
        perscache(*command, "--storage", "results", PYTHONIOENCODING="ascii")


# --- Which storage


def test_the_storage_is_the_one_that_cache_would_use(shop, perscache):
    def found(**environment: str) -> int:
        return len(objects(perscache("ls", "--json", **environment)))

    assert found() == 0
    assert found(PERSCACHE_STORAGE=str(shop)) == 4
    assert found(PERSCACHE_STORAGE=f"file://{shop}") == 4
    Path("perscache.toml").write_text(f"storage = {json.dumps(str(shop))}\n")
    assert found() == 4
    assert found(PERSCACHE_STORAGE="elsewhere") == 0
    # What is missing for computing is not needed for looking.
    assert found(PERSCACHE_SERIALIZER="no such", PERSCACHE_STORAGE=str(shop)) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required"),
        (["list"], "invalid choice"),
        (["ls", "--older-than", "soon"], "'soon' is no duration"),
        (["ls", "--larger-than", "much"], "'much' is no size"),
        (["ls", "--storage", "gopher://hole"], "gopher"),
        (["seal", "x", "--storage", "memory://"], "--storage"),
    ],
)
def test_a_command_line_without_meaning_is_refused_with_status_2(perscache, arguments, message):
    done = perscache(*arguments, status=2)
    assert message in done.stderr
    assert done.stdout == ""


def test_a_setting_without_meaning_is_named(perscache):
    Path("perscache.toml").write_text('storrage = "x"\n')
    assert "did you mean 'storage'" in perscache("ls", status=2).stderr


# --- show


def test_show_tells_all_of_an_entry_with_its_first_lines(shop, perscache):
    (entry, _) = objects(perscache("ls", "shop.prices", "--storage", shop, "--json"))
    for name, options in ((entry["path"], ["--storage", shop]), (shop / entry["path"], []), (entry["path"], None)):
        environment = {} if options is not None else {"PERSCACHE_STORAGE": str(shop)}
        (told,) = objects(perscache("show", name, *(options or []), "--json", **environment))
        assert told["arguments"] == entry["arguments"]
        assert told["file"] == str(shop / entry["path"])
        assert told["seal"] == "intact"
        assert json.loads("\n".join(told["content"]))["prices"] == [1, 2, 3]
        assert {"code", "argument 'day'", "argument 'currency'"} <= told["parts"].keys()
    printed = perscache("show", entry["path"], "--storage", shop).stdout
    for fact in ("shop.prices", entry["arguments"], "intact", "[1, 2, 3]", *told["parts"].values()):
        assert fact in printed


def test_long_content_is_cut(perscache):
    storage = LocalFileStorage("results")
    storage.write(f"f/{0:040x}.txt", b"\n".join(b"%d" % number + b"x" * 1000 for number in range(100)))
    printed = perscache("show", f"f/{0:040x}.txt", "--storage", "results").stdout
    assert "  9xxx" in printed
    assert "10xxx" not in printed
    assert max(map(len, printed.splitlines())) < 200


BOMB = """
import os, sys
from perscache import Cache

class Bomb:
    def __reduce__(self):
        return os.mkdir, (sys.argv[0] + ".exploded",)

Cache({serializer!r}, "results")(name="bomb")(lambda: Bomb())()
"""


@pytest.mark.parametrize("serializer", ["pickle", "cloudpickle"])
def test_no_command_loads_a_pickle(script, perscache, serializer):
    script(BOMB.format(serializer=serializer))
    (entry,) = objects(perscache("ls", "--storage", "results", "--json"))
    commands = ["ls", "ls --summary", "verify", f"show {entry['path']}", f"seal results/{entry['path']}", "prune"]
    for command in [*commands, "prune -y --older-than 1d", "clear", "clear -y"]:
        perscache(*command.split(), "--storage", "results")
    assert not list(Path.cwd().rglob("*.exploded"))


def test_show_of_what_is_not_there_says_so(shop, perscache):
    assert "is not stored in" in perscache("show", f"shop.prices/{0:040x}.json", "--storage", shop, status=1).stderr
    assert "<function>/<hash>" in perscache("show", "prices", "--storage", shop, status=1).stderr


def test_show_of_a_damaged_entry_tells_what_is_wrong_and_leaves_it(shop, perscache):
    (file,) = shop.glob("shop.stock/*.json")
    flip(file)
    (told,) = objects(perscache("show", file, "--json", status=1))
    assert told["seal"] == "damaged"
    assert told["content"] is None
    assert str(file) in told["problem"]
    assert file.exists()


# --- verify and seal


def test_verify_reads_everything_and_finds_nothing_wrong(shop, perscache):
    assert objects(perscache("verify", "--storage", shop, "--json")) == [
        {"ok": 4, "damaged": 0, "unsealed": 0, "problems": []}
    ]
    assert "4 entries" in perscache("verify", "--storage", shop).stdout


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "swap"])
def test_verify_finds_damage_and_changes_nothing(shop, perscache, damage):
    one, other = sorted(shop.glob("shop.prices/*.json"))
    if damage == "flip":
        flip(one)
    elif damage == "swap":
        first, second = one.read_bytes(), other.read_bytes()
        one.write_bytes(second)
        other.write_bytes(first)
    else:
        os.truncate(one, 20 if damage == "cut" else 0)
    before = {file: file.read_bytes() for file in files(shop)}
    expected = 2 if damage == "swap" else 1

    (told,) = objects(perscache("verify", "--storage", shop, "--json", status=1))
    assert (told["ok"], told["damaged"]) == (4 - expected, expected)
    assert told["problems"][0]["path"].startswith("shop.prices/")
    assert str(one) in perscache("verify", "shop.prices", "--storage", shop, status=1).stdout
    perscache("verify", "shop.stock", "--storage", shop)

    assert {file: file.read_bytes() for file in files(shop)} == before
    assert not (shop / ".state" / "aside").exists()


def test_verify_notes_no_use_of_an_entry(perscache):
    storage = LocalFileStorage("results", max_entries=10)
    storage.write(f"f/{0:040x}.pickle", b"x")
    file = Path("results", "f", f"{0:040x}.pickle")
    os.utime(file, (time.time() - 10**6,) * 2)
    before = file.stat().st_atime_ns
    perscache("verify", "--storage", "file://results?max_entries=10")
    assert file.stat().st_atime_ns == before


def test_what_is_trusted_without_a_seal_is_told_apart(shop, perscache):
    (file,) = shop.glob("shop.stock/*.json")
    file.write_text('"edited"')
    perscache("verify", "--storage", shop, status=1)
    (told,) = objects(perscache("verify", "--storage", f"file://{shop}?trust_unsealed=true", "--json"))
    assert (told["ok"], told["unsealed"], told["damaged"]) == (3, 1, 0)


def test_an_edit_is_blessed_with_the_command_that_the_warning_names(perscache, monkeypatch, tmp_path):
    cache = Cache("json", "results")
    runs = []

    @cache
    def f(x):
        runs.append(x)
        return x

    f(1)
    file = Path("results", f.cache.key(1)).absolute()
    file.write_text("42")
    with pytest.warns(PerscacheWarning, match="perscache seal") as caught:
        assert f(1) == 1
    command = str(caught[0].message).split("`")[1]
    monkeypatch.chdir(tmp_path)
    assert "sealed" in perscache(*shlex.split(command)[1:]).stdout
    assert f(1) == 42
    assert runs == [1, 1]


def test_an_edit_in_place_is_blessed(shop, perscache):
    (file,) = shop.glob("shop.stock/*.json")
    file.write_text('"edited"')
    perscache("verify", "--storage", shop, status=1)
    assert objects(perscache("seal", file, "--json")) == [{"path": f"shop.stock/{file.name}"}]
    perscache("verify", "--storage", shop)
    assert objects(perscache("show", file, "--json"))[0]["content"] == ['"edited"']


def test_what_is_no_entry_is_not_sealed(shop, perscache):
    Path("stray.json").write_text("1")
    assert "stray.json" in perscache("seal", "stray.json", "--storage", shop, status=1).stderr
    assert "nowhere.json" in perscache("seal", shop / "shop.stock" / "nowhere.json", status=1).stderr


# --- prune and clear


def test_prune_says_what_is_old_and_removes_it_only_when_told_to(shop, perscache):
    for file in shop.glob("shop.prices/*.json"):
        age(file, 31 * 86400)
    before = files(shop)
    (dry,) = objects(perscache("prune", "--older-than", "30d", "--storage", shop, "--json"))
    assert (dry["entries"], dry["done"]) == (2, False)
    assert dry["size"] == sum(len(json.dumps({"day": "2024-01-0x", "prices": [1, 2, 3]})) for _ in range(2))
    assert "2 entries" in perscache("prune", "--older-than", "30d", "--storage", shop).stdout
    assert files(shop) == before

    (done,) = objects(perscache("prune", "--older-than", "30d", "-y", "--storage", shop, "--json"))
    assert (done["entries"], done["done"]) == (2, True)
    assert not list(shop.glob("shop.prices/*.json"))
    assert list(shop.glob("shop.stock/*.json"))


def test_prune_keeps_to_the_limit_and_says_before_what_that_costs(perscache):
    storage = LocalFileStorage("results")
    for number in range(5):
        storage.write(f"f/{number:040x}.pickle", bytes(100))
        age(Path("results", "f", f"{number:040x}.pickle"), 1000 - number)
    for limit in ("max_size=250", "max_entries=2"):
        (dry,) = objects(perscache("prune", "--json", "--storage", f"file://results?{limit}"))
        assert (dry["entries"], dry["over_limit"], dry["size"]) == (3, 3, 300)
    assert "3 entries, 300 B, over the limit" in perscache("prune", "--storage", "file://results?max_size=250").stdout
    (done,) = objects(perscache("prune", "-y", "--json", "--storage", "file://results?max_size=250"))
    assert done["entries"] == 3
    assert sorted(path.name[38:40] for path in Path("results/f").glob("*.pickle")) == ["03", "04"]


def test_clear_says_what_would_go_and_removes_it_only_when_told_to(shop, perscache):
    before = files(shop)
    assert objects(perscache("clear", "shop.*", "--storage", shop, "--json"))[0]["entries"] == 3
    assert "-y" in perscache("clear", "--storage", shop).stdout
    assert files(shop) == before

    assert objects(perscache("clear", "shop.*", "-y", "--storage", shop, "--json")) == [{"entries": 3, "done": True}]
    assert [entry["function"] for entry in objects(perscache("ls", "--storage", shop, "--json"))] == ["other.report"]
    assert "1 entry removed" in perscache("clear", "-y", "--storage", shop).stdout
    assert objects(perscache("ls", "--storage", shop, "--json")) == []


def test_clear_removes_only_what_we_wrote(shop, perscache):
    mine = [shop / "notes.txt", shop / "shop.prices" / "notes.txt", shop / "shop.prices" / "mine.json"]
    for file in mine:
        file.write_text("{}")
    perscache("clear", "-y", "--storage", shop)
    assert all(file.read_text() == "{}" for file in mine)
    assert files(shop) - {shop / "CACHEDIR.TAG", shop / ".gitignore"} == set(mine)


def test_the_disk_space_of_many_entries_is_free_when_clear_returns(perscache):
    storage = LocalFileStorage("many")
    for number in range(1500):
        storage.write(f"f/{number:040x}.pickle", b"")
    perscache("clear", "-y", "--storage", "many")
    assert not list(Path("many").rglob("*.pickle"))


# --- The program


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_345, "12 kB"), (999_600, "1.0 MB"), (2 * 10**15, "2000 TB")],
)
def test_sizes_are_read_back_as_they_are_spelled(size, text):
    assert spelled_size(size) == text
    assert size_in_bytes(text) == pytest.approx(size, rel=0.05)


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (0, "0 ms"),
        (0.0123, "12 ms"),
        (0.9999, "1.0 s"),
        (59.96, "59 s"),
        (7200, "2 h"),
        (86399, "23 h"),
        (8.64e6, "100 d"),
    ],
)
def test_durations_are_read_back_as_they_are_spelled(duration, text):
    assert spelled_duration(duration) == text
    assert seconds(text) == pytest.approx(duration, rel=0.05)


def test_the_program_called_perscache_is_this_one():
    (script,) = metadata.entry_points(group="console_scripts", name="perscache")
    assert script.load()(["ls", "--json"]) == 0


def test_every_command_explains_itself(perscache):
    general = perscache("--help").stdout
    for command in ("ls", "show", "verify", "seal", "prune", "clear"):
        assert command in general
        assert "--json" in perscache(command, "--help").stdout
