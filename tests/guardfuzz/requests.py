"""Random requests, as raw bytes: mostly one that a world's route would serve, then spoiled."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from flask import Flask, session
from flask_wtf.csrf import generate_csrf

from tests.guardfuzz.legacy import KEPT_VALUE, SECRET_KEY, WORD
from tests.guardfuzz.world import Request, key_of
from tests.guardfuzz.worlds import HOST

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tests.guardfuzz.world import Handler, View, World

SECRET = "guardfuzz-tester-secret"
_PARAMETER = re.compile(r"<(?:(\w+)(?:\([^)]*\))?:)?\w+>|{\w+(?::(\w+))?}")
_VALUES: dict[str, tuple[str, ...]] = {
    "int": ("5", "7", KEPT_VALUE, "0", "007"),
    "float": ("1.5", "0.25", "13.0"),
    "uuid": ("7f1c4a4e-3f0a-4f0e-9b1c-0d3c1b2a4e5f",),
    "any": ("red", "blue"),
    "string": ("ab", "me", "13"),
    "path": ("a/b", "me", "export", "13", "a"),
    "": ("ada", "me", "export", "5", "new", KEPT_VALUE, "red"),
}
_METHODS = (
    b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"PROPFIND",
    b"PURGE", b"get", b"Post", b"CONNECT", b"G-T",
)  # fmt: skip
_HOSTS = (
    b"a..b", b"", b"." + HOST.encode(), b"admin." + HOST.encode(), b"www." + HOST.encode(),
    b"open." + HOST.encode(), HOST.upper().encode(), HOST.encode() + b":8000",
    HOST.encode() + b":x", HOST.encode() + b".", b"[::1]", b"[::1", b"x" * 70 + b".test",
    b"a_b." + HOST.encode(), b"xn--bcher-kva.test", "bücher.test".encode(), b"evil.test",
    b"user@" + HOST.encode(), HOST.encode() + b"/admin", b"a.b.c." + HOST.encode(),
    b"127.0.0.1", b"-", HOST.encode() + b"," + HOST.encode(), b"admin..shop.test",
)  # fmt: skip
_SPELLINGS: tuple[tuple[bytes, bytes], ...] = (
    (b"/", b"//"), (b"/", b"/./"), (b"/", b"%2f"), (b"/", b"/x/../"), (b"/", b"\\"),
    (b"e", b"%65"), (b"i", b"%49"), (b"m", b"M"), (b"s", b"%53"), (b"a", "\u0430".encode()),
    (b"5", b"5.0"), (b"5", b"+5"), (b"5", b"%205"), (b"5", b"-5"), (b"5", "\uff15".encode()),
    (b"5", b"5_0"), (b"1", b"%31"), (b"13", b"013"), (b"13", b"13.0"), (b"red", b"RED"),
)  # fmt: skip
_ENDS = (b"/", b"//", b"%0a", b"%0d%0a", b";x", b"%00", b"%ff", b"\xff", b"%20", b".", b"/.",
         b"/..", b"%2f", b"?", b"#x", b"%", b"/me", b".json", b"%3f", b"..;/")  # fmt: skip


class Requests:
    """Makes requests for one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.cookie, self.csrf = _session()
        self._basic = any(guard.credential == "basic" for guard in world.guards)
        self._moved = [h for h in world.handlers if world.rule_of(h.name) is not None] or list(
            world.handlers
        )

    def make(self, random: Random, number: str) -> Request:
        """Make one request; a second one after it has the id `number` and `b`."""
        made = self._one(random, number)
        if random.random() < 0.02:
            made = replace(made, more=self._one(random, f"{number}b").raw)
        return made

    def _one(self, random: Random, number: str) -> Request:
        request = self._base(random, number)
        spoiled = random.choices((0, 1, 2, 3), (30, 40, 20, 10))[0]
        for change in random.choices(_CHANGES, _WEIGHTS, k=spoiled):
            request = change(self, random, request)
            request = replace(request, notes=(*request.notes, change.__name__.strip("_")))
        return request

    def _base(self, random: Random, number: str) -> Request:
        handler, view = self._target(random)
        template = handler.template if handler is not None else ""
        methods = handler.methods if handler is not None else ()
        if view is not None and (handler is None or random.random() < 0.85):
            template = view.template
            methods = tuple(m for m in methods if view.serves(m)) or methods or view.methods or ()
        method = random.choice(methods or ("GET",))
        if method == "GET" and random.random() < 0.1:
            method = "HEAD"
        path = _PARAMETER.sub(
            lambda found: random.choice(_VALUES.get(found[1] or found[2] or "", _VALUES[""])),
            template,
        )
        if self.world.root_path and random.random() < 0.4:
            path = self.world.root_path + path
        for layer in self.world.layers:
            if layer.kind in ("strip", "script") and random.random() < 0.5:
                path = layer.about + path
        headers = [(b"Host", self._host(random, view)), (b"X-Fuzz-Id", number.encode())]
        request = Request(method.encode(), quote(path, safe="/:@").encode(), headers=tuple(headers))
        mode = random.choices(("right", "none", "wrong"), (45, 35, 20))[0]
        if mode != "none":
            request = self._with_credentials(random, request, WORD if mode == "right" else "wrong")
        if random.random() < 0.2:
            # One guard knows the caller, the other doesn't.
            request = _without(request, random.choice((b"authorization", b"x-token", b"cookie")))
        if handler is not None and not handler.methods:
            request = _with_upgrade(request, whole=True)
        if handler is not None and (handler.place == "gated") and random.random() < 0.6:
            request = _with(request, b"X-Gate", b"open")
        if random.random() < 0.5:
            request = _with(request, b"X-Native", WORD.encode())
        if method == "OPTIONS" and random.random() < 0.4:
            request = _preflight(self, random, request)
        return request

    def _target(self, random: Random) -> tuple[Handler | None, View | None]:
        if random.random() < 0.08 or not self._moved:
            return None, random.choice(self.world.views)
        handler = random.choice(self._moved)
        pairs = [view for view in self.world.views if view.key == key_of(handler.template)]
        return handler, random.choice(pairs) if pairs else None

    def _host(self, random: Random, view: View | None) -> bytes:
        options = dict(view.options) if view is not None else {}
        host = options.get("host") or HOST
        if "subdomain" in options:
            host = f"{options['subdomain']}.{HOST}"
        return host.replace("<sub>", random.choice(("admin", "www"))).encode()

    def _with_credentials(self, random: Random, request: Request, word: str) -> Request:
        right = word == WORD
        request = _with(request, b"X-Token", word.encode())
        if self._basic:
            pair = base64.b64encode(f"ada:{word}".encode())
            request = _with(request, b"Authorization", b"Basic " + pair)
        else:
            request = _with(request, b"Authorization", f"Bearer {word}".encode())
        held = self.cookie if right else "wrong"
        request = _with(request, b"Cookie", f"session={held}; key={word}".encode())
        mark = b"&" if b"?" in request.target else b"?"
        request = replace(request, target=request.target + mark + f"key={word}".encode())
        if self.world.csrf and right and random.random() < 0.8:
            request = _with(request, b"X-CSRFToken", self.csrf.encode())
        form = any(guard.credential == "form" for guard in self.world.guards)
        json = any(guard.credential == "json" for guard in self.world.guards)
        if form and (not json or random.random() < 0.5):
            body = urlencode({"key": word}).encode()
            return _with_body(request, b"application/x-www-form-urlencoded", body)
        if json:
            return _with_body(request, b"application/json", f'{{"key": "{word}"}}'.encode())
        if request.method in (b"POST", b"PUT", b"PATCH"):
            return _with_body(request, b"application/x-www-form-urlencoded", b"a=1&b=2")
        return request


def _session() -> tuple[str, str]:
    """Make a signed session cookie of a user who is logged in, and a CSRF token to it."""
    app = Flask("session")
    app.secret_key = SECRET_KEY
    with app.test_request_context():
        session["csrf_token"] = "guardfuzz"  # else Flask-WTF makes a random one
        token = generate_csrf()
    values = {"user": "ada", "csrf_token": "guardfuzz"}
    interface: Any = app.session_interface
    signed: str = interface.get_signing_serializer(app).dumps(values)
    return signed, token


# -- parts of a request --------------------------------------------------------------------------


def _with(request: Request, name: bytes, value: bytes) -> Request:
    return replace(request, headers=(*request.headers, (name, value)))


def _without(request: Request, *names: bytes) -> Request:
    kept = tuple(h for h in request.headers if h[0].lower() not in names)
    return replace(request, headers=kept)


def _with_body(request: Request, kind: bytes, body: bytes) -> Request:
    request = _without(request, b"content-type", b"content-length", b"transfer-encoding")
    request = _with(request, b"Content-Type", kind)
    return _with(replace(request, body=body), b"Content-Length", b"%d" % len(body))


def _with_upgrade(request: Request, *, whole: bool) -> Request:
    request = _with(request, b"Upgrade", b"websocket")
    request = _with(request, b"Connection", b"Upgrade")
    if whole:
        request = _with(request, b"Sec-WebSocket-Version", b"13")
        request = _with(request, b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ==")
    return request


def _path_of(request: Request) -> tuple[bytes, bytes]:
    path, mark, query = request.target.partition(b"?")
    return path, mark + query


# -- changes -------------------------------------------------------------------------------------


def _host(_: Requests, random: Random, request: Request) -> Request:
    request = _without(request, b"host")
    value = random.choice(_HOSTS)
    if random.random() < 0.3:
        value = b"a..b"  # Flask's url_map refuses it before it matches
    return _with(request, b"Host", value)


def _hosts(_: Requests, random: Random, request: Request) -> Request:
    if random.random() < 0.5:
        return _without(request, b"host")
    return _with(request, b"Host", random.choice(_HOSTS))


def _spelling(_: Requests, random: Random, request: Request) -> Request:
    path, query = _path_of(request)
    able = [pair for pair in _SPELLINGS if pair[0] in path]
    if not able:
        return request
    old, new = random.choice(able)
    at = random.choice([m.start() for m in re.finditer(re.escape(old), path)])
    return replace(request, target=path[:at] + new + path[at + len(old) :] + query)


def _ending(_: Requests, random: Random, request: Request) -> Request:
    path, query = _path_of(request)
    return replace(request, target=path + random.choice(_ENDS) + query)


def _segment(world: Requests, random: Random, request: Request) -> Request:
    path, query = _path_of(request)
    head = path.rpartition(b"/")[0]
    kind = random.randrange(4)
    if kind == 0:
        path = random.choice((b"/v1", b"/api", b"/admin", b"/.")) + path
    elif kind == 1:
        path = b"/" + path.lstrip(b"/").partition(b"/")[2]
    elif kind == 2:
        path = head + b"/" + random.choice((b"export", b"me", b"new", b"13", b"5", b"ada", b"ws"))
    else:
        path = path.removesuffix(b"/") if path.endswith(b"/") else path + b"/"
    return replace(request, target=path + query)


def _target_form(_: Requests, random: Random, request: Request) -> Request:
    host = random.choice((HOST.encode(), b"evil.test", b"a..b", b"admin.shop.test", b""))
    scheme = random.choice((b"http", b"https", b"HTTP", b"ws", b""))
    return replace(request, target=scheme + b"://" + host + request.target)


def _method(_: Requests, random: Random, request: Request) -> Request:
    return replace(request, method=random.choice(_METHODS))


def _upgrade(_: Requests, random: Random, request: Request) -> Request:
    kind = random.randrange(6)
    if kind <= 1:
        request = _with(request, b"Connection", b"keep-alive")
        return _with_upgrade(request, whole=kind == 1)
    if kind == 2:
        return _with_upgrade(request, whole=random.random() < 0.5)
    if kind == 3:
        request = _with(request, b"Upgrade", random.choice((b"h2c", b"WebSocket", b"websocket, x")))
        return _with(request, b"Connection", random.choice((b"Upgrade", b"upgrade, close")))
    if kind == 4:
        return _with(request, b"Connection", random.choice((b"close", b"Upgrade", b"X-Token")))
    return _with(request, b"Upgrade", b"websocket")


def _forwarded(world: Requests, random: Random, request: Request) -> Request:
    choices: tuple[tuple[bytes, tuple[bytes, ...]], ...] = (
        (b"X-Forwarded-Proto", (b"https", b"ws", b"wss", b"http", b"x", b"ws, http")),
        (b"X-Forwarded-Host", _HOSTS),
        (b"X-Forwarded-Prefix", (b"/admin", b"/api", b"/x", b"//", b"/v1")),
        (b"X-Forwarded-Port", (b"443", b"x", b"0")),
        (b"X-Forwarded-For", (b"10.0.0.1", b"x, y", b"")),
        (b"Forwarded", (b"proto=ws;host=a..b",)),
    )
    name, values = random.choices(choices, (4, 4, 3, 1, 1, 1))[0]
    return _with(request, name, random.choice(values))


def _override(world: Requests, random: Random, request: Request) -> Request:
    method = random.choice((b"DELETE", b"POST", b"GET", b"PUT", b"PATCH", b"OPTIONS", b"HEAD"))
    kind = random.randrange(4)
    if kind == 0:
        path, query = _path_of(request)
        mark = query + b"&" if query else b"?"
        return replace(request, target=path + mark + b"_method=" + method)
    if kind == 1:
        form = b"application/x-www-form-urlencoded"
        return _with_body(replace(request, method=b"POST"), form, b"_method=" + method)
    if random.random() < 0.5:
        request = replace(request, method=b"POST")
    return _with(request, b"X-HTTP-Method-Override", method)


def _rewritten(world: Requests, random: Random, request: Request) -> Request:
    if random.random() < 0.3:
        return _with(request, b"X-Real-Host", random.choice(_HOSTS))
    other = world._base(random, "0")
    path, _ = _path_of(other)
    return _with(request, b"X-Original-URL", path)


def _preflight(_: Requests, random: Random, request: Request) -> Request:
    asked = request.method if random.random() < 0.7 else random.choice(_METHODS)
    request = replace(request, method=b"OPTIONS")
    if random.random() < 0.9:
        request = _with(request, b"Origin", b"https://evil.test")
    return _with(request, b"Access-Control-Request-Method", asked)


def _headers(world: Requests, random: Random, request: Request) -> Request:
    word = WORD.encode()
    choices = (
        (b"X_Token", word), (b"X-Token", b"wrong"), (b"X-Token", word), (b"X_Gate", b"open"),
        (b"Authorization", b"Bearer " + word), (b"Cookie", b"key=" + word),
        (b"Cookie", b"session=junk"), (b"Cookie", b"session=" + world.cookie.encode()),
        (b"If-None-Match", b"*"), (b"Expect", b"100-continue"), (b"Origin", b"null"),
        (b"X-Give-Up", b"1"), (b"Range", b"bytes=0-1"), (b"X-Served-By", b"legacy"),
        (b"X-CSRFToken", world.csrf.encode()), (b"Referer", b"https://shop.test/"),
        (b"Accept", b"text/event-stream"), (b"Content-Type", b"application/json"),
    )  # fmt: skip
    return _with(request, *random.choice(choices))


def _tester(_: Requests, random: Random, request: Request) -> Request:
    side = random.choice((b"native", b"native", b"NATIVE", b"legacy"))
    secret = SECRET.encode() if random.random() < 0.8 else b"wrong"
    return _with(_with(request, b"X-Cutover", side), b"X-Cutover-Secret", secret)


def _body(_: Requests, random: Random, request: Request) -> Request:
    kinds = (
        (b"application/x-www-form-urlencoded", b"key=" + WORD.encode()),
        (b"application/json", b'{"key": "sesame"}'),
        (b"application/json", b"[1"),
        (b"multipart/form-data; boundary=b",
         b'--b\r\nContent-Disposition: form-data; name="key"\r\n\r\nsesame\r\n--b--\r\n'),
        (b"text/plain", b"x" * 100),
        (b"application/octet-stream", bytes(range(256))),
    )  # fmt: skip
    return _with_body(request, *random.choice(kinds))


def _framing(_: Requests, random: Random, request: Request) -> Request:
    kind = random.randrange(5)
    if kind <= 1:
        body = request.body
        request = _without(request, b"content-length")
        if body:
            body = b"%x\r\n%s\r\n" % (len(body), body)
        return _with(replace(request, body=body + b"0\r\n\r\n"), b"Transfer-Encoding", b"chunked")
    if kind == 2:
        return _with(request, b"Transfer-Encoding", random.choice((b"chunked", b"identity", b"x")))
    if kind == 3:
        return _with(request, b"Content-Length", random.choice((b"0", b"x", b"+1")))
    return replace(request, body=request.body + b"GET /admin/ HTTP/1.1\r\nHost: a\r\n\r\n")


def _version(_: Requests, random: Random, request: Request) -> Request:
    if random.random() < 0.5:
        request = _without(request, b"host")
    version = random.choice((b"HTTP/1.0", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0"))
    return replace(request, version=version)


_WEIGHTED: dict[Callable[[Requests, Random, Request], Request], int] = {
    _host: 14,
    _hosts: 4,
    _spelling: 13,
    _ending: 9,
    _segment: 7,
    _target_form: 3,
    _method: 10,
    _upgrade: 10,
    _forwarded: 12,
    _override: 8,
    _rewritten: 4,
    _preflight: 6,
    _headers: 12,
    _tester: 3,
    _body: 4,
    _framing: 3,
    _version: 3,
}
_CHANGES, _WEIGHTS = list(_WEIGHTED), list(_WEIGHTED.values())
