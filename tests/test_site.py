"""The site is built as strictly as mkdocs can, without a network, and its readers need none."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


class Assets(HTMLParser):
    """What a browser fetches to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "link" and given.get("rel") not in {"canonical", "next", "prev"}:
            self.found.append(given.get("href") or "")
        elif tag != "a":
            self.found += [given.get("src") or "", given.get("data") or ""]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, **nowhere, "NO_MKDOCS_2_WARNING": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_is_complete_and_its_readers_need_no_network(site: Path):
    written = {page.relative_to(ROOT / "docs").with_suffix(".html") for page in ROOT.glob("docs/**/*.md")}
    written |= {page.relative_to(ROOT).with_name("index.html") for page in ROOT.glob("perscache-*/README.md")}
    assert {page for page in written if not (site / page).is_file()} == set()

    reference = re.sub("<[^>]+>", "", (site / "reference" / "cache.html").read_text(encoding="utf-8"))
    assert "A decorator that keeps what functions return." in reference

    fetched = {}
    for page in site.rglob("*.html"):
        assets = Assets()
        text = page.read_text(encoding="utf-8")
        assets.feed(text)
        assert 'class="mermaid"' not in text, f"{page} has a diagram, which Material's script fetches a library to draw"
        fetched[page] = [asset for asset in assets.found if re.match("(https?:)?//", asset)]
    for style in site.rglob("*.css"):
        fetched[style] = re.findall(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')]+)", style.read_text("utf-8"))
    assert len(fetched) > 30
    assert {file.name: assets for file, assets in fetched.items() if assets} == {}
