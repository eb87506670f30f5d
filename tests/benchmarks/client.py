"""A small load generator for machines without wrk: `python -m tests.benchmarks.client`.

Arguments: port, path, connections, seconds; the environment as for wrk.lua. It prints one JSON
line. It is slower than wrk, so requests/s may be its own limit; CPU per request is not affected.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

from tests.benchmarks.stats import percentile


def _message(port: int, path: str) -> bytes:
    method = os.environ.get("BENCH_METHOD", "GET")
    body = os.environ.get("BENCH_BODY", "").encode()
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def _answer(reader: asyncio.StreamReader) -> int:
    """Read one answer to its end and return its status (RFC 9112: length or chunks)."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head.split(b" ", 2)[1])
    if b"transfer-encoding: chunked" in head:
        while size := int((await reader.readline()).split(b";")[0], 16):
            await reader.readexactly(size + 2)
        await reader.readline()
    else:
        length = head.partition(b"content-length:")[2].split(b"\r\n", 1)[0]
        await reader.readexactly(int(length or b"0"))
    return status


async def _connection(port: int, message: bytes, until: float, taken: list[float]) -> int:
    """Repeat `message` until the clock says so; return how many answers were errors."""
    errors = 0
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while (start := time.perf_counter()) < until:
        try:
            writer.write(message)
            errors += await _answer(reader) >= 400
        except (OSError, EOFError):
            errors += 1
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        else:
            taken.append((time.perf_counter() - start) * 1e3)
    writer.close()
    return errors


async def _main(port: int, path: str, connections: int, seconds: int) -> None:
    message = _message(port, path)
    taken: list[float] = []
    start = time.perf_counter()
    workers = (_connection(port, message, start + seconds, taken) for _ in range(connections))
    errors = sum(await asyncio.gather(*workers))
    elapsed = time.perf_counter() - start
    taken.sort()
    result = {
        "requests": len(taken),
        "seconds": elapsed,
        "errors": errors,
        "p50_ms": percentile(taken, 0.5) if taken else 0.0,
        "p99_ms": percentile(taken, 0.99) if taken else 0.0,
    }
    print("RESULT", json.dumps(result))


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
