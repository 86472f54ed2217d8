"""``perscache new-plugin``: it writes a package for a name that can be had, and never over anything."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from perscache.cli import main
from perscache.plugins import registry

KINDS = {"serializer": "ini", "storage": "bucket", "fingerprint": "shapely", "observer": "metrics"}


@pytest.fixture
def refusal(bare, capsys) -> Callable[..., str]:
    """Why a package is not written."""

    def run(*arguments: str) -> str:
        registry.rescan()
        before = sorted(Path.cwd().rglob("*"))
        assert main(["new-plugin", *arguments]) == 2
        assert sorted(Path.cwd().rglob("*")) == before
        return capsys.readouterr().err

    return run


@pytest.mark.parametrize("kind", KINDS)
def test_a_complete_package_is_written(bare, capsys, kind):
    name = KINDS[kind]
    assert main(["new-plugin", name, "--kind", kind]) == 0
    package = Path(f"perscache-{name}")
    files = {str(file.relative_to(package)) for file in package.rglob("*") if file.is_file()}
    module = f"perscache_{name}"
    assert files == {
        *("pyproject.toml", "README.md", "CHANGELOG.md", f"tests/test_{module}.py"),
        *(f"src/{module}/__init__.py", f"src/{module}/py.typed"),
    }
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    assert project["name"] == f"perscache-{name}"
    assert project["entry-points"] == {f"perscache.{kind}s": {name: module}}
    for file in files:
        text = (package / file).read_text()
        assert "$" not in text
        if file.endswith(".py"):
            ast.parse(text)
    printed = capsys.readouterr().out
    assert all(str(package / file) in printed for file in files)
    assert printed.endswith(f"Now: cd {package}; pip install --editable '.[test]'; pytest\n")


@pytest.mark.parametrize("kind", KINDS)
def test_it_provides_what_it_declares(bare, monkeypatch, kind):
    name = KINDS[kind]
    assert main(["new-plugin", name, "--kind", kind, "--folder", "here"]) == 0
    monkeypatch.syspath_prepend(Path("here/src").absolute())
    bare.install(f"perscache-{name}", entry_points=f"[perscache.{kind}s]\n{name} = perscache_{name}\n")
    assert main(["plugins", "--check"]) == 0


def test_names_of_several_words_become_names_of_modules_and_classes(bare):
    assert main(["new-plugin", "two-words", "--kind", "serializer", "--folder", "a/b"]) == 0
    source = Path("a/b/src/perscache_two_words/__init__.py").read_text()
    assert "class TwoWordsSerializer(Serializer):" in source
    assert 'extension = "twowords"' in source


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("INI", "serializer", "did you mean 'ini'?"),
        ("my format!", "serializer", "did you mean 'my-format'?"),
        ("perscache-ini", "observer", "did you mean 'ini'?"),
        ("a", "storage", "two or more small letters"),
        ("3d", "serializer", "small letters and digits"),
        ("", "observer", "such as metrics"),
        ("my-library", "fingerprint", "did you mean 'my_library'?"),
        ("decimal", "fingerprint", "hashers="),
        ("json", "serializer", "the serializer 'json' is built in: choose another name, such as 'my-json'"),
        ("gs", "storage", "perscache-gcs is a distribution of perscache, and gives the storage 'gs://'"),
        ("core", "observer", "perscache-core is a distribution of perscache"),
        ("../up", "serializer", "did you mean 'up'?"),
    ],
)
def test_a_name_that_cannot_be_had_is_refused_with_a_better_one(refusal, name, kind, message):
    assert message in refusal(name, "--kind", kind)


def test_the_name_of_an_installed_plugin_is_refused(refusal, site):
    site.put("somebodys-ini", entry_points="[perscache.serializers]\nini = ini_plugin\n")
    assert "somebodys-ini 1.0 (ini_plugin) gives the serializer 'ini'" in refusal("ini", "--kind", "serializer")


def test_nothing_is_overwritten(refusal):
    Path("perscache-ini").mkdir()
    Path("perscache-ini/notes").write_text("mine")
    assert "perscache-ini is there, and is not overwritten" in refusal("ini", "--kind", "serializer")
    Path("file").write_text("mine")
    assert "name another with --folder" in refusal("ini", "--kind", "serializer", "--folder", "file")


def test_an_empty_folder_is_taken(bare):
    Path("empty").mkdir()
    assert main(["new-plugin", "ini", "--kind", "serializer", "--folder", "empty"]) == 0


def test_a_kind_that_is_none_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["new-plugin", "ini", "--kind", "sorter"])
    assert "invalid choice: 'sorter'" in capsys.readouterr().err
