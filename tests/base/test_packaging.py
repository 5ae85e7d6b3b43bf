"""What is installed: pyproject.toml's ranges, and constraints.txt, the one version of each that is tested."""

from __future__ import annotations

import sys

import pytest
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
        assert holds(requirement, python) == (python in PYTHONS[:4])
    (refusal,) = [text for text in extras["beside-mxnet"] if text.startswith(REFUSAL)]
    assert holds(Requirement(refusal), python) != (python in PYTHONS[:4])
    for extra in "cpu", "cu112":
        assert "gluon-resnet[beside-mxnet]" in extras[extra]


def test_each_python_that_is_declared_is_a_classifier_and_is_built_for() -> None:
    declared = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if "Python :: 3." in c]
    assert declared == PYTHONS[: len(declared)]
    assert PROJECT["requires-python"] == ">=3.9"  # without an upper bound
