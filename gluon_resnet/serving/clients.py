"""Identifies clients: the part of the address that distinguishes one from another."""

from __future__ import annotations

import functools
import ipaddress
from typing import Any

UNKNOWN = "unknown"


def client_of(scope: Any) -> str:
    """An IPv4 address, or the /64 of an IPv6 address, which belongs to a single subscriber; UNKNOWN if there is none.

    Args:
        scope: the ASGI scope, whose address is as reported by the proxy if there is a proxy on this machine.
    """
    peer = scope.get("client")
    return UNKNOWN if peer is None else _client(str(peer[0]))


@functools.lru_cache(1 << 10)
def _client(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return UNKNOWN
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
