"""One case on all its peers: start, check, warm, interleave, collect."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tests.benchmarks import cases as kinds
from tests.benchmarks import environment, stats
from tests.benchmarks.load import LoadError
from tests.benchmarks.peers import OURS, PEERS
from tests.benchmarks.results import CaseResult, PeerResult
from tests.benchmarks.server import ROOT, Server, ServerError
from tests.benchmarks.transfers import TransferError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.benchmarks.cases import Case
    from tests.benchmarks.peers import Peer

_FAILURES = (OSError, http.client.HTTPException, LoadError, ServerError, TransferError)
_WARM_SECONDS = 1
_MATCH_TIMEOUT = 300

MATCH = "match"
MATCH_TITLE = "match + decide, 500 + 500 routes"


def peers_of(case: Case, chosen: frozenset[str]) -> list[Peer]:
    """List the peers that can take part in `case`, among the `chosen` names (empty: all)."""
    found = []
    for peer in PEERS:
        serves = {"legacy": peer.legacy is not None, "native": peer.native is not None}
        able = all(serves.values()) if case.side == "both" else serves[case.side]
        wanted = not chosen or peer.name in chosen
        if able and wanted and (not case.peers or peer.name in case.peers):
            found.append(peer)
    return found


def run_case(
    case: Case,
    peers: list[Peer],
    *,
    pairs: int,
    seconds: int,
    files: Path,
    step: Callable[[str], None],
) -> CaseResult:
    """Measure `case` on `peers` in A-B-B-A blocks; one that fails is noted and left out.

    `seconds` is how long each load lasts; `step` is told what runs, once per sample.
    """
    blocks = min(pairs, case.blocks or pairs)
    result = CaseResult(case.title, environment.now(), blocks, case.baseline)
    with ExitStack() as running:
        servers: dict[str, Server] = {}
        for peer in peers:
            entry = result.peers[peer.name] = PeerResult(peer.title)
            missing = peer.missing()
            if missing is not None:
                entry.problem = f"not installed ({missing})"
                continue
            try:
                server = Server(peer, routes=case.routes, files=files)
                servers[peer.name] = running.enter_context(server)
                _check(case, server)
            except _FAILURES as error:
                servers.pop(peer.name, None)
                entry.problem = f"failed: {error}"
        for block in range(blocks):
            _run_block(case, servers, result, block=block, seconds=seconds, step=step)
    return result


def _check(case: Case, server: Server) -> None:
    """See that small requests are answered with 200, and warm the server with them."""
    if case.take is not kinds.small:
        return
    if case.request.body is None:
        status, body = server.get(case.path(server))
        if status != 200:
            raise ServerError(f"{case.path(server)} gave {status}: {body[:100]!r}")
    found = case.take(server, case, _WARM_SECONDS)
    if found["errors"]:
        each = f"{found['errors']:.0f} errors at {found['rps']:,.0f} requests/s"
        raise ServerError(f"{each}, with {kinds.CONNECTIONS} connections while warming up")


def _run_block(
    case: Case,
    servers: dict[str, Server],
    result: CaseResult,
    *,
    block: int,
    seconds: int,
    step: Callable[[str], None],
) -> None:
    """Run one block on the peers that still work, and add its figures."""
    if not servers:
        return
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
    for name in stats.palindrome(list(servers), block):
        step(name)
        if name not in servers:
            continue
        try:
            samples[name].append(case.take(servers[name], case, seconds))
        except _FAILURES as error:
            result.peers[name].problem = f"failed: {error}"
            del servers[name]
    for name in servers:
        result.peers[name].add_block(samples[name])


def run_match(pairs: int) -> CaseResult:
    """Time the gateway's routing alone, in a process of its own; a row per kind of route."""
    result = CaseResult(MATCH_TITLE, environment.now(), pairs, "")
    command = [sys.executable, "-m", "tests.benchmarks.match", str(pairs)]
    problem = ""
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=_MATCH_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        problem = "failed: it took too long"
    else:
        if done.returncode:
            problem = f"failed: {done.stderr.strip()[-500:]}"
    if problem:
        result.peers[OURS] = PeerResult("gateway", problem)
        return result
    for kind, blocks in json.loads(done.stdout).items():
        entry = result.peers[kind] = PeerResult(f"{kind} route")
        for figures in blocks:
            entry.add_block([figures])
    return result
