"""The store for replicas: Redis, by the well-kept client of its makers (extra `redis`).

A change is told to everybody by publish/subscribe; whoever misses that finds it by looking, five
times a second. A Redis that has lost its data gets back what a worker still knows.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qs, urlsplit, urlunsplit

import redis

from gateway.held import Held
from gateway.store.base import Entry, Step, Store, StoreDown, entry_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

T = TypeVar("T")

#: How often a change is looked for where nobody has told of it, in seconds.
POLL_SECONDS = 0.2
#: How long the server may take to answer, in seconds.
TIMEOUT_SECONDS = 2.0


_LEASE = """
local holder = redis.call('get', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""


#: What a Redis that can't be reached, or holds what nobody of us has put there, ends in.
_UNUSABLE = (redis.RedisError, OSError, ValueError, TypeError, KeyError, RecursionError)


class RedisStore(Store):
    """Overrides in the Redis at `url`; its keys start with the query's `prefix`, or `gateway`.

    `rediss://` means TLS. A password may stand in the URL and is never shown.
    """

    def __init__(self, url: str) -> None:
        self._from = url
        parts = urlsplit(url)
        prefix = parse_qs(parts.query).get("prefix", ["gateway"])[0]
        # A hash tag (Redis Cluster specification, "Hash tags"): all keys on one node.
        self._held, self._audit = f"{{{prefix}}}:held", f"{{{prefix}}}:audit"
        self._channel = f"{{{prefix}}}:changed"
        self._documents, self._leases = f"{{{prefix}}}:documents", f"{{{prefix}}}:lease"
        query = "&".join(p for p in parts.query.split("&") if p and not p.startswith("prefix="))
        self._client = redis.Redis.from_url(
            urlunsplit(parts._replace(query=query)),
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            decode_responses=True,
            single_connection_client=False,
        )
        host = parts.hostname or "localhost"
        self.url = f"{parts.scheme}://{host}:{parts.port or 6379}{parts.path}?prefix={prefix}"
        self._over = threading.Event()
        self._told: redis.client.PubSub | None = None

    def twin(self) -> RedisStore:
        """Return another object for another thread."""
        return RedisStore(self._from)

    def read(self) -> Held:
        """Return what is held."""
        return self._asked(lambda: _parse(self._client.get(self._held)))

    def wait(self, mark: str, seconds: float) -> bool:
        """Wait to be told of a change, and look by oneself now and then."""
        deadline = time.monotonic() + seconds
        while True:
            if self._asked(lambda: _parse(self._client.get(self._held))).mark != mark:
                return True
            left = deadline - time.monotonic()
            if left <= 0 or self._over.is_set():
                return False
            self._asked(partial(self._listen, min(POLL_SECONDS, left)))

    def interrupt(self) -> None:
        """End a wait."""
        self._over.set()

    def _listen(self, seconds: float) -> None:
        if self._told is None:
            self._told = self._client.pubsub(  # type: ignore[no-untyped-call]
                ignore_subscribe_messages=True
            )
            self._told.subscribe(self._channel)
            return  # what was published meanwhile is found by looking
        self._told.get_message(timeout=seconds)

    def step(self, take: Step) -> Held:
        """Carry out a change as one transaction (WATCH, MULTI)."""
        return self._asked(lambda: self._transact(take))

    def _transact(self, take: Step) -> Held:
        with self._client.pipeline() as pipe:
            while True:
                try:
                    pipe.watch(self._held)  # type: ignore[no-untyped-call]
                    found = _parse(pipe.get(self._held))
                    held, entries = take(found)
                    if held is found:
                        return held
                    pipe.multi()
                    pipe.set(self._held, json.dumps(held.as_json()))
                    for each in entries:
                        entry = asdict(replace(each, sequence=held.sequence))
                        pipe.xadd(self._audit, {"route": each.route, "entry": json.dumps(entry)})
                    pipe.publish(self._channel, held.sequence)
                    pipe.execute()
                except redis.WatchError:
                    continue
                return held

    def note(self, entry: Entry) -> None:
        """Add a line to the audit trail."""
        held = self.read()
        line = json.dumps(asdict(replace(entry, sequence=held.sequence)))
        fields: Any = {"route": entry.route, "entry": line}
        self._asked(lambda: self._client.xadd(self._audit, fields))

    def audit(self, limit: int, routes: Collection[str] | None = None) -> list[Entry]:
        """Return the last entries."""
        count = limit if routes is None else None

        def ask() -> list[Entry]:
            rows: Any = self._client.xrevrange(self._audit, count=count)
            kept = (f["entry"] for _, f in rows if routes is None or f["route"] in routes)
            return [entry_of(json.loads(each)) for each in kept]

        return self._asked(ask)[:limit]

    def put(
        self, kind: str, documents: Mapping[str, Any], seconds: float, most: int = 1000
    ) -> None:
        """Keep documents as fields of a hash, which lives as long as its longest-lived one."""
        key = f"{self._documents}:{kind}"
        now = time.time()

        def ask() -> None:
            if documents:
                values: dict[Any, Any] = {
                    k: json.dumps([now + seconds, now, v]) for k, v in documents.items()
                }
                self._client.hset(key, mapping=values)
            held = [(name, *json.loads(each)[:2]) for name, each in self._hash(key).items()]
            held.sort(key=lambda each: -each[2])
            gone = [name for name, until, _ in held if until <= now]
            gone += [name for name, _, _ in held[most:]]
            if gone:
                self._client.hdel(key, *gone)
            self._client.expire(key, max(1, int(seconds)))

        self._asked(ask)

    def documents(self, kind: str) -> dict[str, Any]:
        """Return documents."""

        def ask() -> dict[str, Any]:
            held = {k: json.loads(v) for k, v in self._hash(f"{self._documents}:{kind}").items()}
            now = time.time()
            return {key: value for key, (until, _, value) in held.items() if until > now}

        return self._asked(ask)

    def _hash(self, key: str) -> dict[str, str]:
        found: Any = self._client.hgetall(key)
        return dict(found)

    def remove(self, kind: str, keys: Collection[str]) -> None:
        """Remove documents."""
        if keys:
            self._asked(lambda: self._client.hdel(f"{self._documents}:{kind}", *keys))

    def lease(self, name: str, owner: str, seconds: float) -> bool:
        """Take a lease by a script, which Redis runs as one step."""
        key = f"{self._leases}:{name}"
        milliseconds = max(1, int(seconds * 1000))
        return bool(self._asked(lambda: self._client.eval(_LEASE, 1, key, owner, milliseconds)))

    def close(self) -> None:
        """Close the connections."""
        told, self._told = self._told, None
        if told is not None:
            told.close()
        self._client.close()

    def _asked(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except _UNUSABLE as error:
            self.close()
            raise StoreDown(f"{self.url}: {type(error).__name__}: {error}") from error


def _parse(value: Any) -> Held:
    return Held.parse(value) if value is not None else Held()
