"""No socket leaves this machine while a proof runs, except for hosts that were named.

Python's own audit events tell of every connect, send and look-up of a name before it happens (PEP
578), whatever library makes it. Not of what a C library does by itself: uvloop's loops are asked
beforehand (`gateway.migrate.prove.libuv`), and database drivers where they are about to be called
(`gateway.migrate.prove.databases`).
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gateway.migrate.prove.libuv import watched

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

#: Where the address is among an event's arguments.
_ADDRESSES = {
    "socket.connect": 1,
    "socket.sendto": 1,
    "socket.sendmsg": 1,
    "socket.getnameinfo": 0,
}
#: Where the name is that would be looked up.
_NAMES = {"socket.getaddrinfo": 0, "socket.gethostbyname": 0, "socket.gethostbyaddr": 0}
_EVENTS = frozenset({*_ADDRESSES, *_NAMES, "sqlite3.connect"})
#: A proxy on this machine would be a hole in the fence.
_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy", "ftp_proxy"})
_LOCAL_NAMES = frozenset({"", "localhost", "ip6-localhost"})


class Blocked(OSError):
    """A connection that would have left this machine."""


class Fence:
    """What may be connected to: this machine, and the `allowed` hosts, by name or address."""

    def __init__(self, allowed: Collection[str] = ()) -> None:
        self._allowed = {each.lower() for each in allowed}
        for each in allowed:
            self._allowed |= _addresses(each)
        self._names = {*_LOCAL_NAMES, socket.gethostname().lower()}
        self._blocked: list[str] = []
        self.opened: Callable[[str], None] | None = None
        """Hears of each SQLite file that is opened."""

    def admits(self, host: str) -> bool:
        """Tell whether a host may be connected to."""
        name = host.lower().rstrip(".")
        return name in self._names or name in self._allowed or is_loopback(name)

    def keeps(self, host: str) -> bool:
        """Tell whether nothing that is bound to this address can reach another machine."""
        name = host.lower().rstrip(".")
        return name == "localhost" or (is_loopback(name) and not _is_unspecified(name))

    def block(self, what: str) -> Blocked:
        """Note an attempt, and return the error to raise."""
        self._blocked.append(what)
        return Blocked(f"{what} is blocked: it would leave this machine (--allow-host)")

    def taken(self) -> list[str]:
        """Return the attempts since the last call, each once."""
        taken, self._blocked = list(dict.fromkeys(self._blocked)), []
        return taken

    def audit(self, event: str, args: tuple[Any, ...]) -> None:
        """Raise Blocked for what may not be."""
        if event in _ADDRESSES:
            address = args[_ADDRESSES[event]]
            # Paths (AF_UNIX) and numbers (AF_NETLINK) stay on this machine; None is connected.
            host = address[0] if isinstance(address, tuple) and address else None
            if isinstance(host, str) and not self.admits(host):
                raise self.block(f"{host}:{address[1]}")
        elif event == "sqlite3.connect":
            if self.opened is not None and args[0] != ":memory:":
                self.opened(f"sqlite:///{os.fsdecode(args[0])}")
        elif event in _NAMES:
            name = args[_NAMES[event]]
            if isinstance(name, bytes):
                name = name.decode("latin-1")
            if isinstance(name, str) and not self.admits(name):
                raise self.block(f"looking up {name}")


def is_loopback(host: str) -> bool:
    """Tell whether an address is one of this machine's own to itself."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    # Connecting to 0.0.0.0 or :: is connecting to this machine.
    return bool(mapped.is_loopback or mapped.is_unspecified)


def _is_unspecified(host: str) -> bool:
    address = ipaddress.ip_address(host.strip("[]"))
    return bool((getattr(address, "ipv4_mapped", None) or address).is_unspecified)


def _addresses(host: str) -> set[str]:
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None)}
    except OSError:
        return set()


_hooked: list[Callable[[str, tuple[Any, ...]], None]] = []


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _hooked and event in _EVENTS:
        _hooked[-1](event, args)


_installed: list[bool] = []


@contextmanager
def standing(fence: Fence) -> Iterator[Fence]:
    """Keep the fence up in this process, all its threads and loops, until the end.

    Meanwhile no proxy is named by the environment.
    """
    if not _installed:
        # It can never be removed: it does nothing while no fence stands.
        sys.addaudithook(_hook)
        _installed.append(True)
    proxies = {name: os.environ.pop(name) for name in [*os.environ] if name.lower() in _PROXIES}
    _hooked.append(fence.audit)
    try:
        with watched(fence):
            yield fence
    finally:
        _hooked.pop()
        os.environ.update(proxies)
