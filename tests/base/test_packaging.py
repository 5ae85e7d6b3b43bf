"""What is installed: pyproject.toml's ranges, and constraints.txt, the one version of each that is tested."""

from __future__ import annotations

import glob
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from tests.support.paths import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
PYTHONS = [f"3.{minor}" for minor in range(9, 15)]
WITH_MXNET = PYTHONS[:4]
REFUSAL = "mxnet==1.9.1+is.for.python.3.9.to.3.12"


def constraints() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    texts = [line.partition("#")[0].strip() for line in lines]
    return [Requirement(text) for text in texts if text]


def requirements() -> list[Requirement]:
    """All that the project, its extras and its build name, without the package itself."""
    extras = PROJECT["optional-dependencies"].values()
    texts = [
        *PYPROJECT["build-system"]["requires"],
        *PROJECT["dependencies"],
        *(t for e in extras for t in e),
    ]
    found = [Requirement(text) for text in texts if not text.startswith(REFUSAL)]
    return [requirement for requirement in found if requirement.name != PROJECT["name"]]


def holds(requirement: Requirement, python: str) -> bool:
    environment = {**default_environment(), "python_version": python, "python_full_version": f"{python}.0"}
    return requirement.marker is None or requirement.marker.evaluate(environment)


@pytest.mark.parametrize("python", PYTHONS)
def test_a_constraint_pins_each_requirement_within_its_range_and_nothing_else(python: str) -> None:
    pins: dict[str, str] = {}
    for pin in constraints():
        (specifier,) = pin.specifier
        assert specifier.operator == "==", pin
        if holds(pin, python):
            assert canonicalize_name(pin.name) not in pins, pin
            pins[canonicalize_name(pin.name)] = specifier.version
    named = [requirement for requirement in requirements() if holds(requirement, python)]
    for requirement in named:
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement
    everywhere = {canonicalize_name(requirement.name) for requirement in requirements()}
    assert set(pins) <= everywhere


@pytest.mark.parametrize("python", PYTHONS)
def test_what_a_user_installs_is_a_range_and_mxnet_is_where_it_runs(python: str) -> None:
    """MXNet's own version is the one exception: 2.0 has another interface, and there is no 1.9.2."""
    extras = PROJECT["optional-dependencies"]
    texts = [*PROJECT["dependencies"], *(text for extra in extras.values() for text in extra)]
    exact = {text for text in texts if "==" in text.partition(";")[0]}
    assert {Requirement(text).name for text in exact} == {"mxnet", "mxnet-cu112"}
    for name in "mxnet", "mxnet-cu112":
        (requirement,) = [r for r in requirements() if r.name == name]
        assert holds(requirement, python) == (python in WITH_MXNET)
    (refusal,) = [text for text in extras["beside-mxnet"] if text.startswith(REFUSAL)]
    assert holds(Requirement(refusal), python) != (python in WITH_MXNET)
    for extra in "cpu", "cu112":
        assert "gluon-resnet[beside-mxnet]" in extras[extra]


def test_each_python_that_is_declared_is_a_classifier_and_is_built_for() -> None:
    declared = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if "Python :: 3." in c]
    assert declared == PYTHONS[: len(declared)]
    assert PROJECT["requires-python"] == ">=3.9"  # without an upper bound


def workflow() -> dict:
    with open(ROOT / ".github" / "workflows" / "ci.yml", encoding="utf-8") as file:
        return yaml.safe_load(file)


def test_the_workflow_of_ci_starts_what_exists() -> None:
    content = workflow()
    assert content[True] == {  # YAML 1.1 takes the key `on` for a truth value
        "push": {"branches": ["main"], "tags": ["v*"]},
        "pull_request": None,
    }
    jobs = content["jobs"]
    assert set(jobs["publish"]["needs"]) == set(jobs) - {"publish"}
    assert jobs["publish"]["if"] == "startsWith(github.ref, 'refs/tags/v')"
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert content["permissions"] == {"contents": "read"}
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    steps = [step for job in jobs.values() for step in job["steps"]]
    for step in steps:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@v?[\w./]+", step["uses"]) if "uses" in step else step["run"]
        for script in re.findall(r"(?:^|\s)((?:\.ci|scripts|tools)/\S+)", step.get("run", "")):
            assert os.access(ROOT / script, os.X_OK), script
        for target in re.findall(r"\bmake ([a-z-]+)", step.get("run", "")):
            assert target in targets
    assert any(".ci/run" in step.get("run", "") for step in steps)
    uploaded = {step["with"]["path"] for step in steps if "upload-artifact" in step.get("uses", "")}
    assert uploaded == {"wheelhouse/*.whl", "dist/*.tar.gz"}


def test_cibuildwheel_builds_for_each_python_by_scripts_that_exist() -> None:
    settings = PYPROJECT["tool"]["cibuildwheel"]
    (minors,) = re.fullmatch(r"cp3\{(.*)\}-manylinux_x86_64", settings["build"]).groups()
    assert [f"3.{minor}" for minor in minors.split(",")] == PYTHONS
    assert os.access(
        ROOT / re.match(r"\{project\}/(\S+) \{wheel\} \{dest_dir\}$", settings["repair-wheel-command"])[1],
        os.X_OK,
    )
    assert (ROOT / re.search(r"\{project\}/(\S+)", settings["test-command"])[1]).is_file()


def test_scripts_and_manifest_name_what_exists() -> None:
    """A script that starts another; a pattern that has nothing to include."""
    for path in (ROOT / "scripts").glob("*.sh"):
        for name in re.findall(r"\bscripts/([\w.]+\.(?:sh|py))\b", path.read_text(encoding="utf-8")):
            assert (ROOT / "scripts" / name).is_file(), (path.name, name)
    for folder in re.findall(
        r"^graft (\S+)", (ROOT / "MANIFEST.in").read_text(encoding="utf-8"), re.MULTILINE
    ):
        assert (ROOT / folder).is_dir(), folder


def interpreter(python: str) -> str | None:
    """One of this version that can build extensions, of those on the PATH and pyenv's."""
    on_path = shutil.which(f"python{python}")
    pyenv = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    asks = (
        "import ensurepip, os, sys, sysconfig, venv; "
        f"sys.exit('%d.%d' % sys.version_info[:2] != '{python}' or "
        "not os.path.exists(os.path.join(sysconfig.get_path('include'), 'Python.h')))"
    )
    for path in [on_path, *sorted(glob.glob(f"{pyenv}/versions/{python}.*/bin/python{python}"))]:
        if path and subprocess.run([path, "-c", asks], capture_output=True, check=False).returncode == 0:
            return path
    return None


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Of the working tree, by the tools of this environment."""
    folder = tmp_path_factory.mktemp("sdist")
    subprocess.run(
        [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", folder, ROOT],
        check=True,
        capture_output=True,
    )
    (path,) = folder.iterdir()
    return path


@pytest.mark.slow
def test_the_sdist_has_all_sources_and_nothing_that_was_built(sdist: pathlib.Path) -> None:
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    sources = {name for name in names if (ROOT / name).is_file() and not name.startswith("results/")}
    with tarfile.open(sdist) as archive:
        members = {member.name.partition("/")[2] for member in archive if member.isfile()}
    assert sources - members == set()
    assert {name for name in members - sources if ".egg-info/" not in name} == {"PKG-INFO", "setup.cfg"}
    assert sdist.stat().st_size < 4 << 20


@pytest.mark.slow
@pytest.mark.parametrize("python", PYTHONS)
def test_the_sdist_and_a_wheel_made_of_it_load_a_batch_where_nothing_else_is(
    python: str, sdist: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    path = interpreter(python)
    if path is None:
        pytest.skip(f"there is no Python {python} that has its headers and venv")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path)
    (source,) = tmp_path.iterdir()
    for command in (
        [source / "scripts" / "check_install.sh", path, sdist],
        [source / "scripts" / "build_wheel.sh", path],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert f"loads a batch on Python {python}." in done.stdout
    if python in WITH_MXNET:
        return
    # What MXNet does not run on: pip refuses the extra, and a command says why.
    (wheel,) = (source / "dist").iterdir()
    pip = [path, "-m", "pip", "install", "--dry-run", "--target", tmp_path / "none", f"{wheel}[cpu]"]
    refused = subprocess.run(pip, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert f"No matching distribution found for {REFUSAL}" in refused.stderr
