"""The kit for plugin authors: sound plugins pass it, and each broken one is told what is wrong and what to do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple
from xml.etree import ElementTree as ET

import pytest

HERE = Path(__file__).parent

SERIALIZER = """
    from perscache.plugins import Serializer, hookimpl

    PERSCACHE_API = 1

    class NotesSerializer(Serializer):
        name = "{name}"
        extension = "txt"

        def dumps(self, data):
            return repr(data).encode()

        def loads(self, data):
            raise NotImplementedError

    @hookimpl
    def perscache_serializers():
        return [NotesSerializer]
"""

OBSERVER = """
    import queue
    from perscache.plugins import hookimpl

    PERSCACHE_API = 1
    told = queue.Queue(10)

    @hookimpl
    def perscache_error(call, stage, error):
        {does}
"""

HANDLER = """
    import itertools
    from perscache.plugins import hookimpl

    PERSCACHE_API = 1
    numbers = itertools.count()

    @hookimpl
    def perscache_fingerprints():
        return {{"{name}": of_money}}

    def of_money(value):
        return {gives}
"""

MONEY = """
    class Money:
        def __init__(self, amount, currency, note=""):
            self.amount, self.currency, self.note = amount, currency, note
"""


class Package(NamedTuple):
    """A module, and what its distribution says of it."""

    source: str
    kind: str
    name: str


def serializer(name: str = "", change: tuple[str, str] = ("", "")) -> Package:
    source = SERIALIZER.format(name=name)
    assert change[0] in source
    return Package(source.replace(*change) if change[0] else source, "serializers", name)


def observer(name: str, does: str) -> Package:
    return Package(OBSERVER.format(does=does), "observers", name)


def handler(gives: str, name: str = "money.Money") -> Package:
    return Package(HANDLER.format(name=name, gives=gives), "fingerprints", "")


API = "    PERSCACHE_API = 1\n"

PACKAGES: Mapping[str, Package] = {
    "money": Package(MONEY, "", ""),
    "heavy_library": Package("", "", ""),
    "sound_serializer": serializer("sound", (API, API + "\n    def later():\n        import heavy_library\n")),
    "sound_observer": observer("watcher", "told.queue.append(stage)"),
    "sound_money": Package(
        HANDLER.format(name="money.Money", gives="value.amount, value.currency"), "fingerprints", "money"
    ),
    "heavy_top": serializer("heavy", (API, API + "\n    import heavy_library\n")),
    "provides_less": Package(SERIALIZER.format(name="notes"), "serializers", "remarks"),
    "declares_less": serializer("less", ("return [", "return [type('More', (NotesSerializer,), {'name': 'more'}), ")),
    "unknown_hook": serializer("unknown", ("def perscache_serializers", "def perscache_serialisers")),
    "no_api": serializer("no-api", (API, "")),
    "later_api": serializer("later", (API, "    PERSCACHE_API = 99\n")),
    "not_installed": Package(SERIALIZER.format(name="nobody"), "", ""),
    "eager": serializer("eager"),
    "dotted_extension": serializer("dotted", ('"txt"', '".txt"')),
    "raising_observer": observer("raising", "error.args[0].upper()"),
    "blocking_observer": observer("blocking", "told.put(stage)"),
    "unnamed_observer": serializer(
        "unnamed", ("    @hookimpl\n", "    @hookimpl\n    def perscache_hit(call):\n        pass\n\n    @hookimpl\n")
    ),
    "money_leaves_out": handler("value.amount"),
    "money_by_address": handler("value.amount, value.currency, id(value)"),
    "money_by_hash": handler("value.amount, hash(value.currency)"),
    "money_elsewhere": handler("value.amount, value.currency", "money.coins.Money"),
    "money_counts": handler("value.amount, value.currency, next(numbers)"),
}

# Which test catches it, and what that must say.
STORAGES: Mapping[str, tuple[str, str]] = {
    "HalfWritten": ("a_reader_sees_one_writers_value_whole", "Write aside .* then put it in place in one step"),
    "DraftsListed": ("a_reader_sees_one_writers_value_whole", r"entries\(\) gave .* Write aside"),
    "NothingForMissing": ("what_is_absent_is_not_found", "must raise FileNotFoundError .* It raised nothing"),
    "WrongErrorForMissing": ("what_is_absent_is_not_found", "must raise FileNotFoundError .* It raised KeyError"),
    "NeverExpires": (
        "an_entry_expires_by_a_deadline",
        "must raise CacheExpired for what was written before the deadline",
    ),
    "TwinNeverExpires": ("an_entry_expires_by_its_age", r"\.aload\(path, max_age\) must raise CacheExpired"),
    "TouchedByReading": ("reading_does_not_make_younger", "never expires: keep the two apart"),
    "NeverFreshAgain": ("storing_again_makes_fresh", "the second store.. makes it fresh"),
    "TimeOfReading": ("the_time_of_writing_comes_with_a_hit_or_is_left_out", "seconds since the epoch, or None"),
    "Stripping": ("bytes_come_back_as_they_were", "keep bytes as they are, without stripping"),
    "TextForBytes": ("bytes_come_back_as_they_were", "gave a str: it must give bytes"),
    "WithHeader": ("the_stored_bytes_open_as_what_their_extension_says", "keep the bytes as they are"),
    "SmallLetters": ("entries_are_kept_apart_whatever_their_names", "change no letter of it"),
    "Remembering": ("another_instance_sees_writes_and_removals_at_once", "what an instance remembers must not answer"),
    "LookedUpAnyhow": ("many_are_looked_up_in_order", "in the order of the paths"),
    "YoungCopies": ("a_copy_is_as_old_as_its_result", "keep entry.created as the time of writing, or give False"),
    "DeletedAlready": ("deleting_says_whether_there_was_one", "must give False where there is nothing"),
    "DeletesNothing": ("deleting_says_whether_there_was_one", r"still finds it"),
    "ClearsNamesakes": ("clearing_one_function_leaves_the_others", "that function and nothing else"),
    "Forgetful": ("entries_are_listed_by_function_or_all", "forgets .* list what the place holds"),
    "ListsItsOwn": ("entries_written_at_once_are_all_listed", "whichever instance, thread or process wrote it"),
    "PrunesEverything": ("pruning_removes_what_is_too_old", "2 entries went: one of the two was older"),
    "Silent": ("listeners_hear_of_removals", "call each of self.listeners"),
    "NoPeek": (
        "what_is_declared_is_what_the_class_has",
        r"has no peek\(\): give it the method, or declare lists = False",
    ),
    "AnotherIdentity": ("instances_of_one_place_have_one_identity", "make it of where the entries are"),
    "TwoWinners": ("one_at_a_time_holds_the_lock_of_an_entry", "take it in one step"),
    "LocksThreadsOnly": ("another_process_shares_the_place_and_waits_for_its_turn", "must hold between processes"),
    "LeftLocked": ("who_dies_while_computing_is_taken_over_from", "a lock must end with its holder"),
    "NotForkSafe": ("a_forked_process_shares_the_place", r"hung|open them anew where os.getpid\(\) has changed"),
    "NotPicklable": ("a_pickled_copy_sees_the_same", "leave connections and locks out in __getstate__"),
    "NotShared": (
        "another_process_shares_the_place_and_waits_for_its_turn",
        "must open what it needs .* raised FileNotFoundError",
    ),
    "Belied": ("what_is_declared_is_what_the_class_has", "leave the declaration out"),
    "Verifying": ("changed_bytes_are_damage_or_seen", "compare them with a digest, or declare verifies = False"),
    "Unsaid": ("what_is_absent_is_not_found", "override the fixture open_storage"),
}

SERIALIZERS: Mapping[str, tuple[str, str]] = {
    "DottedExtension": ("its_extension_is_the_ending_of_a_file", "without a dot in front"),
    "SpacedName": ("its_name_can_be_written", "it must be what users write"),
    "TextForBytes": ("a_value_comes_back_as_it_was", r"text is to be encoded: \.encode\(\)"),
    "OrderLost": ("a_value_comes_back_as_it_was", "the order .* became .*: keep it, refuse it"),
    "TypeLost": (
        "any_value_comes_back_as_it_was_or_is_announced_or_refused",
        "the int 1 .* became the str .* announce it",
    ),
    "DamageAccepted": ("damaged_bytes_are_no_value", "any exception makes the call a miss"),
    "HalfAccepted": ("damaged_bytes_are_no_value", "look for the end, or keep the length"),
    "NotPicklable": ("it_goes_to_another_process", "keep in the instance what pickles"),
    "AnotherIdentity": ("it_goes_to_another_process", "make it of name, version and settings"),
    "Sorting": ("storing_leaves_the_value_as_it_is", "change a copy"),
    "RefusesNothing": ("what_is_refused_is_named", "raise SerializationError .* It raised nothing"),
    "RefusesWithoutAWord": ("what_is_refused_is_named", "that says which type. It says: cannot"),
    "RunsCode": ("loading_runs_no_code", "do not use pickle, eval or an unsafe loader"),
    "ByHash": ("what_one_process_writes_another_reads", "with another hash seed, must read what this one wrote"),
    "OneBufferForAll": ("threads_do_not_disturb_each_other", "in several threads at once gave back another value"),
    "BytesOnly": ("its_bytes_are_read_in_the_form_that_it_asks_for", "take any buffer, or leave reads out"),
    "LoosePieces": ("a_value_comes_back_as_it_was", r"the joined buffers\(\).*raised"),
    "Unsaid": ("its_name_can_be_written", "override the fixture serializer"),
}

PLUGINS: Mapping[str, tuple[str, str]] = {
    "_heavy_top": (
        "naming_it_does_not_import_its_library",
        "imports heavy_library.* import it inside the functions",
    ),
    "_provides_less": ("it_provides_what_it_declares", "declares the serializer 'remarks' .* say the same"),
    "_declares_less": ("it_declares_what_it_provides", 'add more = "declares_less" to .*perscache.serializers'),
    "_unknown_hook": ("it_says_for_which_api_it_was_written", "no hook .*did you mean 'perscache_serializers'"),
    "_no_api": ("it_says_for_which_api_it_was_written", "needs the line PERSCACHE_API = 1"),
    "_later_api": ("it_says_for_which_api_it_was_written", "version 99 of the plugin API"),
    "_not_installed": ("it_provides_what_it_declares", "add it to pyproject.toml.*pip install --editable"),
    "_eager": ("who_does_not_name_it_does_not_import_it", r"look for a \.pth file, sitecustomize"),
    "_dotted_extension": ("it_provides_what_it_declares", "without a dot in front"),
    "_raising_observer": (
        "an_observer_never_raises_and_holds_nobody_up",
        "raised AttributeError.* catch what your service",
    ),
    "_blocking_observer": ("an_observer_never_raises_and_holds_nobody_up", r"did not return .* put_nowait\(\)"),
    "_unnamed_observer": ("it_declares_what_it_provides", "event hooks and no entry point .*perscache.observers"),
    "Fingerprints_money_leaves_out": (
        "what_differs_has_another_key",
        "let the handler give all in which two can differ",
    ),
    "Fingerprints_money_by_address": ("what_counts_as_equal_has_one_key", "leave out what is of no importance"),
    "Fingerprints_money_by_hash": ("another_process_finds_the_same_key", r"must not use hash\(\)"),
    "Fingerprints_money_elsewhere": ("it_is_asked_for_these_types", "where the class is defined"),
    "Fingerprints_money_counts": ("a_key_stays_the_same", "no counters, addresses or times"),
}

CASES = [
    (file, name, f"test_{test}", message)
    for file, cases in (("storages", STORAGES), ("serializers", SERIALIZERS), ("plugins", PLUGINS))
    for name, (test, message) in cases.items()
]

SOUND = {
    "storages": ["TestSound"],
    "serializers": ["TestSound"],
    "plugins": ["Test_sound_serializer", "Test_sound_observer", "Test_sound_money", "TestFingerprints_sound_money"],
}


class Outcome(NamedTuple):
    """What became of a test."""

    file: str
    tests: str
    test: str
    failure: str | None
    skipped: str | None


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    """The kit's, on all of them, in a process that has the packages on its path."""
    home = tmp_path_factory.mktemp("kit")
    site = home / "site"
    site.mkdir()
    for module, (source, kind, name) in PACKAGES.items():
        (site / f"{module}.py").write_text(dedent(source), encoding="utf-8")
        info = site / f"{module}-1.0.dist-info"
        info.mkdir()
        requires = "" if module == "heavy_library" else "Requires-Dist: heavy-library>=1\n"
        metadata = f"Metadata-Version: 2.1\nName: {module.replace('_', '-')}\nVersion: 1.0\n{requires}"
        (info / "METADATA").write_text(metadata, encoding="utf-8")
        (info / "top_level.txt").write_text(f"{module}\n", encoding="utf-8")
        if kind and name:
            (info / "entry_points.txt").write_text(f"[perscache.{kind}]\n{name} = {module}\n", encoding="utf-8")
    (site / "sitecustomize.py").write_text("import eager\n", encoding="utf-8")
    (home / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    sound = [f"{HERE / f'broken_{file}.py'}::{tests}" for file, several in SOUND.items() for tests in several]
    broken = [f"{HERE / f'broken_{file}.py'}::Test{name}::{test}" for file, name, test, _ in CASES]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "--import-mode=importlib", "-p", "no:cacheprovider", "--tb=short"),
            *(
                "-c",
                home / "pytest.ini",
                "--rootdir",
                HERE,
                "--basetemp",
                home / "tests",
                "--junitxml",
                home / "told.xml",
            ),
            *sound,
            *broken,
        ],
        cwd=home,
        env=os.environ | {"PYTHONPATH": str(site)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return [_outcome(case) for case in ET.parse(home / "told.xml").iter("testcase")]


def _outcome(case: ET.Element) -> Outcome:
    file, _, tests = case.attrib["classname"].rpartition(".")
    told = {child.tag: child.attrib["message"] for child in case if "message" in child.attrib}
    return Outcome(
        file.rpartition("broken_")[2],
        tests,
        case.attrib["name"].partition("[")[0],
        told.get("failure", told.get("error")),
        told.get("skipped"),
    )


@pytest.mark.parametrize(("file", "name", "test", "message"), CASES, ids=[f"{file}-{name}" for file, name, *_ in CASES])
def test_a_broken_plugin_is_told_what_to_do(outcomes: list[Outcome], file: str, name: str, test: str, message: str):
    told = [one.failure for one in outcomes if (one.file, one.tests, one.test) == (file, f"Test{name}", test)]
    failures = [failure for failure in told if failure is not None]
    assert failures, f"{test} does not catch it"
    assert re.search(message, failures[0]), failures[0]


@pytest.mark.parametrize("file", SOUND)
def test_a_sound_plugin_passes(outcomes: list[Outcome], file: str):
    told = [one for one in outcomes if one.file == file and one.tests in SOUND[file]]
    assert {one.tests for one in told} == set(SOUND[file])
    assert [one for one in told if one.failure is not None] == []
    # What is skipped says why: a declaration, or what the class itself lacks.
    reasons = {one.skipped for one in told if one.skipped is not None}
    assert all(
        re.search(r"declares \w+ = False|has no|gives no|is False|is given|offers|on no", reason) for reason in reasons
    )
