"""The site of `make docs` is built without a warning, and holds every public name of the Python API."""

from __future__ import annotations

import importlib
import os
import pathlib
import re
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

pytest.importorskip("mkdocs", reason="needs gluon-resnet[docs]")

PACKAGES = ("data", "models", "model_zoo", "runs", "evaluation", "convert", "deploy")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_has_its_place_in_the_reference(site: pathlib.Path, package: str) -> None:
    page = (site / "docs" / "reference" / f"{package}.html").read_text(encoding="utf-8")
    anchors = re.findall(r' id="(gluon_resnet\.[\w.]+)"', page)
    public = getattr(importlib.import_module(f"gluon_resnet.{package}"), "__all__", [])
    documented = {anchor.rsplit(".", 1)[1] for anchor in anchors}
    assert {name for name in public if not name.isupper()} - documented == set()


@pytest.mark.slow
def test_links_to_sources_folders_and_pictures_stay_inside_the_site(site: pathlib.Path) -> None:
    missing = []
    for page in site.rglob("*.html"):
        if page.name == "404.html" or ("results" in page.parts and page.name == "report.html"):
            continue  # the first is for servers; the others are reports, which stand by themselves
        for target in re.findall(r'(?:href|src)="([^"#?]+)', page.read_text(encoding="utf-8")):
            if not re.match(r"[a-z]+:|//", target) and not (page.parent / target).exists():
                missing.append((str(page.relative_to(site)), target))
    assert missing == []
    for name in (
        "index.html",
        "docs/loader.html",
        "results/loader/loader.png",
        "examples/cpp/name_images.cc.html",
    ):
        assert (site / name).is_file()
    assert "def get_model(" in re.sub(
        "<[^>]*>", "", (site / "gluon_resnet/models/registry.py.html").read_text(encoding="utf-8")
    )


def test_the_pages_are_complete() -> None:
    """Every page of docs/ has its entry in the navigation, and every entry its page."""
    told = set(re.findall(r": ([\w./-]+\.md)\b", (ROOT / "mkdocs.yml").read_text()))
    pages = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/**/*.md")}
    pages |= {path.relative_to(ROOT).with_suffix(".md").as_posix() for path in ROOT.glob("docs/*.ipynb")}
    assert pages == {name for name in told if name.startswith("docs/")}
    assert [name for name in told - pages if not (ROOT / name).is_file()] == []
