"""Which Python packages are installed, of those that ours names."""

from __future__ import annotations

import re
from importlib import metadata
from typing import Optional


def required_packages() -> dict[str, dict[str, Optional[str]]]:
    """The installed version, None: missing, of each package that gluon-resnet requires, by its extra.

    The extra ``""`` is what every installation needs. Empty where gluon-resnet is not installed itself.
    """
    groups: dict[str, dict[str, Optional[str]]] = {}
    try:
        requirements = metadata.requires("gluon-resnet") or []
    except metadata.PackageNotFoundError:
        return groups
    for requirement in requirements:
        name = re.match(r"[\w.-]+", requirement)
        extra = re.search(r"""extra\s*==\s*["']([^"']+)""", requirement)
        if name and name[0] != "gluon-resnet":
            groups.setdefault(extra[1] if extra else "", {})[name[0]] = version(name[0])
    return groups


def version(package: str) -> Optional[str]:
    """The version of an installed package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def mxnet_wheels() -> dict[str, str]:
    """The versions of all wheels that bring a folder mxnet/, which is one or none where all is well."""
    wheels = {}
    for distribution in metadata.distributions():
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"] or "").lower()
        if re.fullmatch(r"mxnet(-cu\d+|-native|-mkl)?", name):
            wheels[name] = distribution.version
    return wheels
