"""Which answers turn a caller away."""

from __future__ import annotations

import pytest

from gateway.refusals import Refusal, refused

LOGIN = ("/auth/login",)


@pytest.mark.parametrize("status", [200, 201, 204, 206, 299])
def test_success_lets_in(status: int) -> None:
    assert refused(status, []) is Refusal.LET_IN


@pytest.mark.parametrize("status", [401, 403, 407])
def test_a_status_that_refuses(status: int) -> None:
    assert refused(status, []) is Refusal.REFUSED


@pytest.mark.parametrize("status", [200, 302, 400, 404, 410, 451, 500])
def test_an_answer_in_the_place_of_the_view_refuses_whatever_its_status(status: int) -> None:
    assert refused(status, [], by_hook=True) is Refusal.REFUSED


@pytest.mark.parametrize("by_hook", [True, False])
@pytest.mark.parametrize("status", [429, 503])
def test_a_limit_says_nothing_of_who_may_come(status: int, by_hook: bool) -> None:
    assert refused(status, [], by_hook=by_hook) is Refusal.LIMITED


def test_not_found_is_absent() -> None:
    assert refused(404, []) is Refusal.ABSENT


@pytest.mark.parametrize("status", [100, 304, 400, 405, 409, 410, 422, 451, 500, 502])
def test_other_answers(status: int) -> None:
    assert refused(status, []) is Refusal.OTHER


@pytest.mark.parametrize(
    "body",
    [
        b"<p>The CSRF token is missing.</p>",  # Flask-WTF
        b"The CSRF session token is missing.",
        b"The CSRF token has expired.",
        b"The CSRF tokens do not match.",
        b"<p>The referrer header is missing.</p>",
        b"The referrer does not match the host.",
        b'{"detail":"The CSRF signatures submitted do not match."}',
        b"CSRF token verification failed",  # starlette-csrf
        b'{"detail":"Missing Cookie: `fastapi-csrf-token`."}',  # fastapi-csrf-protect
    ],
)
def test_the_400_of_csrf_refuses(body: bytes) -> None:
    assert refused(400, [], body=body) is Refusal.REFUSED
    assert refused(422, [], body=body) is Refusal.OTHER
    assert refused(400, [], body=b"x" * 5_000 + body) is Refusal.OTHER


@pytest.mark.parametrize(
    "body",
    [
        b'<form><input type="hidden" name="csrf_token" value="x"><p>Name is missing</p></form>',
        b'<meta name="csrf-token" content="x"><p>This is invalid.</p>',
        b'{"csrf_token": "x"}',
        b"Name is missing.",
        b"",
    ],
)
def test_a_form_that_is_shown_once_more_refuses_nobody(body: bytes) -> None:
    assert refused(400, [], body=body) is Refusal.OTHER


@pytest.mark.parametrize(
    "location",
    [
        b"/auth/login",
        b"/auth/login/",
        b"/auth/login?next=%2Fadmin",
        b"/auth/login#top",
        b"/auth/%6Cogin",
        b"http://shop.example/auth/login?next=/admin",
        b"//shop.example/auth/login",
        b"login",
        b"../auth/login",
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_a_login_page_refuses(status: int, location: bytes) -> None:
    headers = [(b"content-length", b"0"), (b"Location", location)]
    assert refused(status, headers, login=LOGIN, path="/auth/users") is Refusal.REFUSED


@pytest.mark.parametrize(
    "location",
    [b"/", b"/auth/login/help", b"/auth", b"/?next=/auth/login", b"/AUTH/LOGIN", b"http://[", b""],
)
def test_a_redirect_elsewhere_is_none(location: bytes) -> None:
    assert refused(302, [(b"location", location)], login=LOGIN) is Refusal.OTHER


def test_a_redirect_refuses_only_where_a_login_page_is_known() -> None:
    headers = [(b"location", b"/auth/login")]
    assert refused(302, headers) is Refusal.OTHER
    assert refused(302, [], login=LOGIN) is Refusal.OTHER
    assert refused(304, headers, login=LOGIN) is Refusal.OTHER
    assert refused(302, [(b"location", b"/")], login=("/",)) is Refusal.REFUSED
