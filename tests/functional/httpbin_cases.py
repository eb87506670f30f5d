"""Requests to every endpoint of httpbin, with every method: what both servers are sent.

A Case is bytes on a socket, so that nothing between the test and the server normalises it.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "httpbin.test"

# Werkzeug's own server merges `X_Token` into `X-Token` before 3.0 (scenario A7): it can be no
# reference for it then.
_UNDERSCORES = (
    (("underscore", (("X_Token", "spoofed"), ("X-Token", "real"))),)
    if int(version("werkzeug").partition(".")[0]) >= 3
    else ()
)


@dataclass(frozen=True, slots=True)
class Case:
    """One request. `body` gets a Content-Length, `chunks` are sent chunked; else there's no body.

    `note` tells apart requests with the same method and target.
    """

    method: str
    target: str
    note: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    chunks: tuple[bytes, ...] | None = None

    @property
    def name(self) -> str:
        """How a failure names this case."""
        text = f"{self.method} {self.target}"
        if len(text) > 90:
            text = f"{text[:80]}..{len(text)}"
        return f"{text} ({self.note})" if self.note else text

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def encode(self) -> bytes:
        """Return the request as it goes over the wire."""
        lines = [f"{self.method} {self.target} HTTP/1.1"]
        headers = [("Host", HOST), ("Connection", "close"), *self.headers]
        if self.chunks is not None:
            headers.append(("Transfer-Encoding", "chunked"))
        elif self.body is not None:
            headers.append(("Content-Length", str(len(self.body))))
        lines += [f"{name}: {value}" for name, value in headers]
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        if self.chunks is not None:
            parts = [b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in self.chunks]
            return head + b"".join(parts) + b"0\r\n\r\n"
        return head + (self.body or b"")


FORM = ("Content-Type", "application/x-www-form-urlencoded")
JSON = ("Content-Type", "application/json")
BINARY = ("Content-Type", "application/octet-stream")
BOUNDARY = "gatewayBoundary"
MULTIPART = ("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")


def _part(disposition: str, content: bytes, *headers: str) -> bytes:
    lines = [f"--{BOUNDARY}", f"Content-Disposition: form-data; {disposition}", *headers, "", ""]
    return "\r\n".join(lines).encode() + content + b"\r\n"


_END = f"--{BOUNDARY}--\r\n".encode()
MULTIPART_FIELDS = (
    _part('name="a"', b"1")
    + _part('name="a"', b"2")
    + _part('name="stra\u00dfe"', "gr\u00fc\u00dfe".encode())
    + _END
)
MULTIPART_FILES = (
    _part('name="note"', b"with files")
    + _part('name="text"; filename="a.txt"', b"line 1\r\nline 2", "Content-Type: text/plain")
    + _part('name="image"; filename="a.png"', b"\x89PNG\x00\xff", "Content-Type: image/png")
    + _part('name="untyped"; filename="b"', b"\xfe\xff")
    + _part('name="twice"; filename="1"', b"first", "Content-Type: text/plain")
    + _part('name="twice"; filename="2"', b"second", "Content-Type: text/plain")
    + _part('name="empty"; filename="e"', b"", "Content-Type: text/plain")
    + _END
)

#: One concrete path per rule of httpbin's url_map; each is asked with each of METHODS.
SAMPLES = (
    "/",
    "/oauth2-redirect.html",
    "/apidocs/index.html",
    "/spec.json",
    "/static/favicon.ico",
    "/flasgger_static/swagger-ui.css",
    "/legacy",
    "/html",
    "/robots.txt",
    "/deny",
    "/ip",
    "/uuid",
    "/headers",
    "/user-agent",
    "/get",
    "/anything",
    "/anything/some/where",
    "/post",
    "/put",
    "/patch",
    "/delete",
    "/gzip",
    "/deflate",
    "/brotli",
    "/redirect/2",
    "/redirect-to?url=/get",
    "/relative-redirect/2",
    "/absolute-redirect/2",
    "/stream/2",
    "/status/418",
    "/response-headers?X-One=1",
    "/cookies",
    "/forms/post",
    "/cookies/set/one/1",
    "/cookies/set?one=1",
    "/cookies/delete?one=1",
    "/basic-auth/user/passwd",
    "/hidden-basic-auth/user/passwd",
    "/bearer",
    "/digest-auth/auth/user/passwd",
    "/digest-auth/auth/user/passwd/SHA-256",
    "/digest-auth/auth/user/passwd/MD5/1",
    "/delay/0",
    "/drip?duration=0&numbytes=3",
    "/base64/SFRUUEJJTg==",
    "/cache",
    "/cache/60",
    "/etag/tag",
    "/encoding/utf8",
    "/bytes/16?seed=1",
    "/stream-bytes/16?seed=1",
    "/range/64",
    "/links/3/1",
    "/links/3",
    "/image",
    "/image/png",
    "/image/jpeg",
    "/image/webp",
    "/image/svg",
    "/xml",
    "/json",
)
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND")


def _sweep() -> Iterator[Case]:
    for target in SAMPLES:
        for method in METHODS:
            body = b"" if method in ("POST", "PUT", "PATCH") else None
            yield Case(method, target, "sweep", body=body)


def _queries() -> Iterator[Case]:
    for query in (
        "a=1&b=2",
        "a=1&a=2&a=3",
        "a=&b&=c",
        "",
        "a=1&&b=2;c=3",
        "q=two+words&r=two%20words",
        "q=%E2%82%AC&%C3%BC=%C3%9F",
        "bad=%FF%FE",
        "bad=%zz&half=%4",
        "slash=a/b?c&colon=:@",
        "plus=%2B&amp=%26&eq=%3D&hash=%23",
        "quote='\"<b>",
        "show_env=1",
        "long=" + "x" * 4000,
    ):
        yield Case("GET", f"/get?{query}")
        yield Case("GET", f"/anything/q?{query}")
    yield Case("POST", "/post?a=1&b=2", body=b"c=3", headers=(FORM,))


def _paths() -> Iterator[Case]:
    for path in (
        "/anything/a%2Fb",
        "/anything/%E2%82%AC/%C3%BC",
        "/anything/%20space%20",
        "/anything/a//b",
        "/anything/a/./b/../c",
        "/anything/%25%3F%23",
        "/anything/;p=1/,=:@",
        "/anything/%FF",
        "/anything/",
        "/anything//",
        "/%67et",
        "//get",
        "///anything//x",
        "/get/",
        "/GET",
        "/Get",
        "/get%2f",
        "/./get",
        "/x/../get",
        "/unknown",
        "/unknown/",
        "/%E2%82%AC",
        "/links/3/",
        "/static/",
        "/static/none",
        "/static/../core.py",
        "/static/%2e%2e/core.py",
        "/flasgger_static/none.js",
        "/status/",
        "/bytes/abc",
        "/bytes/-1",
        "/redirect/abc",
        "/cookies/",
        "/cookies/set/one",
    ):
        yield Case("GET", path)
    for method in ("HEAD", "OPTIONS", "POST", "DELETE", "PROPFIND"):
        yield Case(method, "/unknown", body=b"x=1" if method == "POST" else None)
    for path in ("/get", "/anything", "/unknown"):
        yield Case("BREW", path)


def _request_headers() -> Iterator[Case]:
    sets: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
        ("agent", (("User-Agent", "gateway-test/1 (\u00fc)"), ("Accept", "*/*"))),
        ("odd case", (("x-lower", "1"), ("X-UPPER-ID", "2"), ("X-2fa-3b", "3"))),
        ("twice", (("X-Twice", "1"), ("X-Twice", "2"), ("x-twice", "3"))),
        ("empty", (("X-Empty", ""), ("User-Agent", ""))),
        ("spaces", (("X-Spaces", "  a  b  "), ("X-Tab", "a\tb"))),
        ("latin-1", (("X-Latin", "caf\u00e9 \u00ff"),)),
        ("forwarded for", (("X-Forwarded-For", "203.0.113.7, 198.51.100.1"),)),
        ("forwarded proto", (("X-Forwarded-Proto", "https"), ("X-Forwarded-Port", "8443"))),
        ("forwarded ssl", (("X-Forwarded-Ssl", "on"), ("X-Forwarded-Host", "other.test"))),
        ("request id", (("X-Request-Id", "abc"), ("Via", "1.1 a"), ("X-Real-Ip", "192.0.2.1"))),
        ("origin", (("Origin", "https://shop.test"),)),
        ("cookie", (("Cookie", "a=1; b=2"),)),
        ("authorization", (("Authorization", "Basic dXNlcjpwYXNzd2Q="),)),
        ("typed", (("Content-Type", "text/plain"),)),
        *_UNDERSCORES,
        ("many", tuple((f"X-Many-{n}", str(n)) for n in range(60))),
        ("long", (("X-Long", "y" * 6000),)),
    )
    for note, headers in sets:
        for path in ("/get", "/headers", "/ip", "/user-agent", "/anything"):
            yield Case("GET", path, note, headers)
    yield Case("GET", "/headers?show_env=1", "forwarded", sets[7][1])
    yield Case("GET", "/get?show_env=1", "request id", sets[10][1])
    asked = (("Origin", "https://shop.test"), ("Access-Control-Request-Method", "PUT"))
    more = (*asked, ("Access-Control-Request-Headers", "X-One, X-Two"))
    for path in ("/get", "/put", "/anything/x", "/unknown", "/status/200"):
        yield Case("OPTIONS", path, "preflight", asked)
        yield Case("OPTIONS", path, "preflight with headers", more)


def _bodies() -> Iterator[Case]:
    text = ("Content-Type", "text/plain; charset=utf-8")
    gzipped = gzip.compress(b'{"a": 1}', mtime=0)
    sets: tuple[tuple[str, tuple[tuple[str, str], ...], bytes], ...] = (
        ("none", (), b""),
        ("form", (FORM,), b"a=1&b=two+words&a=2"),
        ("form unicode", (FORM,), b"%E2%82%AC=%C3%BC&raw=\xc3\xbc"),
        ("form blank", (FORM,), b"a=&b&=c&&"),
        ("form bad utf-8", (FORM,), b"a=%FF&b=\xff"),
        ("form empty", (FORM,), b""),
        ("form typed charset", ((FORM[0], FORM[1] + "; charset=utf-8"),), b"a=%C3%BC"),
        ("json object", (JSON,), b'{"b": [1, 2.5, null], "a": {"z": true, "y": "\xe2\x82\xac"}}'),
        ("json scalar", (JSON,), b"42"),
        ("json string", (JSON,), b'"\\u20ac"'),
        ("json bad", (JSON,), b'{"a": '),
        ("json empty", (JSON,), b""),
        ("json duplicate keys", (JSON,), b'{"a": 1, "a": 2}'),
        ("json big", (JSON,), json.dumps({f"k{n}": n for n in range(2000)}).encode()),
        ("json untyped", (), b'{"a": 1}'),
        ("text", (text,), "gr\u00fc\u00dfe\r\n".encode()),
        ("binary", (BINARY,), bytes(range(256))),
        ("binary untyped", (), b"\x00\xff"),
        ("nul", (text,), b"a\x00b"),
        ("gzip", (JSON, ("Content-Encoding", "gzip")), gzipped),
        ("multipart fields", (MULTIPART,), MULTIPART_FIELDS),
        ("multipart files", (MULTIPART,), MULTIPART_FILES),
        ("multipart empty", (MULTIPART,), _END),
        ("multipart cut", (MULTIPART,), MULTIPART_FILES[:150]),
        ("multipart no boundary", (("Content-Type", "multipart/form-data"),), b"x"),
        ("large", (BINARY,), b"0123456789abcdef" * 20_000),
        ("expect", (FORM, ("Expect", "100-continue")), b"a=1"),
    )
    for note, headers, body in sets:
        for method, path in (
            ("POST", "/post"),
            ("PUT", "/put"),
            ("PATCH", "/patch"),
            ("DELETE", "/delete"),
            ("POST", "/anything"),
        ):
            yield Case(method, path, note, headers, body)
    for note in ("form", "json object", "multipart fields"):
        _, headers, body = next(entry for entry in sets if entry[0] == note)
        yield Case("POST", "/delay/0.01", note, headers, body)
        yield Case("GET", "/get", f"{note} on GET", headers, body)
        yield Case("GET", "/anything", f"{note} on GET", headers, body)
        yield Case("POST", "/status/201", note, headers, body)
        yield Case("POST", "/get", f"{note}, wrong method", headers, body)
        yield Case("POST", "/unknown", note, headers, body)
        yield Case("HEAD", "/anything", note, headers, body)
    yield from _chunked(("/post", "/anything", "/anything/x", "/unknown", "/status/200"))


def _chunked(paths: tuple[str, ...]) -> Iterator[Case]:
    for path in paths:
        yield Case("POST", path, "chunked form", (FORM,), chunks=(b"a=", b"1&b", b"=2"))
    yield Case("POST", "/post", "chunked, no chunk", (FORM,), chunks=())


def chunked_cases() -> tuple[Case, ...]:
    """Chunked bodies for a server that httpbin believes can read them."""
    large = tuple(bytes([65 + n % 26]) * 5000 for n in range(60))
    more = (
        Case("POST", "/post", "chunked json", (JSON,), chunks=(b'{"a"', b": [1,", b" 2]}")),
        Case("POST", "/post", "chunked binary", (BINARY,), chunks=(b"\x00\xff", bytes(range(256)))),
        Case("POST", "/post", "chunked untyped", chunks=(b"abc",)),
        Case("POST", "/post", "chunked large", (BINARY,), chunks=large),
        Case("PUT", "/put", "chunked multipart", (MULTIPART,), chunks=(MULTIPART_FILES,)),
        Case("PATCH", "/patch", "chunked byte by byte", (FORM,), chunks=(b"a", b"=", b"1")),
        Case("DELETE", "/delete", "chunked", (FORM,), chunks=(b"a=1",)),
        Case("GET", "/anything", "chunked on GET", (FORM,), chunks=(b"a=1",)),
        Case("POST", "/get", "chunked, wrong method", (FORM,), chunks=(b"a=1",)),
    )
    return (*_chunked(("/post", "/anything", "/unknown")), *more)


def _auth() -> Iterator[Case]:
    def basic(user: str, password: str) -> tuple[tuple[str, str], ...]:
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        return (("Authorization", f"Basic {token}"),)

    for path in ("/basic-auth/user/passwd", "/hidden-basic-auth/user/passwd"):
        yield Case("GET", path, "right", basic("user", "passwd"))
        yield Case("GET", path, "wrong", basic("user", "other"))
        yield Case("GET", path, "no colon", (("Authorization", "Basic dXNlcg=="),))
        yield Case("GET", path, "no base64", (("Authorization", "Basic %%%"),))
        yield Case("GET", path, "bearer", (("Authorization", "Bearer abc"),))
        yield Case("HEAD", path, "right", basic("user", "passwd"))
    yield Case("GET", "/basic-auth/%C3%BC/%E2%82%AC", "unicode", basic("\u00fc", "\u20ac"))
    for note, value in (
        ("right", "Bearer token.x-y_z"),
        ("empty", "Bearer "),
        ("no space", "Bearer"),
        ("case", "bearer abc"),
        ("two", "Bearer a b"),
        ("basic", "Basic abc"),
    ):
        yield Case("GET", "/bearer", note, (("Authorization", value),))


def digest(
    case: Case, *, qop: str | None = "auth", algorithm: str = "MD5", password: str = "passwd"
) -> tuple[str, str]:
    """Return the Authorization header of `case` (RFC 7616, section 3.4)."""
    names = {"MD5": "md5", "SHA-256": "sha256", "SHA-512": "sha512"}

    def hashed(*parts: str) -> str:
        return hashlib.new(names[algorithm], ":".join(parts).encode()).hexdigest()

    realm, nonce, cnonce, count = "me@kennethreitz.com", "dcd98b7102dd2f0e", "0a4f113b", "00000001"
    ha1 = hashed("user", realm, password)
    ha2 = hashed(case.method, case.target)
    if qop == "auth-int":
        body = hashlib.new(names[algorithm], case.body or b"").hexdigest()
        ha2 = hashed(case.method, case.target, body)
    values = {
        "username": "user",
        "realm": realm,
        "nonce": nonce,
        "uri": case.target,
        "algorithm": algorithm,
        "opaque": "5ccc069c403ebaf9",
    }
    if qop is None:
        values["response"] = hashed(ha1, nonce, ha2)
    else:
        values |= {"qop": qop, "nc": count, "cnonce": cnonce}
        values["response"] = hashed(ha1, nonce, count, cnonce, qop, ha2)
    return ("Authorization", "Digest " + ", ".join(f'{k}="{v}"' for k, v in values.items()))


def _digest() -> Iterator[Case]:
    never = ("Cookie", "stale_after=never; fake=fake_value")

    def signed(
        target: str,
        note: str,
        *headers: tuple[str, str],
        qop: str | None = "auth",
        algorithm: str = "MD5",
        password: str = "passwd",
        method: str = "GET",
    ) -> Case:
        plain = Case(method, target)
        header = digest(plain, qop=qop, algorithm=algorithm, password=password)
        return Case(method, target, note, (header, *headers))

    base = "/digest-auth/auth/user/passwd"
    for qop in ("auth", "auth-int", "other"):
        yield Case("GET", f"/digest-auth/{qop}/user/passwd", "challenge")
    for algorithm in ("MD5", "SHA-256", "SHA-512"):
        target = f"{base}/{algorithm}"
        yield Case("GET", target, "challenge")
        yield signed(target, "right", algorithm=algorithm)
        yield signed(target, "wrong", algorithm=algorithm, password="other")
        whole = f"/digest-auth/auth-int/user/passwd/{algorithm}"
        yield signed(whole, "auth-int", qop="auth-int", algorithm=algorithm)
    yield Case("GET", f"{base}/CRC32", "unknown algorithm")
    yield signed(base, "right")
    yield signed(base, "right, with cookies", never)
    yield signed(base, "no qop", qop=None)
    yield signed(base, "wrong", password="other")
    yield signed(base, "right, HEAD", method="HEAD")
    yield Case("GET", base, "basic", (("Authorization", "Basic dXNlcjpwYXNzd2Q="),))
    yield Case("GET", base, "garbage", (("Authorization", "Digest"),))
    yield Case("GET", base, "unfinished", (("Authorization", 'Digest username="user"'),))
    for stale_after in ("never", "0", "1", "2", "x"):
        target = f"{base}/MD5/{stale_after}"
        yield Case("GET", target, "challenge")
        yield signed(target, "first use", ("Cookie", f"stale_after={stale_after}"))
    yield signed(f"{base}/MD5/2", "used up", ("Cookie", "stale_after=0; fake=fake_value"))
    yield signed(f"{base}/MD5/2", "same nonce", ("Cookie", "last_nonce=dcd98b7102dd2f0e"))
    yield signed(f"{base}/MD5/2", "other nonce", ("Cookie", "last_nonce=abc; stale_after=2"))
    for flag in ("1", "true", "no"):
        target = f"{base}?require-cookie={flag}"
        yield signed(target, "no cookie")
        yield signed(target, "wrong cookie", ("Cookie", "fake=other"))
        yield signed(target, "right cookie", never)


def _statuses() -> Iterator[Case]:
    codes = [200, 201, 202, 203, 204, 205, 206, 226, 299]
    codes += [300, 301, 302, 303, 304, 305, 306, 307, 308]
    codes += [400, 401, 402, 403, 404, 405, 406, 407, 409, 410, 411, 412, 413, 415, 416, 418, 422]
    codes += [425, 426, 428, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 599]
    for code in codes:
        yield Case("GET", f"/status/{code}")
    for code in (204, 302, 304, 401, 418, 500):
        for method in ("HEAD", "POST", "PUT", "DELETE"):
            yield Case(method, f"/status/{code}", body=b"x=1" if method == "POST" else None)
    for text in ("600", "999", "abc", "20x", "200,abc", "%20200", "200:1,404:0", "503:1,abc:1"):
        yield Case("GET", f"/status/{text}")
    for text in ("200:x", "200:1:1", "200,", ","):
        yield Case("GET", f"/status/{text}")


def _answers() -> Iterator[Case]:
    for query in (
        "",
        "X-One=1",
        "X-One=1&X-One=2&X-Two=3",
        "Content-Type=text/plain",
        "Content-Type=text/plain;%20charset=UTF-8&Server=own",
        "Set-Cookie=a=1&Set-Cookie=b=2",
        "x-latin=%C3%BC",
        "X-Empty=",
        "Location=/get&ETag=%22abc%22",
        "Cache-Control=no-store&Vary=Accept&Vary=Cookie",
        "X-Space=%20a%20",
        "X-Line=a%0Ab",
        "X-Euro=%E2%82%AC",
        "bad%20name=1",
        "=1",
    ):
        yield Case("GET", f"/response-headers?{query}")
        yield Case("POST", f"/response-headers?{query}", body=b"")
    for value in ("SFRUUEJJTiBpcyBhd2Vzb21l", "4oKs", "_-8=", "abc", "%C3%BC", "YQ", "YQ==", "!!"):
        yield Case("GET", f"/base64/{value}")
    for encoding in ("gzip", "deflate", "brotli"):
        accept = (("Accept-Encoding", "gzip, deflate, br"), ("User-Agent", "x"))
        yield Case("GET", f"/{encoding}", "accepted", accept)
        yield Case("HEAD", f"/{encoding}", "accepted", accept)
        yield Case("GET", f"/{encoding}?show_env=1", "not accepted", (("Accept-Encoding", "x"),))
    for note, accept_value in (
        ("webp", "image/webp"),
        ("svg", "image/svg+xml"),
        ("jpeg", "image/jpeg"),
        ("png", "image/png"),
        ("any image", "image/*"),
        ("several", "text/html, image/jpeg;q=0.9, image/webp;q=0.8"),
        ("none of them", "application/json"),
        ("upper case", "IMAGE/JPEG"),
        ("empty", ""),
    ):
        yield Case("GET", "/image", note, (("Accept", accept_value),))
    for path in ("/uuid", "/bytes/0", "/bytes/10", "/bytes/200000", "/stream-bytes/10"):
        yield Case("GET", path)
    for target in (
        "/bytes/1024?seed=42",
        "/bytes/16?SEED=42",
        "/bytes/16?seed=-1",
        "/bytes/16?seed=x",
        "/stream-bytes/0?seed=1",
        "/stream-bytes/1000?seed=7&chunk_size=10",
        "/stream-bytes/1000?seed=7&chunk_size=0",
        "/stream-bytes/30000?seed=7",
        "/stream-bytes/16?chunk_size=x&seed=1",
        "/links/0",
        "/links/1",
        "/links/300/2",
        "/links/3/9",
        "/links/0/0",
        "/json?x=1",
    ):
        yield Case("GET", target)


def _cookies() -> Iterator[Case]:
    for note, value in (
        ("one", "a=1"),
        ("several", "a=1; b=2; c=3"),
        ("quoted", 'a="x y"; b="\\303\\274"'),
        ("same name", "a=1; a=2"),
        ("no value", "a; b=; =c"),
        ("hidden", "__utma=1; _gauges_unique=2; mine=3"),
        ("raw bytes", "a=\u00c3\u00bc"),
        ("no space", "a=1;b=2"),
        ("percent", "a=%20b"),
        ("json", 'a={"x": 1}'),
    ):
        yield Case("GET", "/cookies", note, (("Cookie", value),))
    hidden = (("Cookie", "__utma=1; mine=3"),)
    yield Case("GET", "/cookies?show_env=1", "hidden", hidden)
    yield Case("GET", "/cookies", "two lines", (("Cookie", "a=1"), ("Cookie", "b=2")))
    yield Case("HEAD", "/cookies", "one", (("Cookie", "a=1"),))
    for target in (
        "/cookies/set/a/b%20c",
        "/cookies/set/a/%C3%BC",
        "/cookies/set/a/x;y",
        "/cookies/set/a=b/c",
        "/cookies/set/a%20b/c",
        "/cookies/set?a=1&b=2&c=x%20y",
        "/cookies/set?a=1&a=2",
        "/cookies/set?a=%E2%82%AC",
        "/cookies/set",
        "/cookies/delete?a=1&b",
        "/cookies/delete",
        "/cookies/delete?x%20y=1",
    ):
        yield Case("GET", target)


def _redirects() -> Iterator[Case]:
    for target in (
        "/redirect/1",
        "/redirect/10",
        "/redirect/0",
        "/redirect/007",
        "/redirect/3?absolute=true",
        "/redirect/1?absolute=TRUE",
        "/redirect/3?absolute=no",
        "/relative-redirect/1",
        "/relative-redirect/5",
        "/relative-redirect/0",
        "/absolute-redirect/1",
        "/absolute-redirect/5",
        "/absolute-redirect/0",
        "/redirect-to",
        "/redirect-to?url=http://127.0.0.1:9/x?a=b%26c",
        "/redirect-to?url=//other.test/%E2%82%AC",
        "/redirect-to?url=%C3%BC",
        "/redirect-to?url=",
        "/redirect-to?URL=/get&Status_Code=307",
        "/redirect-to?url=/get&status_code=301",
        "/redirect-to?url=/get&status_code=399",
        "/redirect-to?url=/get&status_code=200",
        "/redirect-to?url=/get&status_code=x",
        "/redirect-to?url=a%0D%0AX-Injected:1",
    ):
        yield Case("GET", target)
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        yield Case(method, "/redirect-to?url=/get&status_code=307", "body", (FORM,), b"url=/post")


def _caching() -> Iterator[Case]:
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    yield Case("GET", "/cache", "modified since", (("If-Modified-Since", date),))
    yield Case("GET", "/cache", "none match", (("If-None-Match", '"abc"'),))
    yield Case("GET", "/cache", "empty header", (("If-None-Match", ""),))
    yield Case("HEAD", "/cache", "none match", (("If-None-Match", "*"),))
    for value in ("0", "3600", "99999999999"):
        yield Case("GET", f"/cache/{value}")
    for name in ("If-None-Match", "If-Match"):
        for value in ("tag", '"tag"', 'W/"tag"', "*", '"other"', '"a", "tag"', "", ",,"):
            yield Case("GET", "/etag/tag", f"{name}: {value}", ((name, value),))
    both = (("If-None-Match", '"x"'), ("If-Match", '"y"'))
    yield Case("GET", "/etag/tag", "both", both)
    yield Case("GET", "/etag/%C3%BC")
    yield Case("GET", "/etag/a%22b")
    for path in ("/static/favicon.ico", "/flasgger_static/swagger-ui.css"):
        recent = (("If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT"),)
        yield Case("GET", path, "not modified", recent)
        yield Case("GET", path, "modified", (("If-Modified-Since", date),))
        yield Case("GET", path, "any etag", (("If-None-Match", "*"),))
        for value in ("bytes=0-9", "bytes=10-", "bytes=-5", "bytes=9999999-", "bytes=5-1", "x=1-2"):
            yield Case("GET", path, value, (("Range", value),))
        yield Case("GET", path, "two ranges", (("Range", "bytes=0-1,4-5"),))


def _streams() -> Iterator[Case]:
    for target in (
        "/stream/0",
        "/stream/1",
        "/stream/7?a=1&b=%E2%82%AC",
        "/stream/200",
        "/stream/x",
        "/drip?duration=0&numbytes=1",
        "/drip?duration=0.1&numbytes=5&delay=0.05",
        "/drip?duration=0&numbytes=4&code=404",
        "/drip?duration=0&numbytes=2&code=500",
        "/drip?duration=0&numbytes=0",
        "/drip?duration=0&numbytes=-3",
        "/drip?duration=0&numbytes=x",
        "/drip?duration=x",
        "/drip?duration=0&NUMBYTES=2",
        "/drip?duration=0&numbytes=2000",
        "/delay/0.05",
        "/delay/0?a=1",
        "/delay/abc",
        "/delay/nan",
        "/delay/-1",
        "/range/0",
        "/range/1",
        "/range/102400",
        "/range/102401",
        "/range/1000?chunk_size=7",
        "/range/26?chunk_size=0",
        "/range/20?duration=0.05&chunk_size=5",
        "/range/26?duration=x",
    ):
        yield Case("GET", target)
    for value in (
        "bytes=0-9",
        "bytes=0-99",
        "bytes=10-",
        "bytes=-10",
        "bytes=-500",
        "bytes=99-99",
        "bytes=100-",
        "bytes=50-10",
        "bytes=0-200",
        "bytes=a-b",
        "bytes",
        "bytes=",
        "items=0-9",
        "bytes=0-1,5-6",
    ):
        yield Case("GET", "/range/100", value, (("Range", value),))
        yield Case("HEAD", "/range/100", value, (("Range", value),))


def _all() -> Iterator[Case]:
    yield from _sweep()
    yield from _queries()
    yield from _paths()
    yield from _request_headers()
    yield from _bodies()
    yield from _auth()
    yield from _digest()
    yield from _statuses()
    yield from _answers()
    yield from _cookies()
    yield from _redirects()
    yield from _caching()
    yield from _streams()


CASES = tuple(_all())
CHUNKED_CASES = chunked_cases()
_NAMES = [case.name for case in CASES]
REPEATED = sorted({name for name in _NAMES if _NAMES.count(name) > 1})
