"""``perscache plugins``: what is offered is known without importing it; what cannot be had is told with the way out."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from perscache.cli import main
from perscache.plugins import registry

INI = """
    from perscache.plugins import Serializer, hookimpl

    PERSCACHE_API = 1

    class IniSerializer(Serializer):
        name = "ini"
        extension = "ini"

        def dumps(self, data):
            return repr(data).encode()

        def loads(self, data):
            return eval(data)

    @hookimpl
    def perscache_serializers():
        return [IniSerializer]
"""

EVERYTHING = (
    INI
    + """
    from perscache.plugins import Storage

    class BucketStorage(Storage):
        schemes = ("bucket",)

        def read(self, path, deadline):
            raise FileNotFoundError(path)

        def write(self, path, data):
            pass

        @classmethod
        def from_url(cls, url, **options):
            return cls()

    @hookimpl
    def perscache_storages():
        return [BucketStorage]

    @hookimpl
    def perscache_fingerprints():
        return {"shapes.Circle": lambda circle: circle.radius}

    @hookimpl
    def perscache_miss(call, reason):
        pass
"""
)
DECLARES_EVERYTHING = """
    [perscache.serializers]
    ini = all_plugin
    [perscache.storages]
    bucket = all_plugin
    [perscache.fingerprints]
    shapes = all_plugin
    [perscache.observers]
    watcher = all_plugin
"""

Run = Callable[..., Any]


@pytest.fixture
def perscache(bare, capsys) -> Run:
    """Run the command line here, where nothing is installed but what the test puts down; gives what it printed."""

    def run(*arguments: str, status: int = 0) -> Any:
        registry.rescan()
        capsys.readouterr()
        assert main(arguments) == status
        return capsys.readouterr()

    return run


@pytest.fixture
def plugins(perscache) -> Run:
    """What ``perscache plugins --json`` tells, by distribution and name."""

    def run(*arguments: str, status: int = 0) -> dict[tuple[str, str], dict[str, Any]]:
        lines = perscache("plugins", "--json", *arguments, status=status).out.splitlines()
        return {(offer["distribution"], offer["name"]): offer for offer in map(json.loads, lines)}

    return run


def test_what_is_offered_is_listed_without_importing_it(site, run):
    site.put("perscache-all", "1.2", entry_points=DECLARES_EVERYTHING, all_plugin="raise SystemExit('imported')")
    printed = run(f"""
        import sys
        sys.path.insert(0, {str(site.folder)!r})
        from perscache.cli import main
        from perscache.plugins import discovery
        assert main(["plugins", "--json"]) == 0
        offers = discovery.scan()
        assert not {{claim.module for claims in offers.claims.values() for claim in claims}} & sys.modules.keys()
    """)
    found = [json.loads(line) for line in printed.splitlines()]
    told = {offer["name"]: offer for offer in found if offer["distribution"] == "perscache-all"}
    kinds = {name: offer["kind"] for name, offer in told.items()}
    assert kinds == {"ini": "serializer", "bucket": "storage", "shapes": "fingerprint", "watcher": "observer"}
    ini = told["ini"]
    assert (ini["version"], ini["module"], ini["state"], ini["problems"]) == ("1.2", "all_plugin", "installed", [])
    ours = {offer["name"] for offer in found if offer["state"] == "built in"}
    assert ours == {"cloudpickle", "json", "pickle", "file", "memory"}


def test_the_list_is_a_table(site, perscache):
    site.put("perscache-all", "1.2", entry_points=DECLARES_EVERYTHING)
    first, *lines = perscache("plugins").out.splitlines()
    assert first.split() == ["NAME", "KIND", "DISTRIBUTION", "VERSION", "STATE", "MODULE"]
    (ini,) = [line for line in lines if line.startswith("ini ")]
    assert ini.split() == ["ini", "serializer", "perscache-all", "1.2", "installed", "all_plugin"]
    assert ini.index("serializer") == first.index("KIND")


def test_check_loads_each_and_says_which_work(site, plugins):
    site.put("perscache-all", entry_points=DECLARES_EVERYTHING, all_plugin=EVERYTHING)
    found = plugins("--check")
    ours = [offer for (distribution, _), offer in found.items() if distribution == "perscache-all"]
    assert [offer["state"] for offer in ours] == ["works"] * 4
    assert all(offer["seconds"] >= 0 for offer in ours)


BROKEN = {
    "import": ("import no_such_library", "cannot be imported", "pip install --force-reinstall perscache-ini"),
    "exit": ("raise SystemExit(3)", "cannot be imported (SystemExit: 3)", "pip install --upgrade perscache-ini"),
    "contract": (INI.replace('name = "ini"', 'name = "other"'), "declares the serializer 'ini'", "or tell its authors"),
    "version": (INI.replace("PERSCACHE_API = 1", "PERSCACHE_API = 9"), "version 9 of the plugin API", "pip install"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_check_says_what_is_broken_and_what_to_do(site, plugins, perscache, case):
    source, fact, remedy = BROKEN[case]
    site.put("perscache-ini", entry_points="[perscache.serializers]\nini = ini_plugin\n", ini_plugin=source)
    assert plugins()["perscache-ini", "ini"]["state"] == "installed"
    ini = plugins("--check", status=1)["perscache-ini", "ini"]
    assert ini["state"] == "broken"
    (problem,) = ini["problems"]
    assert fact in problem
    assert remedy in problem
    assert problem in perscache("plugins", "--check", status=1).err


def test_check_tells_fingerprints_and_observers_that_are_not_what_they_declare(site, plugins):
    points = "[perscache.fingerprints]\nshapes = ini_plugin\n[perscache.observers]\nini = ini_plugin\n"
    site.put("perscache-ini", entry_points=points, ini_plugin=INI)
    found = plugins("--check", status=1)
    assert "gives them for nothing" in found["perscache-ini", "shapes"]["problems"][0]
    assert "implements no event hook" in found["perscache-ini", "ini"]["problems"][0]


def test_two_that_claim_one_name_are_rivals(site, plugins, perscache):
    for number in (1, 2):
        points = f"[perscache.serializers]\nini = ini_plugin_{number}\n"
        site.put(f"perscache-ini-{number}", entry_points=points, **{f"ini_plugin_{number}": INI})
    for arguments, status in (((), 0), (("--check",), 1)):
        found = plugins(*arguments, status=status)
        for number in (1, 2):
            rival = found[f"perscache-ini-{number}", "ini"]
            assert rival["state"] == "rival"
            assert "perscache picks neither: uninstall one" in rival["problems"][0]
    assert perscache("plugins").err.count("perscache picks neither") == 1


def test_the_disabled_are_not_loaded(site, plugins, monkeypatch):
    monkeypatch.setenv("PERSCACHE_DISABLE_PLUGINS", "perscache-all")
    site.put("perscache-all", entry_points=DECLARES_EVERYTHING, all_plugin="raise SystemExit('imported')")
    assert plugins("--check")["perscache-all", "ini"]["state"] == "disabled"


def test_a_name_that_is_built_in_is_shadowed(site, plugins):
    site.put("fast-json", entry_points="[perscache.serializers]\njson = json_plugin\n", json_plugin="")
    found = plugins()
    assert found["fast-json", "json"]["state"] == "shadowed"
    assert found["perscache-core", "json"]["state"] == "built in"


def test_what_is_wrong_with_the_metadata_is_told(site, perscache, monkeypatch):
    monkeypatch.setenv("PERSCACHE_DISABLE_PLUGINS", "no-such-thing")
    info = site.put("perscache-ini", entry_points="[perscache.serializers]\nini = ini_plugin\n")
    (info / "METADATA").write_text("")
    told = perscache("plugins").err
    assert f"A distribution in {site.folder}" in told
    assert "names 'no-such-thing'" in told
    perscache("plugins", "--check", status=1)


def test_what_a_plugin_prints_is_no_part_of_the_list(site, plugins):
    points = "[perscache.serializers]\nini = ini_plugin\n"
    site.put("perscache-ini", entry_points=points, ini_plugin="print('hello')\n" + INI.replace("\n    ", "\n"))
    assert plugins("--check")["perscache-ini", "ini"]["state"] == "works"


def test_names_that_would_command_the_terminal_are_written_out(site, perscache):
    site.put("perscache-evil", entry_points="[perscache.serializers]\ne\x1b[31mvil = ini_plugin\n", ini_plugin=INI)
    told = perscache("plugins").out
    assert "\x1b" not in told
    assert "e\\x1b[31mvil" in told
