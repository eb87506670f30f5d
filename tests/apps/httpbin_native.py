"""Routes of httpbin written natively: a client can't tell them from the Flask originals.

What httpbin's `after_request` does for CORS is a middleware here, and what Flask and Werkzeug do
without being asked (sorted, indented JSON; no Content-Type on a 304) is written out.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import codecs
import json
import random
import re
import uuid
from functools import cache
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlunsplit

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.datastructures import Headers, MutableHeaders, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HTML = "text/html; charset=utf-8"
ALL_METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "TRACE"]

# Added by proxies; httpbin hides them (httpbin/helpers.py, ENV_HEADERS).
HIDDEN_HEADERS = frozenset(
    {
        "X-Varnish",
        "X-Request-Start",
        "X-Heroku-Queue-Depth",
        "X-Real-Ip",
        "X-Forwarded-Proto",
        "X-Forwarded-Protocol",
        "X-Forwarded-Ssl",
        "X-Heroku-Queue-Wait-Time",
        "X-Forwarded-For",
        "X-Heroku-Dynos-In-Use",
        "X-Forwarded-Port",
        "X-Request-Id",
        "Via",
        "Total-Route-Time",
        "Connect-Time",
    }
)
HIDDEN_COOKIES = frozenset(
    {
        "_gauges_unique",
        "_gauges_unique_year",
        "_gauges_unique_month",
        "_gauges_unique_day",
        "_gauges_unique_hour",
        "__utmz",
        "__utma",
        "__utmb",
    }
)
ERROR_TEXTS = {
    400: (
        "Bad Request",
        "The browser (or proxy) sent a request that this server could not understand.",
    ),
    500: (
        "Internal Server Error",
        (
            "The server encountered an internal error and was unable to complete your request. "
            "Either the server is overloaded or there is an error in the application."
        ),
    ),
}


# -- what Flask does around every view ------------------------------------------------------------


class Cors:
    """httpbin's `set_cors_headers`, and the preflights: the gateway sends those to native, too."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = flask_headers(Request(scope))
        added = {
            "Access-Control-Allow-Origin": request.get("Origin", "*"),
            "Access-Control-Allow-Credentials": "true",
        }

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(added)
            await send(message)

        if scope["method"] != "OPTIONS" or "Access-Control-Request-Method" not in request:
            await self.app(scope, receive, answer)
            return
        added["Access-Control-Allow-Methods"] = "GET, POST, PUT, DELETE, PATCH, OPTIONS"
        added["Access-Control-Max-Age"] = "3600"
        if "Access-Control-Request-Headers" in request:
            wanted = request["Access-Control-Request-Headers"]
            added["Access-Control-Allow-Headers"] = wanted
        # The gateway widens Allow to what either side serves at this path.
        await html("", 200, allow="OPTIONS")(scope, receive, answer)


def pretty(value: Any, status: int = 200) -> Response:
    """Answer as Flask's `jsonify` does while it pretty-prints."""
    text = json.dumps(value, indent=2, sort_keys=True) + "\n"
    return Response(text, status, media_type="application/json")


def html(text: str, status: int = 200, **headers: str) -> Response:
    return Response(text, status, headers={"content-type": HTML, **headers})


def error_page(status: int) -> Response:
    """Answer as Werkzeug's HTTPException does."""
    name, text = ERROR_TEXTS[status]
    return html(
        f"<!doctype html>\n<html lang=en>\n<title>{status} {name}</title>\n"
        f"<h1>{name}</h1>\n<p>{text}</p>\n",
        status,
    )


def redirected(location: str) -> Response:
    """Answer as Werkzeug's `redirect` does."""
    link = escape(location)
    return html(
        "<!doctype html>\n<html lang=en>\n<title>Redirecting...</title>\n"
        "<h1>Redirecting...</h1>\n<p>You should be redirected automatically to the target URL: "
        f'<a href="{link}">{link}</a>. If not, click the link.\n',
        302,
        location=location,
    )


# -- the request as Werkzeug reads it -------------------------------------------------------------


def _percent(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return quote(error.object[error.start : error.end], safe=""), error.end


codecs.register_error("tests.percent", _percent)

Pairs = list[tuple[str, str]]


def flask_headers(request: Request) -> dict[str, str]:
    """Return the headers as `request.headers` has them, out of a WSGI environ."""
    found: dict[str, str] = {}
    for raw_name, raw_value in request.headers.raw:
        if b"_" in raw_name:
            continue
        name, value = raw_name.decode("latin-1").title(), raw_value.decode("latin-1")
        if name in found:
            value = found[name] + ("; " if name == "Cookie" else ",") + value
        found[name] = value
    for name in ("Content-Type", "Content-Length"):
        if not found.get(name, "x"):
            del found[name]
    return found


def query_pairs(request: Request) -> Pairs:
    query = request.url.query
    return parse_qsl(query, keep_blank_values=True, errors="tests.percent")


def flattened(pairs: Iterable[tuple[str, str]]) -> dict[str, str | list[str]]:
    """Return a dict; a key that is there more than once has a list of its values."""
    several: dict[str, list[str]] = {}
    for key, value in pairs:
        several.setdefault(key, []).append(value)
    return {k: values[0] if len(values) == 1 else values for k, values in several.items()}


def first(pairs: Pairs) -> dict[str, str]:
    """Return a dict of the first value of every key."""
    return dict(reversed(pairs))


def case_blind(pairs: Pairs) -> dict[str, str]:
    """Return the first values by their keys in lower case."""
    return first([(key.lower(), value) for key, value in first(pairs).items()])


def _unquoted(text: str, kept: str) -> str:
    """Undo percent-encoding except that of `kept`, controls, space and `%`."""
    codes = "|".join(f"{ord(c):02X}" for c in bytes((*range(0x21), 0x25, 0x7F)).decode() + kept)
    pieces = re.split(f"((?:%(?:{codes}))+)", text, flags=re.IGNORECASE)
    return "".join(
        piece if number % 2 else unquote(piece, errors="tests.percent")
        for number, piece in enumerate(pieces)
    )


def client_url(request: Request) -> str:
    """Return the URL as Werkzeug writes it (an IRI), with the scheme that a proxy tells of."""
    headers = flask_headers(request)
    scheme = headers.get("X-Forwarded-Proto") or headers.get("X-Forwarded-Protocol")
    if scheme is None:
        scheme = "https" if headers.get("X-Forwarded-Ssl") == "on" else request.url.scheme
    path = quote(request.scope["path"].lstrip("/"), safe="!$&'()*+,/:;=@%")
    query = quote(request.scope["query_string"], safe="!$&'()*+,/:;=?@%")
    url = (scheme, headers["Host"], "/" + _unquoted(path, "/?#"), _unquoted(query, "&=+#"), "")
    return urlunsplit(url)


def json_safe(data: bytes, content_type: str = "application/octet-stream") -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"data:{content_type};base64,{base64.b64encode(data).decode()}"


async def read_form(request: Request) -> tuple[bytes, Pairs, dict[str, str]]:
    """Return what a form parser leaves of the body, the fields, and the first file of each name.

    Of a broken form Werkzeug keeps nothing, not even what came before the fault.
    """
    body = await request.body()
    kind, _, options = request.headers.get("content-type", "").partition(";")
    kind = kind.strip().lower()
    boundary = options.partition("boundary=")[2].strip('" ')
    try:
        if kind == "application/x-www-form-urlencoded":
            pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="tests.percent")
            return b"", pairs, {}
        if kind == "multipart/form-data" and boundary:
            mark = f"--{boundary}".encode()
            # Werkzeug takes a bare LF before a boundary, which RFC 2046, 5.1.1, does not.
            body = re.sub(rb"(?<!\r)\n(?=" + re.escape(mark) + rb")", b"\r\n", body)
            complete = mark + b"--" in body
            return b"", *(await read_multipart(request.headers, body) if complete else ([], {}))
    except (UnicodeDecodeError, MultiPartException):
        return b"", [], {}
    return body, [], {}


async def read_multipart(headers: Headers, body: bytes) -> tuple[Pairs, dict[str, str]]:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    pairs: Pairs = []
    files: dict[str, str] = {}
    form = await MultiPartParser(headers, stream()).parse()
    for key, value in form.multi_items():
        if not isinstance(value, UploadFile):
            pairs.append((key, value))
        elif key not in files:
            files[key] = json_safe(await value.read(), value.content_type or BINARY)
    await form.close()
    return pairs, files


BINARY = "application/octet-stream"


async def echo(request: Request, *keys: str) -> Response:
    """Answer with what the request was: httpbin's `get_dict`."""
    headers = flask_headers(request)
    query = query_pairs(request)
    data, form, files = await read_form(request)
    shown = dict(headers)
    if not any(key == "show_env" for key, _ in query):
        shown = {k: v for k, v in headers.items() if k not in HIDDEN_HEADERS}
    try:
        parsed = json.loads(data.decode())
    except ValueError:
        parsed = None
    whole = {
        "url": client_url(request),
        "args": flattened(query),
        "form": flattened(form),
        "data": json_safe(data),
        "origin": origin(request),
        "headers": shown,
        "files": files,
        "json": parsed,
        "method": request.method,
    }
    return pretty({key: whole[key] for key in keys})


def origin(request: Request) -> str:
    seen = request.client.host if request.client is not None else ""
    return flask_headers(request).get("X-Forwarded-For", seen)


@cache
def packaged(*names: str) -> str:
    """Read one of httpbin's own text files."""
    spec = find_spec("httpbin")
    assert spec is not None
    assert spec.origin is not None
    # Jinja drops one newline at the end of a template.
    text = Path(spec.origin).parent.joinpath("templates", *names).read_text(encoding="utf-8")
    return text.removesuffix("\n")


# -- routes ---------------------------------------------------------------------------------------

router = APIRouter(default_response_class=Response)
BODY_KEYS = ("url", "args", "form", "data", "origin", "headers", "files", "json")


@router.get("/ip")
async def show_ip(request: Request) -> Response:
    return pretty({"origin": origin(request)})


@router.get("/uuid")
async def show_uuid() -> Response:
    return pretty({"uuid": str(uuid.uuid4())})


@router.get("/user-agent")
async def show_user_agent(request: Request) -> Response:
    return pretty({"user-agent": flask_headers(request).get("User-Agent")})


@router.get("/headers")
async def show_headers(request: Request) -> Response:
    return await echo(request, "headers")


@router.get("/get")
async def show_get(request: Request) -> Response:
    return await echo(request, "url", "args", "headers", "origin")


@router.post("/post")
async def show_post(request: Request) -> Response:
    return await echo(request, *BODY_KEYS)


@router.put("/put")
async def show_put(request: Request) -> Response:
    return await echo(request, *BODY_KEYS)


@router.patch("/patch")
async def show_patch(request: Request) -> Response:
    return await echo(request, *BODY_KEYS)


@router.delete("/delete")
async def show_delete(request: Request) -> Response:
    return await echo(request, *BODY_KEYS)


@router.api_route("/anything", methods=ALL_METHODS)
async def show_anything(request: Request) -> Response:
    return await echo(request, *BODY_KEYS, "method")


@router.api_route("/anything/{rest:path}", methods=ALL_METHODS)
async def show_anything_below(request: Request, rest: str) -> Response:
    return await echo(request, *BODY_KEYS, "method")


@router.api_route("/delay/{delay}", methods=ALL_METHODS)
async def show_delayed(request: Request, delay: str) -> Response:
    try:
        seconds = min(float(delay), 10)
    except ValueError:
        return error_page(500)
    if not seconds >= 0:  # time.sleep refuses NaN and what is negative
        return error_page(500)
    await asyncio.sleep(seconds)
    return await echo(request, "url", "args", "form", "data", "origin", "headers", "files")


TEAPOT = r'''
    -=[ teapot ]=-

       _...._
     .'  _ _ `.
    | ."` ^ `". _,
    \_;`"---"`|//
      |       ;/
      \_     _/
        `"""`
'''
ACCEPTED = ["image/webp", "image/svg+xml", "image/jpeg", "image/png", "image/*"]
BASIC = 'Basic realm="Fake Realm"'


SPECIAL_HEADERS = {
    **{code: {"location": "/redirect/1"} for code in (301, 302, 303, 305, 307)},
    304: {},
    401: {"www-authenticate": BASIC},
    402: {"x-more-info": "http://vimeo.com/22053820"},
    406: {"content-type": "application/json"},
    407: {"proxy-authenticate": BASIC},
    418: {"x-more-info": "http://tools.ietf.org/html/rfc2324"},
}
SPECIAL_TEXTS = {
    402: "Fuck you, pay me!",
    406: json.dumps(
        {"message": "Client did not request a supported media type.", "accept": ACCEPTED}
    ),
    418: TEAPOT,
}


def status_answer(code: int) -> Response:
    """Answer with a bare status; the special ones as httpbin dresses them up."""
    if not 100 <= code <= 599:
        return error_page(500)  # Flask would send it, uvicorn can't
    text = SPECIAL_TEXTS.get(code, "")
    headers = SPECIAL_HEADERS.get(code)
    return html(text, code) if headers is None else Response(text, code, headers=headers)


@router.api_route("/status/{codes}", methods=ALL_METHODS)
async def show_status(codes: str) -> Response:
    invalid = Response("Invalid status code", 400, media_type="text/plain")
    if "," not in codes:
        try:
            return status_answer(int(codes))
        except ValueError:
            return invalid
    choices: list[tuple[int, float]] = []
    for choice in codes.split(","):
        parts = choice.split(":")
        if len(parts) > 2:
            return error_page(500)
        try:
            choices.append((int(parts[0]), float(parts[1]) if len(parts) == 2 else 1))
        except ValueError:
            return invalid
    numbers, weights = zip(*choices, strict=True)
    return status_answer(random.choices(numbers, weights)[0])


@router.get("/base64/{value}")
async def show_base64(value: str) -> Response:
    try:
        return html(base64.urlsafe_b64decode(value.encode()).decode())
    except (binascii.Error, UnicodeDecodeError):
        return html("Incorrect Base64 data try: SFRUUEJJTiBpcyBhd2Vzb21l")


@router.get("/bytes/{n:int}")
def show_bytes(request: Request, n: int) -> Response:
    seed = case_blind(query_pairs(request)).get("seed")
    try:
        numbers = random.Random(int(seed) if seed is not None else None)
    except ValueError:
        return error_page(500)
    data = bytes(numbers.randint(0, 255) for _ in range(min(n, 100 * 1024)))
    return Response(data, media_type=BINARY)


_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_VALUE = re.compile(r"[^\r\n\u0100-\U0010ffff]*")


@router.api_route("/response-headers", methods=["GET", "POST"])
async def show_response_headers(request: Request) -> Response:
    pairs = query_pairs(request)
    shown = {"Content-Type": "application/json", "Content-Length": "0"}
    names = {name.lower(): name for name in shown}
    length = 0
    while True:
        several = flattened(
            [(names.setdefault(k.lower(), k), v) for k, v in [*shown.items(), *pairs]]
        )
        several["Content-Length"] = str(length)
        response = pretty(several)
        if length == len(response.body):
            break
        length = len(response.body)
    for key, value in pairs:
        if not (_TOKEN.fullmatch(key) and _VALUE.fullmatch(value)):
            return error_page(500)
        response.raw_headers.append((key.lower().encode(), value.encode("latin-1")))
    return response


@router.get("/redirect/{n:int}")
async def show_redirect(request: Request, n: int) -> Response:
    if n < 1:
        return error_page(500)
    absolute = first(query_pairs(request)).get("absolute", "false").lower() == "true"
    root = f"{request.url.scheme}://{request.headers['host']}" if absolute else ""
    kind = "absolute" if absolute else "relative"
    return redirected(root + ("/get" if n == 1 else f"/{kind}-redirect/{n - 1}"))


_COOKIE = re.compile(
    r"""[ \t]*([^ \t=";]+)(?:[ \t]*=[ \t]*("(?:[^\\"]|\\.)*"|[^ \t";]*))?[ \t]*(?:;|\Z)""", re.ASCII
)
_ESCAPED = re.compile(rb"\\([0-3][0-7]{2}|.)")


def _unescaped(match: re.Match[bytes]) -> bytes:
    found = match[1]
    return found if len(found) == 1 else bytes([int(found, 8)])


def request_cookies(request: Request) -> Pairs:
    """Parse the Cookie header as Werkzeug does: invalid parts are skipped, quotes undone."""
    text = flask_headers(request).get("Cookie", "")
    found: Pairs = []
    position = 0
    while text:
        match = _COOKIE.match(text, position)
        if match is None:
            position = text.find(";", position) + 1
            if position == 0:
                break
            continue
        name, value = match[1], match[2] or ""
        position = match.end()
        if len(value) > 1 and value[0] == value[-1] == '"':
            value = _ESCAPED.sub(_unescaped, value[1:-1].encode()).decode(errors="replace")
        found.append((name, value))
    return found


@router.get("/cookies")
async def show_cookies(request: Request) -> Response:
    cookies = first(request_cookies(request))
    if not any(key == "show_env" for key, _ in query_pairs(request)):
        cookies = {k: v for k, v in cookies.items() if k not in HIDDEN_COOKIES}
    return pretty({"cookies": cookies})


@router.get("/bearer")
async def show_bearer(request: Request) -> Response:
    kind, space, token = flask_headers(request).get("Authorization", "").partition(" ")
    if kind != "Bearer" or not space:
        return html("", 401, **{"www-authenticate": "Bearer"})
    return pretty({"authenticated": True, "token": token})


@router.get("/cache/{value:int}")
async def show_cache(request: Request, value: int) -> Response:
    response = await show_get(request)
    response.headers["Cache-Control"] = f"public, max-age={value}"
    return response


_SLIDES: list[dict[str, Any]] = [
    {"type": "all", "title": "Wake up to WonderWidgets!"},
    {
        "type": "all",
        "title": "Overview",
        "items": ["Why <em>WonderWidgets</em> are great", "Who <em>buys</em> WonderWidgets"],
    },
]


@router.get("/json")
async def show_json() -> Response:
    slideshow = {
        "title": "Sample Slide Show",
        "date": "date of publication",
        "author": "Yours Truly",
        "slides": _SLIDES,
    }
    return pretty({"slideshow": slideshow})


@router.get("/xml")
async def show_xml() -> Response:
    return Response(packaged("sample.xml"), media_type="application/xml")


@router.get("/html")
async def show_html() -> Response:
    return html(packaged("moby.html"))


@router.get("/encoding/utf8")
async def show_utf8() -> Response:
    return html(packaged("UTF-8-demo.txt"))


@router.get("/robots.txt")
async def show_robots() -> Response:
    return plain("User-agent: *\nDisallow: /deny\n")


def plain(text: str) -> Response:
    """Answer with `text/plain` without a charset."""
    return Response(text, headers={"content-type": "text/plain"})


@router.get("/links/{n:int}/{offset:int}")
async def show_links(n: int, offset: int) -> Response:
    count = min(max(1, n), 200)
    links = "".join(
        f"{i} " if i == offset else f"<a href='/links/{count}/{i}'>{i}</a> " for i in range(count)
    )
    return html(f"<html><head><title>Links</title></head><body>{links}</body></html>")


def create_app() -> FastAPI:
    """Build the app: an included router, as a real one would have it, and the CORS middleware."""
    app = FastAPI(openapi_url=None)
    app.include_router(router)
    app.add_middleware(Cors)
    return app


app = create_app()
#: Templates and methods, in the order in which the tests move them.
ROUTES: tuple[tuple[str, frozenset[str]], ...] = (
    ("/ip", frozenset({"GET"})),
    ("/uuid", frozenset({"GET"})),
    ("/user-agent", frozenset({"GET"})),
    ("/headers", frozenset({"GET"})),
    ("/get", frozenset({"GET"})),
    ("/post", frozenset({"POST"})),
    ("/put", frozenset({"PUT"})),
    ("/patch", frozenset({"PATCH"})),
    ("/delete", frozenset({"DELETE"})),
    ("/anything", frozenset(ALL_METHODS)),
    ("/anything/{rest:path}", frozenset(ALL_METHODS)),
    ("/delay/{delay}", frozenset(ALL_METHODS)),
    ("/status/{codes}", frozenset(ALL_METHODS)),
    ("/base64/{value}", frozenset({"GET"})),
    ("/bytes/{n}", frozenset({"GET"})),
    ("/response-headers", frozenset({"GET", "POST"})),
    ("/redirect/{n}", frozenset({"GET"})),
    ("/cookies", frozenset({"GET"})),
    ("/bearer", frozenset({"GET"})),
    ("/cache/{value}", frozenset({"GET"})),
    ("/json", frozenset({"GET"})),
    ("/xml", frozenset({"GET"})),
    ("/html", frozenset({"GET"})),
    ("/encoding/utf8", frozenset({"GET"})),
    ("/robots.txt", frozenset({"GET"})),
    ("/links/{n}/{offset}", frozenset({"GET"})),
)
