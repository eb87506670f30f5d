"""`wsgi.input`, spooled and streamed, answers as io.BytesIO does (A13); and what it may cost."""

from __future__ import annotations

import asyncio
import errno
import io
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import LegacyConfig
from gateway.exceptions import BodyTimeout, DiskFull, SpoolFull
from gateway.legacy.body import (
    BodyFeed,
    Spool,
    SpoolBudget,
    SpooledBody,
    StreamedInput,
    StreamReader,
    read_whole,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Message, Receive

_sizes = st.integers(-1, 12)
_calls = st.lists(
    st.one_of(
        st.tuples(st.just("read"), _sizes),
        st.tuples(st.just("readline"), _sizes),
        st.tuples(st.just("readlines"), _sizes),
        st.tuples(st.sampled_from(["read", "readline", "readlines", "next", "list"])),
    ),
    max_size=8,
)
_bodies = st.lists(st.binary(max_size=9) | st.sampled_from([b"\n", b"ab\n", b"\n\nx"]), max_size=6)


def feed_of(parts: list[bytes], *, end: bool = True) -> Receive:
    messages: list[Message] = [
        {"type": "http.request", "body": part, "more_body": True} for part in parts
    ]
    messages.append(
        {"type": "http.request", "body": b"", "more_body": False}
        if end
        else {"type": "http.disconnect"}
    )
    iterator = iter(messages)

    async def receive() -> Message:
        try:
            return next(iterator)
        except StopIteration:
            await asyncio.Event().wait()
            raise

    return receive


def answers(stream: Any, calls: list[tuple[Any, ...]]) -> list[Any]:
    results: list[Any] = []
    for name, *args in calls:
        if name == "next":
            results.append(next(iter(stream), None))
        elif name == "list":
            results.append(list(stream))
        else:
            results.append(getattr(stream, name)(*args))
    results.append(stream.read())
    return results


@contextmanager
def running_loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with running_loop() as running:
        yield running


def streamed(loop: asyncio.AbstractEventLoop, receive: Receive) -> StreamReader:
    async def make() -> StreamedInput:
        return StreamedInput(BodyFeed(receive, LegacyConfig(), None), loop)

    return StreamReader(asyncio.run_coroutine_threadsafe(make(), loop).result(), 8)


@settings(deadline=None)
@given(parts=_bodies, calls=_calls)
def test_a_streamed_input_answers_as_bytesio(
    loop: asyncio.AbstractEventLoop, parts: list[bytes], calls: list[tuple[Any, ...]]
) -> None:
    """a2wsgi's Body reads past lines, and takes the hint of readlines() for a number of lines."""
    expected = answers(io.BytesIO(b"".join(parts)), calls)
    assert answers(streamed(loop, feed_of(parts)), calls) == expected


@settings(deadline=None, max_examples=50)
@given(parts=_bodies, calls=_calls, memory=st.integers(0, 20))
def test_a_spooled_input_answers_as_bytesio(
    parts: list[bytes], calls: list[tuple[Any, ...]], memory: int
) -> None:
    budget = SpoolBudget(10_000)
    body = spool(parts, budget, spool_memory=memory)
    assert body is not None
    assert body.size == sum(map(len, parts))
    assert answers(body.stream, calls) == answers(io.BytesIO(b"".join(parts)), calls)
    body.close()
    assert budget.used == 0


def test_the_case_of_a2wsgis_own_tests(loop: asyncio.AbstractEventLoop) -> None:
    """Its readlines(2) gives two lines; by PEP 3333 and io the hint counts bytes, so it is one."""
    text = (
        b"This is a body test.\nWhy do this?\nTo prevent memory leaks.\nAnd cancel pre-reading.\n"
        b"Newline.0\nNewline.1\nNewline.2\nNewline.3\n"
    )
    body = streamed(loop, feed_of([text]))
    assert body.readline() == b"This is a body test.\n"
    assert body.read(4) == b"Why "
    assert body.readline(2) == b"do"
    assert body.readline(20) == b" this?\n"
    assert body.readlines(2) == [b"To prevent memory leaks.\n"]
    assert body.readline() == b"And cancel pre-reading.\n"
    assert next(body) == b"Newline.0\n"
    assert next(body) == b"Newline.1\n"
    assert body.readlines() == [b"Newline.2\n", b"Newline.3\n"]
    assert body.readlines() == []
    assert body.read() == body.readline() == b""
    assert list(body) == []


@pytest.mark.parametrize("read", ["read", "readline", "readlines"])
def test_a_broken_off_stream_raises(loop: asyncio.AbstractEventLoop, read: str) -> None:
    with pytest.raises(ConnectionError):
        getattr(streamed(loop, feed_of([b"ab"], end=False)), read)()


def test_giving_up_wakes_a_waiting_read(loop: asyncio.AbstractEventLoop) -> None:
    stream = streamed(loop, feed_of([b"ab\n"]))
    assert stream.readline() == b"ab\n"
    assert stream.read() == b""
    silent = streamed(loop, feed_of([], end=False))
    raw = silent.raw
    assert isinstance(raw, StreamedInput)

    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    raw._feed._receive = never
    threading.Timer(0.1, loop.call_soon_threadsafe, (raw.abandon,)).start()
    with pytest.raises(ConnectionError):
        silent.read()
    with pytest.raises(ConnectionError):
        silent.read()


def spool(
    parts: list[bytes], budget: SpoolBudget, *, end: bool = True, **config: Any
) -> SpooledBody | None:
    return asyncio.run(read_whole(feed_of(parts, end=end), LegacyConfig(**config), budget, None))


def test_a_broken_off_spool_is_none_and_leaves_nothing() -> None:
    budget = SpoolBudget(10_000)
    assert spool([b"x" * 5000], budget, end=False, spool_memory=10) is None
    assert budget.used == 0


def test_the_budget_is_shared_and_given_back() -> None:
    budget = SpoolBudget(1000)
    first = spool([b"x" * 600], budget, spool_memory=0)
    assert first is not None
    with pytest.raises(SpoolFull):
        spool([b"x" * 600], budget, spool_memory=0)
    assert budget.used == 600
    first.close()
    first.close()
    assert budget.used == 0


def test_silence_is_a_timeout() -> None:
    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(BodyTimeout):
        asyncio.run(read_whole(receive, LegacyConfig(body_timeout=0.05), SpoolBudget(0), None))


class FullDisk(io.BytesIO):
    """A file on a disk without space."""

    def write(self, data: Any, /) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_a_507_with_a_clear_log(caplog: pytest.LogCaptureFixture) -> None:
    spool_file = Spool(SpoolBudget(1000))
    spool_file.file.close()
    spool_file.file = FullDisk()
    with pytest.raises(DiskFull) as refused:
        spool_file.write(b"x")
    assert refused.value.status == 507
    assert "no space left for spooled bodies in" in caplog.text
