"""The fence around uvloop: it connects by libuv, in C, and no audit event of Python's tells of it.

So while the fence stands its loops are asked before they connect, send or look up a name. They ask
`Fence.audit`, by the event that Python's own sockets would have raised.
"""

from __future__ import annotations

import inspect
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.migrate.prove.fence import Fence

    Check = Callable[[Fence, dict[str, Any]], None]


@contextmanager
def watched(fence: Fence) -> Iterator[None]:
    """Hold all of uvloop's loops to the fence, those that run already as well."""
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        yield
        return
    loop: Any = uvloop.Loop
    before = {name: vars(loop)[name] for name in _CHECKS if name in vars(loop)}
    for name, check in _CHECKS.items():
        setattr(loop, name, _checked(getattr(loop, name), check, fence))
    try:
        yield
    finally:
        for name in _CHECKS:
            if name in before:
                setattr(loop, name, before[name])
            else:
                delattr(loop, name)  # uvloop's own, which it inherits, is there again


def _checked(original: Any, check: Check, fence: Fence) -> Callable[..., Any]:
    signature = inspect.signature(original)

    async def asked(*args: Any, **kwargs: Any) -> Any:
        check(fence, signature.bind(*args, **kwargs).arguments)
        return await original(*args, **kwargs)

    return asked


def _connection(fence: Fence, given: dict[str, Any]) -> None:
    """Look at the host; of a socket that is given, its own `connect` has told."""
    if given.get("host") is not None:
        fence.audit("socket.getaddrinfo", (given["host"],))


def _datagrams(fence: Fence, given: dict[str, Any]) -> None:
    """Admit what is connected to a host that may be reached, or bound to this machine's own.

    From any other socket its transport could send anywhere, unseen.
    """
    remote, sock = given.get("remote_addr"), given.get("sock")
    bound = given.get("local_addr")
    if sock is not None:
        bound = sock.getsockname()
        try:
            remote = sock.getpeername()
        except OSError:
            remote = None
    if remote is not None:
        fence.audit("socket.connect", (None, remote))
        return
    family = given.get("family") or (sock.family if sock is not None else 0)
    if family == getattr(socket, "AF_UNIX", None) or isinstance(bound, str):
        return
    if not bound or not fence.keeps(str(bound[0])):
        raise fence.block("a UDP socket that is connected to nobody")


def _address(event: str, name: str, place: int) -> Check:
    def check(fence: Fence, given: dict[str, Any]) -> None:
        fence.audit(event, (None,) * place + (given.get(name),))

    return check


def _look_up(fence: Fence, given: dict[str, Any]) -> None:
    fence.audit("socket.getaddrinfo", (given["host"],))


_CHECKS: dict[str, Check] = {
    "create_connection": _connection,
    "create_datagram_endpoint": _datagrams,
    "getaddrinfo": _look_up,
    "getnameinfo": _address("socket.getnameinfo", "sockaddr", 0),
    "sock_connect": _address("socket.connect", "address", 1),
    "sock_sendto": _address("socket.sendto", "address", 1),
}
