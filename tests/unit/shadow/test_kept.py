"""What is kept of a request and its answer, message by message."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from gateway.shadow.kept import Kept
from gateway.state import begin

if TYPE_CHECKING:
    from starlette.types import Message

START: Message = {"type": "http.response.start", "status": 200, "headers": []}
LEFT: Message = {"type": "http.disconnect"}
ASKED: Message = {"type": "http.request", "body": b"", "more_body": False}


def body(data: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


def kept(*messages: tuple[str, Message], **scope: Any) -> Kept:
    """Let messages go by in this order: `received` by the app, or `sent` to the client."""
    coming = iter([message for way, message in messages if way == "received"])

    async def receive() -> Message:
        return next(coming)

    async def send(_: Message) -> None:
        """Take it."""

    async def go_by() -> Kept:
        begin()
        found = Kept({"type": "http", "headers": [], **scope}, receive, send, 100)
        for way, message in messages:
            await (found.receive() if way == "received" else found.send(message))
        return found

    return asyncio.run(go_by())


def test_an_answer_that_ends_early_for_a_client_who_left_is_no_answer() -> None:
    """So the bridge ends it where the app ends just when the client leaves."""
    found = kept(
        ("received", ASKED),
        ("sent", START),
        ("sent", body(b"half", more=True)),
        ("received", LEFT),
        ("sent", body(b"", more=False)),
    )
    assert found.unfit == "aborted"


def test_a_client_who_leaves_after_its_answer_has_had_it() -> None:
    found = kept(
        ("received", ASKED),
        ("sent", START),
        ("sent", body(b"whole", more=False)),
        ("received", LEFT),
    )
    assert found.unfit is None


@pytest.mark.parametrize(
    ("headers", "unfit"),
    [
        ([], None),
        ([(b"content-length", b"0")], None),
        ([(b"content-length", b"10")], "unread"),
        ([(b"transfer-encoding", b"chunked")], "unread"),
    ],
)
def test_a_body_that_nobody_read_cannot_be_sent_again(
    headers: list[tuple[bytes, bytes]], unfit: str | None
) -> None:
    found = kept(("sent", START), ("sent", body(b"x", more=False)), headers=headers)
    assert found.unfit == unfit
