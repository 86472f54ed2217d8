"""``perscache doctor``: what is in force and where it is from; what is wrong, each with the way out."""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import perscache
from perscache.cli import main
from perscache.plugins import registry

Doctor = Callable[..., dict[str, Any]]


@pytest.fixture
def doctor(bare, capsys) -> Doctor:
    """What ``perscache doctor --json`` tells where only the core is installed, and what the test puts down."""
    bare.put("perscache-core", "1.2.3")

    def run(*, storage: str | None = "memory://", problems: int = 0) -> dict[str, Any]:
        registry.rescan()
        capsys.readouterr()
        status = main(["doctor", "--json", *(() if storage is None else ("--storage", storage))])
        told: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert len(told["problems"]) == problems, told["problems"]
        assert status == (1 if problems else 0)
        return told

    return run


def settings(told: dict[str, Any]) -> dict[str, tuple[Any, str]]:
    return {setting["name"]: (setting["value"], setting["source"]) for setting in told["settings"]}


# --- A sound installation.


def test_where_nothing_is_wrong_it_says_so_and_leaves_nothing(doctor, capsys):
    before = sorted(Path.cwd().rglob("*"))
    told = doctor(storage=None)
    assert told["python"]["version"] in sys.version
    assert told["distributions"] == [
        {"name": "perscache-core", "version": "1.2.3", "folder": str(Path(perscache.__file__).parents[1])}
    ]
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert printed.endswith("Nothing is wrong.\n")
    for fact in ("perscache-core", "1.2.3", "cloudpickle", str(Path(".cache").absolute())):
        assert fact in printed
    assert sorted(Path.cwd().rglob("*")) == before


# --- Settings.


def test_no_password_is_told(doctor, monkeypatch):
    for told, storage in (
        ("memory://***@host", "memory://me:secret@host"),
        (["memory://", "gs://***@bucket?password=***&x=1"], '["memory://", "gs://:secret@bucket?password=secret&x=1"]'),
        ("C:/me@work/cache", "C:/me@work/cache"),
    ):
        monkeypatch.setenv("PERSCACHE_STORAGE", storage)
        assert settings(doctor(storage="memory://"))["storage"] == (told, "PERSCACHE_STORAGE")


def test_each_setting_is_told_with_where_it_is_from(doctor, monkeypatch):
    Path("perscache.toml").write_text('serializer = "json"\nstorage = "kept"\nttl = "1d"\nlock = false\n')
    monkeypatch.setenv("PERSCACHE_TTL", "2h")
    monkeypatch.setenv("PERSCACHE_MODE", "readonly")
    file = str(Path("perscache.toml").absolute())
    told = doctor(storage=None)
    found = settings(told)
    assert found["serializer"] == ("json", file)
    assert found["storage"] == (str(Path("kept").absolute()), file)
    assert found["lock"] == (False, file)
    assert found["ttl"] == ("2h", "PERSCACHE_TTL")
    assert found["mode"] == ("readonly", "PERSCACHE_MODE")
    assert found["track"] == ("deps", "default")
    assert told["storage"][0]["storage"] == f"file:{Path('kept').absolute()}"
    assert told["remarks"][0].startswith("PERSCACHE_MODE puts caches in the mode 'readonly': take that out")


def test_settings_of_a_pyproject_name_the_file(doctor):
    Path("pyproject.toml").write_text("[tool.perscache]\nmax_size = 500\n")
    assert settings(doctor())["max_size"] == (500, str(Path("pyproject.toml").absolute()))


def test_a_signing_key_is_told_and_not_shown(doctor, monkeypatch, capsys):
    monkeypatch.setenv("PERSCACHE_SIGNING_KEY", "correct horse battery staple, thirty-two bytes")
    assert settings(doctor())["signing_key"] == ("set", "PERSCACHE_SIGNING_KEY")
    main(["doctor"])
    assert "correct horse" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("file", "environment", "message"),
    [
        ('serialiser = "json"', {}, "did you mean 'serializer'"),
        ("ttl = ", {}, "cannot be read"),
        ("", {"PERSCACHE_SERIALIZER": "jsonn"}, "PERSCACHE_SERIALIZER): Nobody offers the serializer 'jsonn' (did you"),
        ("", {"PERSCACHE_TTL": "soon"}, "'soon' is no duration"),
        ("", {"PERSCACHE_MAX_SIZE": "much"}, "'much' is no size"),
        ("", {"PERSCACHE_MODE": "ofline"}, "did you mean 'offline'"),
        ("", {"PERSCACHE_STORAGE": "gopher://hole"}, "'gopher://'"),
        ('on_error = "shout"', {}, "perscache.toml): on_error='shout'"),
        ('observers = ["nobody"]', {}, "Nobody offers the observer 'nobody'"),
        ('track = "everything"', {}, "track='everything'"),
        ("", {"PERSCACHE_STORRAGE": "x"}, "did you mean PERSCACHE_STORAGE?"),
    ],
)
def test_a_setting_without_meaning_is_told_with_where_it_is_from(doctor, monkeypatch, file, environment, message):
    if file:
        Path("perscache.toml").write_text(file)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert message in doctor(storage=environment.get("PERSCACHE_STORAGE", "memory://"), problems=1)["problems"][0]


def test_a_file_that_is_not_read_is_told(doctor, monkeypatch):
    Path("perscache.toml").write_text('serializer = "json"\n')
    Path("pyproject.toml").write_text("[tool.perscache]\nttl = 1\n")
    inner = Path("inner")
    inner.mkdir()
    (inner / "pyproject.toml").write_text("[project]\n")
    monkeypatch.chdir(inner)
    told = doctor()
    assert settings(told)["serializer"] == ("cloudpickle", "default")
    nearest = Path("pyproject.toml").absolute()
    assert [remark.split(" is nearer")[0] for remark in told["remarks"]] == [
        f"{nearest.parents[1] / name} is not read, because {nearest}" for name in ("perscache.toml", "pyproject.toml")
    ]


# --- Plugins.


def test_rivals_broken_shadowed_and_disabled_plugins_are_told(doctor, site, monkeypatch):
    for number in (1, 2):
        site.put(f"rival-{number}", entry_points=f"[perscache.serializers]\nini = ini_{number}\n")
    site.put("broken", entry_points="[perscache.storages]\nbucket = broken_plugin\n", broken_plugin="import no_such")
    site.put("fast-json", entry_points="[perscache.serializers]\njson = fast_plugin\n")
    site.put("unwanted", entry_points="[perscache.observers]\nspy = spy_plugin\n", spy_plugin="raise SystemExit")
    monkeypatch.setenv("PERSCACHE_DISABLE_PLUGINS", "unwanted, misspelt")
    told = doctor(problems=7)
    for fact, remedy in (
        ("names 'misspelt'", "correct it or leave it out"),
        ("both claim the serializer 'ini'", "uninstall one"),
        ("rival-1 1.0 (ini_1) cannot be imported", "pip install"),
        ("rival-2 1.0 (ini_2) cannot be imported", "pip install"),
        ("broken 1.0 (broken_plugin) cannot be imported", "pip install --force-reinstall broken"),
        ("fast-json 1.0 (fast_plugin) cannot be imported", "pip install"),
    ):
        (problem,) = [problem for problem in told["problems"] if fact in problem]
        assert remedy in problem
    (remark,) = told["remarks"]
    assert "unwanted 1.0 (spy_plugin) is disabled, and with it the observer 'spy'" in remark


# --- Whose files they are.


def test_another_distribution_with_the_same_package_is_told(doctor, site):
    info = site.put("perscache", "0.6.1")
    (info / "RECORD").write_text("perscache/__init__.py,sha256=x,66\nperscache/cache.py,sha256=x,7835\n")
    (problem,) = doctor(problems=1)["problems"]
    assert problem.startswith("perscache 0.6.1 has the import package 'perscache' too")
    assert problem.endswith("pip uninstall perscache; pip install --force-reinstall --no-deps perscache-core")
    (info / "RECORD").unlink()
    (info / "top_level.txt").write_text("perscache\n")
    doctor(problems=1)


def test_another_distribution_with_a_package_of_that_name_within_is_not(doctor, site):
    info = site.put("other", "1.0")
    (info / "RECORD").write_text("other/perscache/__init__.py,sha256=x,66\n")
    (info / "top_level.txt").write_text("other\nperscache_other\n")
    broken = site.put("broken", "1.0")
    (broken / "METADATA").write_bytes(b"\xff")
    doctor()


def test_files_that_are_not_what_was_installed_are_told(site, tmp_path):
    package = site.folder / "perscache"
    shutil.copytree(Path(perscache.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    info = site.put("perscache-core", "1.2.3")
    files = [file for file in sorted(package.rglob("*")) if file.is_file()]
    digests = [base64.urlsafe_b64encode(hashlib.sha256(file.read_bytes()).digest()).rstrip(b"=") for file in files]
    lines = [
        f"{file.relative_to(site.folder)},sha256={digest.decode()},1"
        for file, digest in zip(files, digests, strict=True)
    ]
    (info / "RECORD").write_text("\n".join(lines))
    path = os.pathsep.join([str(site.folder), os.environ.get("PYTHONPATH", "")])

    def problems() -> list[str]:
        command = [sys.executable, "-m", "perscache", "doctor", "--json", "--storage", "memory://"]
        environment = {**os.environ, "PYTHONPATH": path}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        return [problem for problem in json.loads(done.stdout)["problems"] if "perscache-core" in problem]

    assert problems() == []
    for name in ("cache.py", "compatibility.py"):
        (package / name).write_text("raise ImportError('of another distribution')")
    (package / "annotations.py").unlink()
    damage, consequence = problems()
    assert damage.startswith(f"In {site.folder}, perscache/annotations.py, perscache/cache.py are not what")
    assert damage.endswith("pip install --force-reinstall --no-deps perscache-core==1.2.3")
    assert consequence.startswith("A cache cannot be made (ImportError: of another distribution): pip install")


def test_a_package_that_is_not_the_installed_one_is_told(doctor, site):
    (site.folder / "perscache_core-1.2.3.dist-info" / "RECORD").write_text("perscache/__init__.py,sha256=x,66\n")
    (problem,) = doctor(problems=1)["problems"]
    assert f"perscache-core 1.2.3 is installed in {site.folder / 'perscache'}" in problem


def test_a_package_without_distribution_is_told(doctor, site):
    shutil.rmtree(site.folder / "perscache_core-1.2.3.dist-info")
    (problem,) = doctor(problems=1)["problems"]
    assert problem.endswith("perscache-core is not installed: pip install perscache-core")


# --- Where results go.


def test_the_folder_of_the_default_storage_is_tried(doctor):
    (place,) = doctor(storage=None)["storage"]
    assert (place["exists"], place["writable"], place["locks"]) == (False, True, True)
    assert place["free"] > 0
    if shutil.which("df") and sys.platform.startswith("linux"):
        told = subprocess.run(["df", "--output=fstype", "."], capture_output=True, text=True, check=True).stdout
        assert place["file system"] == told.split()[-1]
    Path(".cache").mkdir()
    (place,) = doctor(storage=None)["storage"]
    assert (place["exists"], list(Path(".cache").iterdir())) == (True, [])


def test_a_folder_that_cannot_be_written_is_wrong_unless_nothing_is_to_be_written(doctor, monkeypatch):
    Path("file").write_text("")
    told = doctor(storage="file/cache", problems=1)
    assert told["storage"][0]["writable"] is False
    assert f"{Path('file/cache').absolute()} cannot be written" in told["problems"][0]
    assert told["problems"][0].endswith("name another folder with PERSCACHE_STORAGE")
    monkeypatch.setenv("PERSCACHE_MODE", "readonly")
    assert doctor(storage="file/cache")["storage"][0]["writable"] is False


@pytest.mark.skipif(sys.platform == "win32", reason="its locks are others")
def test_a_file_system_without_locks_is_wrong(doctor, monkeypatch):
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    monkeypatch.setattr(fcntl, "lockf", refuse)
    told = doctor(storage=None, problems=1)
    assert told["storage"][0]["locks"] is False
    assert "without locks" in told["problems"][0]
    assert told["problems"][0].endswith("or set lock=False")


def test_memory_is_told_and_of_tiers_each_is(doctor):
    assert [place["tried"] for place in doctor()["storage"]] == [False]
    Path("perscache.toml").write_text('storage = ["memory://", "kept"]\n')
    memory, kept = doctor(storage=None)["storage"]
    assert memory["tried"] is False
    assert kept["storage"] == f"file:{Path('kept').absolute()}"
