"""The installed versions of the Python packages that ours requires."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from typing import Optional


def required_packages() -> dict[str, dict[str, Optional[str]]]:
    """The installed version, or None, of each package that gluon-resnet requires here, by its extra.

    The extra ``""`` has what every installation needs. Empty if gluon-resnet itself is not installed.
    """
    groups: dict[str, dict[str, Optional[str]]] = {}
    try:
        requirements = metadata.requires("gluon-resnet") or []
    except metadata.PackageNotFoundError:
        return groups
    for requirement in requirements:
        name = re.match(r"[\w.-]+", requirement)
        extra = re.search(r"""extra\s*==\s*["']([^"']+)""", requirement)
        if name and name[0] != "gluon-resnet" and _is_for_this_python(requirement):
            groups.setdefault(extra[1] if extra else "", {})[name[0]] = version(name[0])
    return groups


def _is_for_this_python(requirement: str) -> bool:
    """What pyproject.toml writes of Pythons: ``python_version < '3.13'``, or ``>=``."""
    marker = re.search(r"""python_version\s*(<|>=)\s*["'](\d+)\.(\d+)""", requirement)
    if not marker:
        return True
    below = sys.version_info[:2] < (int(marker[2]), int(marker[3]))
    return below == (marker[1] == "<")


def version(package: str) -> Optional[str]:
    """The version of an installed package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def mxnet_wheels() -> dict[str, str]:
    """The versions of all wheels that contain a folder mxnet/; at most one if all is well."""
    wheels = {}
    for distribution in metadata.distributions():
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"] or "").lower()
        if re.fullmatch(r"mxnet(-cu\d+|-native|-mkl)?", name):
            wheels[name] = distribution.version
    return wheels
