"""A name finds its plugin, installed, built in or registered; where it cannot, the message says why and what to do."""

import sys
import threading
from textwrap import dedent
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import perscache.serializers
import perscache.storage
from perscache.errors import (
    ConfigurationError,
    PerscacheWarning,
    PluginContractError,
    PluginImportError,
    PluginNotInstalled,
    PluginVersionError,
    RivalPlugins,
    UnknownPlugin,
)
from perscache.plugins import Serializer, hookimpl, register, registry, unregister

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

BUCKET = """
    from perscache.plugins import Storage, hookimpl

    PERSCACHE_API = 1

    class BucketStorage(Storage):
        schemes = ("bucket", "bkt")

        def __init__(self):
            self.kept = {}

        def read(self, path, deadline):
            try:
                return self.kept[path]
            except KeyError:
                raise FileNotFoundError(path) from None

        def write(self, path, data):
            self.kept[path] = data

        @classmethod
        def from_url(cls, url, **options):
            return cls()

    @hookimpl
    def perscache_storages():
        return [BucketStorage]
"""

DECLARES_INI = "[perscache.serializers]\nini = ini_plugin\n"


def message(expected: type[Exception], name: str) -> str:
    with pytest.raises(expected) as caught:
        registry.serializer(name)
    return str(caught.value)


# --- Found.


def test_an_installed_serializer_is_found_by_the_name_of_its_entry_point(site):
    site.install("perscache-ini", entry_points=DECLARES_INI, ini_plugin=INI)
    found = registry.serializer("ini")
    assert found.__name__ == "IniSerializer"
    assert found().loads(found().dumps({"a": 1})) == {"a": 1}


def test_a_storage_is_found_by_each_of_its_schemes_and_its_module_is_loaded_once(site, capsys):
    points = "[perscache.storages]\nbucket = bucket_plugin\nbkt = bucket_plugin\n"
    site.install("perscache-bucket", entry_points=points, bucket_plugin=BUCKET + "\n    print('loaded')\n")
    assert registry.storage_class("bucket") is registry.storage_class("BKT")
    assert capsys.readouterr().out == "loaded\n"


def test_an_entry_point_may_name_an_object_in_a_module(site):
    source = """
        from ini_plugin import IniSerializer
        from perscache.plugins import hookimpl

        PERSCACHE_API = 1

        class Plugin:
            @hookimpl
            def perscache_serializers(self):
                return [IniSerializer]

        plugin = Plugin()
    """
    points = "[perscache.serializers]\nini = ini_object:plugin\n"
    site.install("perscache-ini", entry_points=points, ini_object=source, ini_plugin=INI)
    assert registry.serializer("ini").name == "ini"


def test_plugins_that_nobody_names_are_not_imported(site):
    points = DECLARES_INI + "[perscache.observers]\nbad = bad_plugin\n"
    site.install("perscache-ini", entry_points=points, ini_plugin=INI, bad_plugin="raise SystemExit('imported')")
    registry.serializer("ini")
    assert "bad_plugin" not in sys.modules


def test_built_in_names_are_found_without_a_scan(run):
    run(
        """
        from perscache.plugins import discovery, registry
        registry.serializer("json"), registry.serializer("cloudpickle"), registry.storage_class("memory")
        assert not discovery.scanned()
        """
    )


def test_what_was_installed_after_the_scan_is_found(site):
    assert "pip install" not in message(UnknownPlugin, "ini")
    # As pip does it in a running notebook: nobody tells perscache.
    site.put("perscache-ini", entry_points=DECLARES_INI, ini_plugin=INI)
    assert registry.serializer("ini").name == "ini"


def test_threads_that_ask_at_once_get_the_same_class(site):
    site.install("perscache-ini", entry_points=DECLARES_INI, ini_plugin="import time; time.sleep(0.05)\n" + dedent(INI))
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(registry.serializer("ini"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_plugin_whose_module_asks_for_plugins_in_another_thread_does_not_block(site):
    # A lock held around the import would never come free.
    source = """
        import threading
        from perscache.plugins import registry
        thread = threading.Thread(target=registry.serializer, args=("json",))
        thread.start()
        thread.join(20)
        assert not thread.is_alive()
    """
    site.install("perscache-ini", entry_points=DECLARES_INI, ini_plugin=dedent(source) + dedent(INI))
    assert registry.serializer("ini").name == "ini"


def test_the_first_of_two_copies_on_the_path_counts_as_it_does_for_imports(site, tmp_path, monkeypatch):
    site.install("perscache-ini", "1.0", entry_points=DECLARES_INI, ini_plugin=INI)
    older = type(site)(tmp_path / "older")
    older.put("perscache-ini", "0.9", entry_points="[console_scripts]\nini = ini_plugin:run\n")
    monkeypatch.syspath_prepend(older.folder)
    registry.rescan()
    message(UnknownPlugin, "ini")


# --- Not to be had.


@pytest.mark.parametrize("name", ["csv", "parquet", "yaml"])
def test_a_known_name_that_is_not_installed_says_what_to_install(bare, name):
    assert message(PluginNotInstalled, name).endswith(f"pip install perscache-{name}")


@pytest.mark.parametrize(
    ("scheme", "distribution"),
    [("az", "perscache-azure"), ("gs", "perscache-gcs"), ("s3", "perscache-s3"), ("sftp", "perscache-fsspec")],
)
def test_a_known_scheme_that_is_not_installed_says_what_to_install(bare, scheme, distribution):
    with pytest.raises(PluginNotInstalled, match=f"'{scheme}://'.*pip install {distribution}$"):
        registry.storage_class(scheme)


def test_a_scheme_with_another_behind_a_plus_is_for_who_offers_it(bare):
    points = "[perscache.storages]\nbucket = bucket_plugin\nbkt = bucket_plugin\n"
    bare.install("perscache-bucket", entry_points=points, bucket_plugin=BUCKET)

    assert registry.storage_class("Bucket+sftp") is registry.storage_class("bucket")
    with pytest.raises(PluginNotInstalled, match=r"'fsspec://'.*pip install perscache-fsspec$"):
        registry.storage_class("fsspec+sftp")
    with pytest.raises(UnknownPlugin, match="'attic://'"):
        registry.storage_class("attic+sftp")


def test_a_known_distribution_without_the_name_is_to_be_upgraded(site):
    site.install("perscache-redis", "0.1")
    with pytest.raises(PluginNotInstalled, match=r"perscache-redis 0\.1 .*pip install --upgrade perscache-redis$"):
        registry.storage_class("redis")


def test_an_unknown_name_gets_a_suggestion_and_what_there_is(site):
    site.install("perscache-ini", entry_points=DECLARES_INI, ini_plugin=INI)
    text = message(UnknownPlugin, "inni")
    assert "did you mean 'ini'?" in text
    assert "ini, json" in text
    assert "did you mean 'json'?" in message(UnknownPlugin, "JSON")
    assert "did you mean" not in message(UnknownPlugin, "zzzzzz")


def test_one_letter_is_a_windows_drive():
    with pytest.raises(ConfigurationError, match="Windows drive"):
        registry.storage_class("c")


def test_a_module_that_lacks_something_says_what_and_how_to_get_it(site):
    site.install("perscache-ini", "1.2", entry_points=DECLARES_INI, ini_plugin="import configparser_of_nobody")
    with pytest.raises(PluginImportError) as caught:
        registry.serializer("ini")
    text = str(caught.value)
    for part in (
        "perscache-ini 1.2",
        "ini_plugin",
        "configparser_of_nobody",
        "pip install --force-reinstall perscache-ini",
    ):
        assert part in text
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


@pytest.mark.parametrize("source", ["1 / 0", "raise SystemExit(3)", "def broken(:", "from os import no_such_thing"])
def test_a_module_that_fails_is_an_error_of_the_plugin_with_its_cause(site, source):
    site.install("perscache-ini", entry_points=DECLARES_INI, ini_plugin=source)
    with pytest.raises(PluginImportError, match="pip install --upgrade perscache-ini") as caught:
        registry.serializer("ini")
    assert caught.value.__cause__ is not None


def test_a_hook_that_cannot_import_what_it_gives_is_an_import_error(site):
    source = INI.replace("return [IniSerializer]", "import library_of_nobody")
    site.install("perscache-ini", entry_points=DECLARES_INI, ini_plugin=source)
    assert "library_of_nobody" in message(PluginImportError, "ini")


def test_a_plugin_that_failed_works_as_soon_as_it_is_mended(site):
    site.install("perscache-ini", entry_points=DECLARES_INI, ini_plugin="1 / 0")
    message(PluginImportError, "ini")
    (site.folder / "ini_plugin.py").write_text(dedent(INI) + "# mended\n", encoding="utf-8")
    registry.rescan()
    assert registry.serializer("ini").name == "ini"


def test_two_distributions_with_one_name_are_both_named_and_neither_is_picked(site, monkeypatch):
    site.install("perscache-ini", "1.0", entry_points=DECLARES_INI, ini_plugin=INI)
    site.install("ini-for-all", "2.0", entry_points="[perscache.serializers]\nini = other_ini\n", other_ini=INI)
    text = message(RivalPlugins, "ini")
    assert "perscache-ini 1.0" in text
    assert "ini-for-all 2.0" in text
    assert "PERSCACHE_DISABLE_PLUGINS" in text
    assert not {"ini_plugin", "other_ini"} & sys.modules.keys()
    monkeypatch.setenv("PERSCACHE_DISABLE_PLUGINS", "ini-for-all")
    assert registry.serializer("ini").__module__ == "ini_plugin"


def test_a_built_in_name_cannot_be_taken_over_by_installing_something(site):
    points = DECLARES_INI + "json = json_thief\n"
    site.install("json-thief", entry_points=points, ini_plugin=INI, json_thief=INI.replace('"ini"', '"json"'))
    with pytest.warns(PerscacheWarning, match=r"json-thief 1.0.*'json'.*perscache\.plugins\.register"):
        registry.serializer("ini")
    assert registry.serializer("json") is perscache.serializers.JSONSerializer


# --- Declared and not provided.

BREACHES = {
    "another name": ('name = "ini"', 'name = "other"', r"declares the serializer 'ini'.*gives 'other'"),
    "no name": ('name = "ini"', "", r"\.name is ''"),
    "a name that is none": ('name = "ini"', 'name = "a/b"', r"\.name is 'a/b'"),
    "no extension": ('extension = "ini"', "", r"\.extension is None"),
    "a dot before the extension": ('extension = "ini"', 'extension = ".ini"', r"\.extension is '\.ini'"),
    "no method": ("def loads", "def reads", r"lacks loads\(\)"),
    "no subclass": ("IniSerializer(Serializer)", "IniSerializer", r"derived from perscache\.plugins\.Serializer"),
    "an instance": ("[IniSerializer]", "[IniSerializer()]", r"derived from perscache\.plugins\.Serializer"),
    "no list": ("[IniSerializer]", "IniSerializer", "must give a list"),
    "nothing": ("return [IniSerializer]", "return []", "gives nothing"),
    "one name twice": ("[IniSerializer]", "[IniSerializer, type('B', (IniSerializer,), {})]", "two things named 'ini'"),
    "no mark": ("@hookimpl", "", "@hookimpl"),
    "no hook": ("@hookimpl\n    def perscache_serializers", "def something", "implements no hook"),
    "a hook of another name": ("def perscache_serializers", "def perscache_serialisers", "'perscache_serializers'"),
    "an argument too many": ("perscache_serializers()", "perscache_serializers(config)", "config"),
    "a coroutine": ("def perscache_serializers", "async def perscache_serializers", "coroutine|awaited"),
    "a hook that raises": ("return [IniSerializer]", "return 1 / 0", "ZeroDivisionError"),
    "no API number": ("PERSCACHE_API = 1", "", r"PERSCACHE_API = 1"),
    "an API number that is none": ("PERSCACHE_API = 1", "PERSCACHE_API = '1'", "must be a number"),
}


@pytest.mark.parametrize(("right", "wrong", "said"), BREACHES.values(), ids=BREACHES)
@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
def test_a_plugin_that_breaks_the_contract_is_told_how(site, right, wrong, said):
    assert right in INI
    site.install("perscache-ini", "1.2", entry_points=DECLARES_INI, ini_plugin=INI.replace(right, wrong))
    with pytest.raises(PluginContractError, match=f"(?s)perscache-ini 1.2.*({said})"):
        registry.serializer("ini")


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ('("bucket", "bkt")', '"bucket"', "must be a tuple"),
        ('("bucket", "bkt")', '("bucket", "b")', "Windows drive"),
        ('("bucket", "bkt")', "()", "must be a tuple"),
        ("from_url", "of_url", r"no from_url\(\)"),
        ("def write", "def keep", r"lacks write\(\)"),
    ],
)
def test_a_storage_that_breaks_the_contract_is_told_how(site, right, wrong, said):
    points = "[perscache.storages]\nbucket = bucket_plugin\n"
    site.install("perscache-bucket", entry_points=points, bucket_plugin=BUCKET.replace(right, wrong))
    with pytest.raises(PluginContractError, match=f"perscache-bucket 1.0.*{said}"):
        registry.storage_class("bucket")


@pytest.mark.parametrize(("number", "behind"), [(0, "perscache-ini"), (2, "perscache-core")])
def test_a_plugin_for_another_api_says_which_side_to_upgrade(site, number, behind):
    source = INI.replace("PERSCACHE_API = 1", f"PERSCACHE_API = {number}")
    site.install("perscache-ini", entry_points=DECLARES_INI, ini_plugin=source)
    assert message(PluginVersionError, "ini").endswith(f"pip install --upgrade {behind}")


# --- Broken installations.


def test_a_broken_installation_does_not_hide_the_others(site):
    site.install("perscache-ini", entry_points=DECLARES_INI, ini_plugin=INI)
    site.install("somebody-else", entry_points="[console_scripts]\nno equals sign\n")
    with pytest.warns(PerscacheWarning, match="metadata cannot be read"):
        site.install("perscache-broken", entry_points="[perscache.serializers]\nno equals sign\n")
    assert registry.serializer("ini").name == "ini"


def test_an_entry_point_that_names_no_module_is_passed_over(site, monkeypatch):
    monkeypatch.setenv("PERSCACHE_DISABLE_PLUGINS", "ini_plugin")
    site.install("perscache-ini", entry_points=DECLARES_INI, ini_plugin=INI)
    with pytest.warns(PerscacheWarning, match="metadata cannot be read"):
        site.install("perscache-broken", entry_points="[perscache.serializers]\nbroken = no module!\n")
    assert "disabled" in message(UnknownPlugin, "ini")


def test_what_is_left_of_a_removed_distribution_is_passed_over(site):
    info = site.install("perscache-ini", entry_points=DECLARES_INI, ini_plugin=INI)
    (info / "METADATA").unlink()
    with pytest.warns(PerscacheWarning, match="metadata cannot be read"):
        registry.rescan()
    message(UnknownPlugin, "ini")


# --- Disabled.


@pytest.mark.parametrize("value", ["perscache-ini", "Perscache_INI", "ini_plugin", " ini_plugin , json_thief"])
@pytest.mark.filterwarnings("ignore::perscache.errors.PerscacheWarning")
def test_a_disabled_plugin_is_not_found_and_its_name_says_why(site, monkeypatch, value):
    monkeypatch.setenv("PERSCACHE_DISABLE_PLUGINS", value)
    site.install("perscache-ini", entry_points=DECLARES_INI, ini_plugin=INI)
    text = message(UnknownPlugin, "ini")
    assert "perscache-ini 1.0" in text
    assert f"PERSCACHE_DISABLE_PLUGINS={value}" in text
    assert "ini_plugin" not in sys.modules


def test_a_part_of_a_module_name_disables_nothing_and_what_matches_nothing_warns(site, monkeypatch):
    monkeypatch.setenv("PERSCACHE_DISABLE_PLUGINS", "ini")
    with pytest.warns(PerscacheWarning, match=r"PERSCACHE_DISABLE_PLUGINS names 'ini'.*perscache-ini"):
        site.install("perscache-ini", entry_points=DECLARES_INI, ini_plugin=INI)
    assert registry.serializer("ini").name == "ini"


# --- Registered.


def module(name: str, source: str = INI) -> ModuleType:
    made = ModuleType(name)
    exec(dedent(source), made.__dict__)
    return made


def test_a_registered_module_is_found_until_it_is_unregistered(registered):
    plugin = registered(module("script"))
    assert registry.serializer("ini") is plugin.IniSerializer
    unregister(plugin)
    message(UnknownPlugin, "ini")
    with pytest.raises(UnknownPlugin, match="script is not registered"):
        unregister(plugin)


def test_a_registered_object_gives_what_its_hooks_give(registered):
    ini = module("script").IniSerializer

    class Plugin:
        @hookimpl
        def perscache_serializers(self):
            return [ini]

    registered(Plugin())
    assert registry.serializer("ini") is ini


def test_a_registered_plugin_may_take_over_a_built_in_name(registered):
    plugin = registered(module("script", INI.replace('name = "ini"', 'name = "json"')))
    assert registry.serializer("json") is plugin.IniSerializer
    unregister(plugin)
    assert registry.serializer("json") is perscache.serializers.JSONSerializer


def test_registering_again_reads_anew_and_a_redefinition_replaces(registered):
    plugin = registered(module("script"))
    plugin.IniSerializer = other = type("Other", (plugin.IniSerializer,), {})
    registered(plugin)
    assert registry.serializer("ini") is other
    again = registered(module("script"))
    assert registry.serializer("ini") is again.IniSerializer


def test_two_registered_plugins_cannot_share_a_name_and_the_first_one_stays(registered):
    first = registered(module("first"))
    with pytest.raises(RivalPlugins, match="first and second claim the serializer 'ini'"):
        registered(module("second"))
    assert registry.serializer("ini") is first.IniSerializer


def test_a_plugin_that_fails_to_register_changes_nothing(registered):
    source = INI + "\n    @hookimpl\n    def perscache_storages():\n        return [1]\n"
    with pytest.raises(PluginContractError):
        registered(module("script", source))
    message(UnknownPlugin, "ini")


@pytest.mark.parametrize("wrong", [None, "json", 7, Serializer, SimpleNamespace(), ModuleType("empty")])
def test_what_is_no_plugin_cannot_be_registered(wrong):
    with pytest.raises(PluginContractError, match=r"plugin|implements no hook"):
        register(wrong)


# --- By class.


def test_the_classes_of_plugins_are_attributes_of_perscache(bare):
    points = "[perscache.serializers]\nyaml = yaml_plugin\n[perscache.storages]\ngs = bucket_plugin\n"
    ini, bucket = INI.replace('"ini"', '"yaml"'), BUCKET.replace('"bucket"', '"gs"')
    bare.install("perscache-yaml", entry_points=points, yaml_plugin=ini, bucket_plugin=bucket)
    assert perscache.serializers.YAMLSerializer.__module__ == "yaml_plugin"
    assert perscache.storage.GoogleCloudStorage.__module__ == "bucket_plugin"


def test_importing_the_class_of_a_missing_plugin_says_what_to_install(bare):
    with pytest.raises(ImportError, match=r"pip install perscache-parquet$"):
        from perscache.serializers import ParquetSerializer  # noqa: F401
    with pytest.raises(ImportError, match=r"pip install perscache-gcs$"):
        from perscache.storage import GoogleCloudStorage  # noqa: F401


def test_modules_list_the_classes_that_they_give_and_no_others():
    assert {"Serializer", "JSONSerializer", "ParquetSerializer"} <= set(dir(perscache.serializers))
    assert {"Storage", "CacheExpired", "GoogleCloudStorage"} <= set(dir(perscache.storage))
    for face in (perscache.serializers, perscache.storage):
        assert all(getattr(face, name).__name__ == name for name in face.__all__ if name != "make_serializer")
        assert not hasattr(face, "NoSuchThing")
