"""The demo's requests, and what each side answers: one table for Flask, native and gateway."""

from __future__ import annotations

import json as jsonlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from gateway.demo.shop.settings import DEFAULT_TOKEN, UNAUTHORIZED

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKEN = {"X-Token": DEFAULT_TOKEN}
JSON = {"Content-Type": "application/json"}
ACCOUNT = {"X-Account": "account-07"}
#: No 64-bit integer: SQLite refuses it, and clients may send it.
BEYOND = 10**30


@dataclass(frozen=True, slots=True)
class Some:
    """Equal to any value of a type whose text matches: for ids and times."""

    kind: type
    pattern: str = ".*"

    def __eq__(self, other: object) -> bool:
        return type(other) is self.kind and re.fullmatch(self.pattern, str(other)) is not None

    __hash__ = None  # type: ignore[assignment]


#: The whole of an instant as both sides write it.
INSTANT = Some(str, r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00")
ID = Some(int)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Expect:
    """What must come back: the status, and of the rest what is given.

    `json` is the whole body, `text` a part of it, `headers` some of them.
    """

    status: int
    json: Any = None
    text: str | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)

    def hold(self, answer: Answer) -> None:
        assert answer.status == self.status, answer.body
        if self.json is not None:
            assert answer.headers["content-type"] == "application/json"
            assert jsonlib.loads(answer.body) == self.json
        if self.text is not None:
            assert self.text in answer.body.decode()
        for name, value in self.headers.items():
            assert answer.headers.get(name) == value


#: The route isn't there: each framework's own 404.
FLASK_404 = Expect(
    404, text="<h1>Not Found</h1>", headers={"content-type": "text/html; charset=utf-8"}
)
NATIVE_404 = Expect(404, {"detail": "Not Found"})
NATIVE_405 = Expect(405, {"detail": "Method Not Allowed"})
NATIVE_422 = Expect(422, text='"detail"')


@dataclass(frozen=True, slots=True)
class Case:
    """One request. `served` says who answers behind the gateway with the demo's config.

    `moved` is what native answers behind the gateway, where that isn't what it answers alone.
    """

    name: str
    method: str
    path: str
    legacy: Expect
    native: Expect
    served: Literal["legacy", "native", "canary", "guard"]
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    moved: Expect | None = None

    def expected(self, side: str) -> Expect:
        """Return what `side` answers behind the gateway."""
        return self.legacy if side == "legacy" else self.moved or self.native


def _same(
    name: str,
    method: str,
    path: str,
    both: Expect,
    served: Literal["legacy", "native", "canary", "guard"],
    headers: Mapping[str, str] | None = None,
    body: Any = None,
) -> Case:
    """Make a case that no client can tell the sides apart by."""
    raw = b"" if body is None else jsonlib.dumps(body).encode()
    sent = {**(headers or {}), **(JSON if raw else {})}
    return Case(name, method, path, both, both, served, sent, raw)


def _item(item_id: int, item_name: str, size: int, *tags: str) -> dict[str, Any]:
    return {"id": item_id, "item_name": item_name, "size": size, "tags": list(tags)}


_APRON = _item(1, "apron, classic", 10, "classic", "kitchen")
_STOLEN = Expect(401, {"error": UNAUTHORIZED})
_ADA = {
    "id": 1,
    "name": "ada",
    "email": "ada@shop.example",
    "created_at": "2016-05-02T09:00:00+00:00",
}
_FILE = {
    "name": "invoices/2026/0001.pdf",
    "size": 2048,
    "digest": Some(str, "[0-9a-f]{64}"),
    "kind": "application/pdf",
    "generated_at": INSTANT,
}
_ITEMS: tuple[Case, ...] = (
    _same(
        "store an item", "POST", "/items/",
        Expect(200, {"data": {**_item(0, "whisk", 3, "a", "b"), "id": ID}, "token": DEFAULT_TOKEN}),
        "native", TOKEN, {"item_name": "whisk", "size": 3, "tags": ["b", "a", "b"]},
    ),
    _same(
        "store an item by its name alone", "POST", "/items/",
        Expect(200, {"data": {**_item(0, "ladle", 0), "id": ID}, "token": DEFAULT_TOKEN}),
        "native", TOKEN, {"item_name": "ladle"},
    ),
    _same("store without a token", "POST", "/items/", _STOLEN, "legacy", {}, {"item_name": "x"}),
    _same(
        "store with a wrong token", "POST", "/items/", _STOLEN, "legacy",
        {"X-Token": DEFAULT_TOKEN + "x"}, {"item_name": "x"},
    ),
    Case(
        "the token comes before malformed JSON", "POST", "/items/", _STOLEN, _STOLEN, "legacy",
        JSON, b'{"item_name": ',
    ),
    _same("the token comes before missing fields", "POST", "/items/", _STOLEN, "legacy", {}, {}),
    Case(
        "store an item without a name", "POST", "/items/",
        Expect(400, {"error": "item_name is required"}), NATIVE_422, "native",
        TOKEN | JSON, b'{"size": 3}',
    ),
    Case(
        "malformed JSON with a token", "POST", "/items/",
        Expect(400, text="<h1>Bad Request</h1>"), NATIVE_422, "native",
        TOKEN | JSON, b'{"item_name": ',
    ),
    _same("show an item", "GET", "/items/1", Expect(200, _APRON), "canary", TOKEN | ACCOUNT),
    _same(
        "show an item that isn't there", "GET", "/items/4711",
        Expect(404, {"error": "no item 4711"}), "canary", TOKEN | ACCOUNT,
    ),
    _same(
        "show an item beyond what SQLite counts", "GET", f"/items/{BEYOND}",
        Expect(404, {"error": f"no item {BEYOND}"}), "canary", TOKEN | ACCOUNT,
    ),
    Case(
        "store an item beyond what SQLite counts", "POST", "/items/",
        Expect(400, {"error": "size is too large"}), NATIVE_422, "native",
        TOKEN | JSON, b'{"item_name": "x", "size": %d}' % BEYOND,
    ),
    _same("show an item without a token", "GET", "/items/1", _STOLEN, "canary", ACCOUNT),
    _same("list items without a token", "GET", "/items/", _STOLEN, "canary", ACCOUNT),
    Case(
        "list items without the slash", "GET", "/items?a=b",
        Expect(308, headers={"location": Some(str, r"(http://[^/]+)?/items/\?a=b")}),
        Expect(307), "legacy", TOKEN,
    ),
    Case(
        "export items", "GET", "/items/export.csv",
        Expect(
            200, text='id,item_name,size,tags,price_cents\r\n1,"apron, classic",10,classic',
            headers={"content-disposition": "attachment; filename=items.csv"},
        ),
        NATIVE_422, "legacy", TOKEN,
    ),
    Case("export without a token", "GET", "/items/export.csv", _STOLEN, _STOLEN, "guard"),
    Case(
        # Flask runs a blueprint's before_request around its own OPTIONS answer too.
        "OPTIONS without a token", "OPTIONS", "/items/", _STOLEN, NATIVE_405, "legacy",
    ),
)  # fmt: skip
_USERS: tuple[Case, ...] = (
    _same(
        "store a user", "POST", "/user", Expect(201, {"message": "user created", "id": ID}),
        "legacy", {}, {"name": "zoe", "email": "zoe@shop.example", "password": "correct horse"},
    ),
    _same(
        "store a user whose name is taken", "POST", "/user",
        Expect(409, {"error": "there is a user 'ada' already"}),
        "legacy", {}, {"name": "ada", "email": "ada@shop.example", "password": "correct horse"},
    ),
    Case(
        "store a user without a password", "POST", "/user",
        Expect(400, {"error": "password is required"}), NATIVE_422, "legacy",
        JSON, b'{"name": "yan", "email": "yan@shop.example"}',
    ),
    Case(
        "store a list as a user", "POST", "/user",
        Expect(400, {"error": "this is no user"}), NATIVE_422, "legacy", JSON, b"[]",
    ),
    Case(
        "store a user whose password is a number", "POST", "/user",
        Expect(400, {"error": "this is no user"}), NATIVE_422, "legacy",
        JSON, b'{"name": "yan", "email": "yan@shop.example", "password": 5}',
    ),
    _same(
        "show a user beyond what SQLite counts", "GET", f"/user/{BEYOND}",
        Expect(404, {"error": f"no user {BEYOND}"}), "legacy", ACCOUNT,
    ),
    Case(
        # S3: the intended difference.
        "show a user", "GET", "/user/1",
        Expect(200, {**_ADA, "password": Some(str, r"scrypt\$demo\$[0-9a-f]{64}")}),
        Expect(200, _ADA), "legacy", ACCOUNT,
    ),
    _same(
        "show a user who isn't there", "GET", "/user/4711",
        Expect(404, {"error": "no user 4711"}), "legacy", ACCOUNT,
    ),
    Case(
        "show a user by a word", "GET", "/user/abc", FLASK_404, NATIVE_422, "legacy", ACCOUNT
    ),
)  # fmt: skip
_FILES: tuple[Case, ...] = (
    _same(
        "show a file", "GET", "/files/invoices/2026/0001.pdf",
        Expect(200, _FILE | {"tag": "unidentified"}), "native",
    ),
    _same(
        "show a file with a tag", "GET", "/files/invoices/2026/0001.pdf?tag=paid%20%26%20filed",
        Expect(200, _FILE | {"tag": "paid & filed"}), "native",
    ),
    _same(
        "show a file with an empty tag", "GET", "/files/invoices/2026/0001.pdf?tag=",
        Expect(200, _FILE | {"tag": ""}), "native",
    ),
    _same(
        "show a file with a space in its name", "GET", "/files/manuals/egg%20timer.txt",
        Expect(
            200,
            _FILE
            | {"name": "manuals/egg timer.txt", "size": 4096}
            | {"kind": "text/plain", "tag": "unidentified"},
        ),
        "native",
    ),
    _same(
        "show a file that isn't there", "GET", "/files/no/such",
        Expect(404, {"error": "no file 'no/such'"}), "native",
    ),
    Case(
        "HEAD of a moved file", "HEAD", "/files/catalogue.pdf",
        Expect(200, headers={"content-type": "application/json"}), Expect(405), "native",
        moved=Expect(200, headers={"content-type": "application/json"}),
    ),
)  # fmt: skip
_API: tuple[Case, ...] = (
    Case(
        "version 1 lists items", "GET", "/api/v1/items?page=2&per_page=1",
        Expect(
            200,
            {
                "items": [
                    {"id": 2, "name": "bread knife, classic", "price": 12.45}
                    | {"tags": ["classic", "kitchen"]}
                ],
                "page": 2,
                "per_page": 1,
                "total": ID,
            },
        ),
        NATIVE_404, "legacy",
    ),
    Case(
        "version 1 takes nonsense for the default", "GET", "/api/v1/items?page=x&per_page=9999",
        Expect(200, text='"page":1,"per_page":100'), NATIVE_404, "legacy",
    ),
    Case(
        "version 1 has no page beyond what SQLite counts", "GET", f"/api/v1/items?page={BEYOND}",
        Expect(200, text='"items":[]'), NATIVE_404, "legacy",
    ),
    Case(
        "version 1 shows an item", "GET", "/api/v1/items/1",
        Expect(
            200,
            {"id": 1, "name": "apron, classic", "price": 9.95, "tags": ["classic", "kitchen"]},
        ),
        NATIVE_404, "legacy",
    ),
    Case(
        "version 1 says 404 in JSON", "GET", "/api/v1/items/x",
        Expect(404, {"error": "Not Found", "status": 404}), NATIVE_404, "legacy",
    ),
    Case(
        "version 1 says 405 in JSON", "DELETE", "/api/v1/items",
        Expect(405, {"error": "Method Not Allowed", "status": 405}), NATIVE_404, "legacy",
    ),
    Case(
        "version 2 lists items", "GET", "/api/v2/items?page=2&per_page=1",
        Expect(404, {"error": "Not Found", "status": 404}),
        Expect(
            200,
            {
                "items": [
                    _item(2, "bread knife, classic", 10, "classic", "kitchen")
                    | {"price": {"amount": "12.45", "currency": "EUR"}}
                ],
                "total": ID,
                "next": 3,
            },
        ),
        "native",
    ),
    Case(
        "version 2 refuses nonsense", "GET", "/api/v2/items?page=x",
        Expect(404, {"error": "Not Found", "status": 404}), NATIVE_422, "native",
    ),
    Case(
        "version 2 has no page beyond what SQLite counts", "GET", f"/api/v2/items?page={BEYOND}",
        Expect(404, {"error": "Not Found", "status": 404}),
        Expect(200, {"items": [], "total": ID, "next": None}), "native",
    ),
    Case(
        "version 2 shows an item", "GET", "/api/v2/items/1",
        Expect(404, {"error": "Not Found", "status": 404}),
        Expect(200, _APRON | {"price": {"amount": "9.95", "currency": "EUR"}}), "native",
    ),
    Case(
        "no version", "GET", "/api/v3/items",
        Expect(404, {"error": "Not Found", "status": 404}), NATIVE_404, "legacy",
    ),
)  # fmt: skip
_SITE: tuple[Case, ...] = (
    Case("home", "GET", "/", Expect(200, text="bread knife"), NATIVE_404, "legacy"),
    Case(
        "HEAD of home", "HEAD", "/",
        Expect(200, headers={"content-type": "text/html; charset=utf-8"}), Expect(404), "legacy",
    ),
    Case(
        "style sheet", "GET", "/static/shop.css", Expect(200, text="body {"), NATIVE_404, "legacy"
    ),
    _same("health", "GET", "/health", Expect(200, {"status": "ok"}), "native"),
    Case(
        "HEAD of health", "HEAD", "/health",
        Expect(200, headers={"content-length": "16"}), Expect(405), "native",
        moved=Expect(200, headers={"content-length": "15"}),
    ),
    Case("nobody's page", "GET", "/nowhere", FLASK_404, NATIVE_404, "legacy"),
    Case("a method nobody has", "DELETE", "/user/1", Expect(405), NATIVE_405, "legacy"),
)  # fmt: skip

CASES = _ITEMS + _USERS + _FILES + _API + _SITE
