"""Where commands that change things go: to a running gateway, or to the store that it shares."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar
from urllib.parse import quote, urlsplit

from gateway.admin import views
from gateway.app import Gateway
from gateway.cli.output import fail, report
from gateway.exceptions import ConfigError, GatewayError
from gateway.loading import load

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from gateway.changes import Wanted
    from gateway.control import Changed, Control

T = TypeVar("T")

DEFAULT_TOKEN_ENV = "GATEWAY_ADMIN_TOKEN"  # noqa: S105 - a variable's name
_TIMEOUT_SECONDS = 15.0


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the admin token is for the host that was named."""

    def redirect_request(self, *_: Any) -> None:
        """Refuse, so that the redirect is an error."""


_OPENER = urllib.request.build_opener(_Stay)


class Place(Protocol):
    """Somewhere to send a change to, and to ask how things are."""

    def change(self, wanted: Wanted, revision: str | None) -> dict[str, Any]:
        """Carry out a change; return its routes, those skipped, and the revision."""
        ...

    def status(self) -> dict[str, Any]:
        """Return what `/-/status` says."""
        ...

    def audit(self, limit: int, route: str | None) -> list[dict[str, Any]]:
        """Return the last entries of the audit trail, the newest first."""
        ...


def place(url: str | None, config: Path | None, chosen: Path) -> Place:
    """Return the running gateway at `url` (or GATEWAY_URL), else the store of the config."""
    url = url or (os.environ.get("GATEWAY_URL") if config is None else None)
    return Remote(url, chosen) if url else Local(chosen)


class Remote:
    """A running gateway, asked over its admin API."""

    def __init__(self, url: str, config: Path) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            fail(f"{url!r} is no URL of a gateway: write http://host:port")
        prefix, variable = _named(config)
        self._base = url.rstrip("/") + ("" if parts.path.strip("/") else prefix)
        self._token = os.environ.get(variable, "")
        self._variable = variable
        if not self._token:
            fail(f"the admin token is missing: set {variable}")

    def change(self, wanted: Wanted, revision: str | None) -> dict[str, Any]:
        """Ask the admin API to change something."""
        page = {"set": "/overrides", "rollback": "/rollback", "clear": "/clear"}[wanted.action]
        body: dict[str, Any] = {"author": wanted.author, "reason": wanted.reason}
        if wanted.route is None:
            body["all"] = True
        else:
            body["route"] = wanted.route
        if wanted.action == "set":
            body |= {"cutover": wanted.cutover, "weight": wanted.weight, "seconds": wanted.seconds}
        return self._ask("POST", page, body, revision)

    def status(self) -> dict[str, Any]:
        """Ask for the status."""
        return self._ask("GET", "/status")

    def audit(self, limit: int, route: str | None) -> list[dict[str, Any]]:
        """Ask for the audit trail."""
        query = f"?limit={limit}" + (f"&route={quote(route)}" if route else "")
        entries: list[dict[str, Any]] = self._ask("GET", f"/audit{query}")["entries"]
        return entries

    def _ask(
        self, method: str, page: str, body: Any = None, revision: str | None = None
    ) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        if revision is not None:
            headers["If-Match"] = f'"{revision}"'
        request = urllib.request.Request(  # noqa: S310 - the scheme was looked at
            self._base + page, data, headers, method=method
        )
        try:
            with _OPENER.open(request, timeout=_TIMEOUT_SECONDS) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            self._explain(error)
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            fail(f"can't reach a gateway at {self._base}: {reason}")

    def _explain(self, error: urllib.error.HTTPError) -> NoReturn:
        try:
            said = json.loads(error.read() or b"{}")
        except ValueError:
            said = {}
        if error.code in (401, 403):
            fail(f"the gateway refused the token in {self._variable}")
        if error.code == 404 and "detail" not in said:  # noqa: PLR2004
            fail(f"there is no admin API at {self._base} (is a token configured there?)")
        if error.code == 404:  # noqa: PLR2004
            fail(f"{self._base}: {said['detail']} (is a token configured there?)")
        for problem in said.get("problems", ()):
            sys.stderr.write(f"{problem}\n")
        detail = said.get("detail", f"HTTP {error.code}")
        if isinstance(detail, list):
            detail = "; ".join(f"{e['loc'][-1]}: {e['msg']}" for e in detail)
        fail(str(detail), 1)


def _named(config: Path) -> tuple[str, str]:
    """Return the prefix and the token's variable that the config names, else the defaults."""
    if not config.exists():
        return "/-", DEFAULT_TOKEN_ENV
    admin = load(config).config.admin
    return admin.prefix.rstrip("/"), admin.token_env or DEFAULT_TOKEN_ENV


class Local:
    """The store that the config names: running gateways that share it follow within a second."""

    def __init__(self, config: Path) -> None:
        self._gateway = Gateway(config=config)

    def change(self, wanted: Wanted, revision: str | None) -> dict[str, Any]:
        """Write to the store."""

        async def ask(control: Control) -> Changed:
            return await control.change(wanted, None if revision is None else [revision])

        try:
            changed = self._run(ask)
        except ConfigError as error:
            report(error.problems)
            fail("the config forbids it", 1)
        return {
            "routes": list(changed.routes),
            "skipped": list(changed.skipped),
            "revision": changed.revision,
        }

    def status(self) -> dict[str, Any]:
        """Tell what holds; nothing is counted without a running gateway."""

        async def ask(control: Control) -> dict[str, Any]:
            said = views.status(control.snapshots.current, [], time.time())
            return {**said, "health": control.health()}

        return self._run(ask)

    def audit(self, limit: int, route: str | None) -> list[dict[str, Any]]:
        """Read the audit trail."""

        async def ask(control: Control) -> list[dict[str, Any]]:
            entries = await control.audit(limit, route)
            return [views.entry_row(each) for each in entries]

        return self._run(ask)

    def _run(self, ask: Callable[[Control], Coroutine[Any, Any, T]]) -> T:
        control = self._gateway.control

        async def go() -> T:
            await control.open()
            try:
                return await ask(control)
            finally:
                await control.stop()

        try:
            return asyncio.run(go())
        except ConfigError:
            raise
        except GatewayError as error:
            fail(str(error), 1)
