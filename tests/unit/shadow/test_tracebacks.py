"""A traceback as it is kept: what its reader has written, and how much was left out."""

from __future__ import annotations

import json
import traceback

from gateway.shadow.tracebacks import shortened


def test_frames_of_libraries_are_a_number() -> None:
    text = (
        "Traceback (most recent call last):\n"
        '  File "/v/lib/python3.11/site-packages/starlette/routing.py", line 683, in __call__\n'
        "    await self.middleware_stack(scope, receive, send)\n"
        '  File "/v/lib/python3.11/site-packages/fastapi/routing.py", line 1, in app\n'
        "    response = await f(request)\n"
        "               ^^^^^^^^^^^^^^^^\n"
        '  File "/srv/shop/users.py", line 12, in show\n'
        "    return load(id)\n"
        '  File "/usr/lib/python3.11/json/decoder.py", line 355, in raw_decode\n'
        "    raise JSONDecodeError\n"
        "json.decoder.JSONDecodeError: no\n"
    )
    assert shortened(text, 4000) == (
        "Traceback (most recent call last):\n"
        "  … 2 frames of libraries\n"
        '  File "/srv/shop/users.py", line 12, in show\n'
        "    return load(id)\n"
        '  File "/usr/lib/python3.11/json/decoder.py", line 355, in raw_decode\n'
        "    raise JSONDecodeError\n"
        "json.decoder.JSONDecodeError: no\n"
    )


def test_a_real_one_keeps_what_was_raised_and_why() -> None:
    try:
        try:
            json.loads("{")
        except ValueError as error:
            raise LookupError("nothing") from error
    except LookupError:
        text = traceback.format_exc()
    short = shortened(text, 4000)
    assert len(short) < len(text)
    assert "1 frame of libraries" in short or "2 frames of libraries" in short
    assert 'json.loads("{")' in short
    assert "direct cause" in short
    assert short.endswith("LookupError: nothing\n")


def test_whatever_is_none_stays_as_it_is() -> None:
    for text in ("", "x", '  + Exception Group Traceback\n  |   File "/x.py", line 1\n', "\n\n"):
        assert shortened(text, 100) == text


def test_too_long_a_text_keeps_its_end() -> None:
    text = "".join(f"line {n}\n" for n in range(1000))
    assert shortened(text, 30) == "…\nline 997\nline 998\nline 999\n"
    assert shortened("x" * 50, 30) == "x" * 30
