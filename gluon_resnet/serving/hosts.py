"""The names that the server answers to, and the pages that may post to it.

Any web page can make its visitor's browser send requests to any address, including this one: either through a name of
its own that it points here (DNS rebinding), so that Host is that name, or across origins, so that Origin is the page's.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import socket
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Optional

from gluon_resnet.errors import UsageError
from gluon_resnet.serving.refusal import Refusal

ANY = "*"
_LOCAL = ("localhost", "127.0.0.1", "::1")
_WILDCARDS = ("0.0.0.0", "::")
_PORTS = {"http": 80, "https": 443}
_NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252})"
_AUTHORITY = re.compile(rf"(\[[0-9A-Fa-f:.]{{2,45}}\]|{_NAME})(?::([0-9]{{1,5}}))?")


@dataclass(frozen=True)
class Hosts:
    """Describes which requests are meant for this server.

    Args:
        names: names and addresses; "*.example.org" means any name below example.org, and "*" any name at all.
        any_address: whether every address counts as a name of the server: addresses cannot be rebound.
        origins: other servers whose pages may post, such as "https://example.org"; "*" means any page.
    """

    names: frozenset[str]
    any_address: bool = False
    origins: frozenset[str] = frozenset()

    def require_own_name(self, values: Collection[bytes], version: str) -> None:
        """Raise a Refusal unless the request, in this version of HTTP, has one Host that is a name of this server."""
        if len(values) != 1:
            if not values and version == "1.0":  # older than the header, and not used by browsers
                return
            raise Refusal(400, "host", f"Host: expected one, found {len(values)}")
        (value,) = values
        name, _ = _authority(value.decode("latin-1"), "Host")
        if not self._is_own(name):
            message = f"Host: {name!r} is not a name of this server; the option --allowed-hosts adds names"
            raise Refusal(421, "host", message)

    def require_own_page(
        self, host: Optional[bytes], origins: Collection[bytes], fetch_sites: Collection[bytes]
    ) -> None:
        """Raise a Refusal if a browser sends the request on behalf of another server's page.

        Args:
            host: the value of the header Host.
            origins: the values of the header Origin, which browsers send with every POST.
            fetch_sites: the values of the header Sec-Fetch-Site.
        """
        if len(origins) > 1:
            raise Refusal(400, "host", f"Origin: expected at most one, found {len(origins)}")
        origin = next(iter(origins), b"").decode("latin-1").lower()
        if origin and self.is_allowed(origin):
            return
        if origin and not _is_same(origin, (host or b"").decode("latin-1")):
            message = f"Origin: pages of {origin[:80]!r} may not post here; the option --allowed-origins allows others"
            raise Refusal(403, "host", message)
        if b"cross-site" in fetch_sites:
            raise Refusal(403, "host", "Sec-Fetch-Site: pages of other sites may not post here")

    def is_allowed(self, origin: str) -> bool:
        """Whether the pages of this other origin may post."""
        return ANY in self.origins or origin in self.origins

    def _is_own(self, name: str) -> bool:
        if ANY in self.names or name in self.names or (self.any_address and _is_address(name)):
            return True
        dots = [at for at, letter in enumerate(name) if letter == "."]
        return any(f"*{name[at:]}" in self.names for at in dots)


def hosts_of(listening: str, given: str, names: Iterable[str] = (), origins: Iterable[str] = ()) -> Hosts:
    """The hosts of a server that listens on the address `listening`, which was `given` as an address or a name.

    A server on one address is known by this address, the given name, and this machine's own names for itself. A server
    on all addresses is also known by the machine's name in its network and by any address, since not all addresses can
    be known from within, for example in a container.

    Args:
        listening: the address that the server listens on.
        given: the address or name that the user gave.
        names: more names and addresses.
        origins: other servers whose pages may post.

    Raises:
        UsageError: one of `names` is not a name, or one of `origins` is not an origin.
    """
    own = {*_LOCAL, *map(_plain, (listening, given))}
    everywhere = listening in _WILDCARDS
    if everywhere:
        machine = socket.gethostname().lower()
        own |= {machine, f"{machine}.local", socket.getfqdn().lower()}
    return Hosts(frozenset(own | set(map(_name, names))), everywhere, frozenset(map(_origin, origins)))


def _name(text: str) -> str:
    """Check and normalize a value of --allowed-hosts."""
    below = text[2:] if text.startswith("*.") else text
    if text != ANY and not re.fullmatch(_NAME, below) and not _is_address(_plain(below)):
        raise UsageError(
            f"--allowed-hosts: expected names or addresses without a port, or *, found {text[:80]!r}"
        )
    return text if text == ANY else text[: len(text) - len(below)] + _plain(below)


def _origin(text: str) -> str:
    """Check and normalize a value of --allowed-origins."""
    scheme, separator, authority = text.partition("://")
    if text != ANY and not (
        separator and re.fullmatch(r"[a-z][a-z0-9.+-]*", scheme) and _AUTHORITY.fullmatch(authority)
    ):
        raise UsageError(
            f"--allowed-origins: expected https://NAME, followed by :PORT if it has one, or *, found {text[:80]!r}"
        )
    return text.lower()


def _is_same(origin: str, host: str) -> bool:
    """Whether an origin is the server that a Host names; a server in front may provide TLS and thus https."""
    scheme, _, authority = origin.partition("://")
    if scheme not in _PORTS:
        return False  # "null", from a sandbox or a file
    name, port = _authority(authority, "Origin")
    host_name, host_port = _authority(host, "Host")
    default = _PORTS[scheme]
    return (name, port or default) == (host_name, host_port or default)


def _authority(text: str, header: str) -> tuple[str, Optional[int]]:
    """Name and port, with the name in its normal form; Refusal if the text is malformed."""
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        raise Refusal(400, "host", f"{header}: expected NAME or NAME:PORT, found {text[:80]!r}")
    name, port = match.groups()
    return _plain(name), int(port) if port else None


@functools.lru_cache(1 << 8)
def _plain(name: str) -> str:
    """A name's normal form: lower case, without a final dot; an address's is that of the standard library."""
    bare = name.strip("[]")
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return bare.lower().rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
