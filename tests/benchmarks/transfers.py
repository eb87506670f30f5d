"""Long bodies in both directions, and a client that stops reading."""

from __future__ import annotations

import http.client
import socket
import time
from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MB = 1_000_000
_PIECE = 256 * 1024
#: Seconds without any progress; one adapter needs 40 s of CPU before it answers an upload.
_TIMEOUT = 180


class TransferError(Exception):
    """An answer was not the expected one."""


def download(port: int, path: str, megabytes: int) -> float:
    """Fetch `megabytes` MB over one connection and return the seconds it took."""
    buffer = memoryview(bytearray(_PIECE))
    start = time.perf_counter()
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        received = 0
        while count := response.readinto(buffer):
            received += count
    if response.status != 200 or received != megabytes * MB:
        raise TransferError(f"{response.status}, {received} bytes of {megabytes} MB")
    return time.perf_counter() - start


def upload(port: int, path: str, megabytes: int) -> float:
    """Send `megabytes` MB with a Content-Length and return the seconds until the answer."""

    def pieces() -> Iterator[bytes]:
        piece = bytes(_PIECE)
        whole, rest = divmod(megabytes * MB, _PIECE)
        for _ in range(whole):
            yield piece
        yield piece[:rest]

    start = time.perf_counter()
    headers = {"Content-Length": str(megabytes * MB), "Content-Type": "application/octet-stream"}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)) as connection:
        connection.request("POST", path, body=pieces(), headers=headers)
        response = connection.getresponse()
        answer = response.read()
    if response.status != 200 or str(megabytes * MB).encode() not in answer:
        raise TransferError(f"{response.status} to an upload of {megabytes} MB")
    return time.perf_counter() - start


def stall(port: int, path: str, seconds: float) -> None:
    """Ask for a long answer, read its first bytes, then nothing for `seconds`."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        client.settimeout(_TIMEOUT)
        client.connect(("127.0.0.1", port))
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        start = client.recv(1024)
        if b" 200 " not in start.partition(b"\r\n")[0]:
            raise TransferError(f"a stalled download began with {start[:40]!r}")
        time.sleep(seconds)
