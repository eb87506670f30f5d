"""Nothing leaves this machine while the fence stands, and nothing is missing afterwards."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import urllib.request
from contextlib import closing, suppress
from typing import Any

import pytest
from flask import Flask

from gateway.migrate.prove import databases, drivers
from gateway.migrate.prove.fence import Blocked, Fence, is_loopback, standing

OUTSIDE = "192.0.2.1"  # RFC 5737


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", True),
        ("localhost", True),
        ("LOCALHOST.", True),
        (socket.gethostname(), True),
        (OUTSIDE, False),
        ("10.0.0.1", False),
        ("169.254.169.254", False),
        ("::ffff:192.0.2.1", False),
        ("fe80::1%lo", False),
        ("db.example", False),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
        ("2130706433.example", False),
    ],
)
def test_what_is_this_machine(host: str, inside: bool) -> None:
    assert Fence().admits(host) is inside


def test_a_host_is_allowed_by_its_name_or_address() -> None:
    fence = Fence(["DB.example", OUTSIDE, "127.0.0.1"])
    assert fence.admits("db.example")
    assert fence.admits(OUTSIDE)
    assert not fence.admits("192.0.2.2")


def connect() -> None:
    with closing(socket.socket()) as outward:
        outward.settimeout(1)
        outward.connect((OUTSIDE, 80))


def connect_ex() -> None:
    with closing(socket.socket()) as outward:
        outward.settimeout(1)
        outward.connect_ex((OUTSIDE, 80))


def connect_v6() -> None:
    with closing(socket.socket(socket.AF_INET6)) as outward:
        outward.connect(("2001:db8::1", 80))


def send_to() -> None:
    with closing(socket.socket(type=socket.SOCK_DGRAM)) as outward:
        outward.sendto(b"stats", (OUTSIDE, 8125))


def send_message() -> None:
    with closing(socket.socket(type=socket.SOCK_DGRAM)) as outward:
        outward.sendmsg([b"stats"], [], 0, (OUTSIDE, 8125))


def look_up() -> None:
    socket.getaddrinfo("db.example", 5432)


def look_up_backwards() -> None:
    socket.getnameinfo((OUTSIDE, 80), 0)


def fetch() -> None:
    urllib.request.urlopen(f"http://{OUTSIDE}/", timeout=1)


def open_connection() -> None:
    # Not `asyncio.run`: another test may have left a policy behind.
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(asyncio.wait_for(asyncio.open_connection(OUTSIDE, 80), 1))


WAYS = [
    connect, connect_ex, connect_v6, send_to, send_message, look_up, look_up_backwards, fetch,
    open_connection,
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_each_way_out_is_blocked_and_named(way: Any) -> None:
    fence = Fence()
    with standing(fence), pytest.raises(OSError, match="would leave this machine"):
        way()
    assert len(fence.taken()) == 1
    assert fence.taken() == []


# -- uvloop, which connects in C ----------------------------------------------------------------


async def by_name() -> None:
    await asyncio.open_connection("db.example", 5432)


async def by_address() -> None:
    await asyncio.open_connection(OUTSIDE, 80)


async def by_address_6() -> None:
    await asyncio.get_running_loop().create_connection(asyncio.Protocol, "2001:db8::1", 80)


async def by_bytes() -> None:
    await asyncio.get_running_loop().create_connection(asyncio.Protocol, OUTSIDE.encode(), 80)  # type: ignore[call-overload]


async def by_socket() -> None:
    with closing(socket.socket()) as outward:
        outward.setblocking(False)
        await asyncio.get_running_loop().sock_connect(outward, (OUTSIDE, 80))


async def by_datagram() -> None:
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=(OUTSIDE, 8125))


async def by_datagram_that_says_where_later() -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, local_addr=("0.0.0.0", 0)
    )
    transport.sendto(b"stats", (OUTSIDE, 8125))


async def by_datagram_socket() -> None:
    loop = asyncio.get_running_loop()
    with closing(socket.socket(type=socket.SOCK_DGRAM)) as outward:
        outward.setblocking(False)
        transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=outward)
        transport.sendto(b"stats", (OUTSIDE, 8125))


async def by_look_up() -> None:
    await asyncio.get_running_loop().getaddrinfo("db.example", 5432)


async def by_look_up_backwards() -> None:
    await asyncio.get_running_loop().getnameinfo((OUTSIDE, 80))


def under_its_policy(way: Any) -> None:
    uvloop = pytest.importorskip("uvloop")
    before = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    try:
        asyncio.run(asyncio.wait_for(way(), 5))
    finally:
        asyncio.set_event_loop_policy(before)


def by_its_own_run(way: Any) -> None:
    pytest.importorskip("uvloop").run(asyncio.wait_for(way(), 5))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of policies
@pytest.mark.parametrize("run", [under_its_policy, by_its_own_run])
@pytest.mark.parametrize(
    "way",
    [
        by_name, by_address, by_address_6, by_bytes, by_socket, by_datagram,
        by_datagram_that_says_where_later, by_datagram_socket, by_look_up, by_look_up_backwards,
    ],
)  # fmt: skip
def test_each_way_out_of_uvloop_is_blocked_and_named(run: Any, way: Any) -> None:
    fence = Fence()
    with standing(fence), pytest.raises(OSError, match="would leave this machine"):
        run(way)
    assert len(fence.taken()) == 1


def test_a_loop_of_uvloop_that_runs_already_is_held_as_well() -> None:
    fence = Fence()

    async def begun_before() -> None:
        with standing(fence), suppress(OSError):
            await by_address()

    by_its_own_run(begun_before)
    assert fence.taken() == [f"looking up {OUTSIDE}"]


def test_uvloop_reaches_this_machine_and_what_is_allowed_and_is_left_as_it_was() -> None:
    uvloop = pytest.importorskip("uvloop")
    methods = {**vars(uvloop.Loop)}

    async def local() -> None:
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        for host in ("127.0.0.1", "localhost"):
            reader, writer = await asyncio.open_connection(host, port)
            assert await reader.read() == b""
            writer.close()
        with closing(socket.create_connection(("127.0.0.1", port))) as connected:
            connected.setblocking(False)
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=connected)
            transport.close()
        for more in ({"remote_addr": ("127.0.0.1", port)}, {"local_addr": ("127.0.0.1", 0)}):
            udp, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, **more)
            udp.sendto(b"x", None if "remote_addr" in more else ("127.0.0.1", port))
            udp.close()
        assert await loop.getaddrinfo("localhost", port)
        udp, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=(OUTSIDE, 9)
        )
        udp.close()  # allowed, and nothing is sent
        server.close()

    fence = Fence([OUTSIDE])
    with standing(fence):
        uvloop.run(local())
    assert fence.taken() == []
    assert {**vars(uvloop.Loop)} == methods


def test_an_attempt_that_the_app_forgives_is_named_all_the_same() -> None:
    fence = Fence()

    def tries() -> None:
        with suppress(OSError):
            connect()

    with standing(fence):
        thread = threading.Thread(target=tries)
        thread.start()
        thread.join()
    assert fence.taken() == [f"{OUTSIDE}:80"]


def test_this_machine_can_be_reached() -> None:
    with standing(Fence()), closing(socket.create_server(("127.0.0.1", 0))) as server:
        with closing(socket.create_connection(("localhost", server.getsockname()[1]))):
            pass
        left, right = socket.socketpair()
        left.close()
        right.close()


def test_the_fence_ends_with_its_block() -> None:
    fence = Fence()
    with standing(fence):
        pass
    with closing(socket.socket(type=socket.SOCK_DGRAM)) as outward, suppress(OSError):
        outward.sendto(b"x", (OUTSIDE, 9))  # whatever the network says, we don't
    assert fence.taken() == []


def test_no_proxy_of_this_machine_is_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:3128")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:3128")
    with standing(Fence()):
        assert urllib.request.getproxies_environment() == {}
    assert set(urllib.request.getproxies_environment()) == {"http", "https"}


def test_no_name_is_an_address() -> None:
    assert not is_loopback("localhost")
    assert is_loopback("[::1]")


def test_a_sqlite_file_is_heard_of(tmp_path: Any) -> None:
    import sqlite3

    fence, heard = Fence(), list[str]()
    fence.opened = heard.append
    with standing(fence):
        sqlite3.connect(tmp_path / "shop.db").close()
        sqlite3.connect(":memory:").close()
    assert heard == [f"sqlite:///{tmp_path}/shop.db"]


# -- databases --------------------------------------------------------------------------------


def test_databases_are_found_in_config_environment_and_engines(tmp_path: Any) -> None:
    from sqlalchemy import create_engine

    app = Flask("databases")
    app.config.update(
        SQLALCHEMY_DATABASE_URI="postgresql://shop:hunter2-X@db.example/shop",
        SQLALCHEMY_BINDS={"logs": "sqlite:///logs.db", "more": {"url": "mysql://m.example/x"}},
        CACHE_REDIS_URL="redis://:hunter2-X@127.0.0.1:6379/0",
        HOME_URL="https://shop.example",
        URL_SCHEME="postgresql://no",
    )
    engine = create_engine(f"sqlite:///{tmp_path}/engine.db")
    environ = {
        "DATABASE_URL": "postgresql://other.example/",
        "PATH": "/bin",
        "GATEWAY_URL": "http://x",
    }
    found = databases.found(app, environ)
    shown = databases.shown(found)
    assert (
        "postgresql://shop:***@db.example/shop  (SQLALCHEMY_DATABASE_URI of the Flask app)" in shown
    )
    assert "sqlite:///logs.db  (SQLALCHEMY_BINDS[logs] of the Flask app)" in shown
    assert "redis://:***@127.0.0.1:6379/0  (CACHE_REDIS_URL of the Flask app)" in shown
    assert "postgresql://other.example/  (DATABASE_URL of the environment)" in shown
    assert any(str(engine.url) in line for line in shown)
    assert not any("hunter2-X" in line or "https://" in line for line in shown)
    assert not any("URL_SCHEME" in line for line in shown)
    outside = databases.outside(found, Fence(["other.example"]))
    assert outside == [
        "SQLALCHEMY_DATABASE_URI of the Flask app names db.example",
        "SQLALCHEMY_BINDS[more] of the Flask app names m.example",
    ]
    engine.dispose()


def test_sqlalchemy_is_stopped_before_a_driver_of_c_connects() -> None:
    """The driver is called by SQLAlchemy's pool; here it must never be."""
    from sqlalchemy import create_engine

    called: list[object] = []

    class Driver:
        paramstyle = "pyformat"
        Error = OperationalError = ProgrammingError = InterfaceError = KeyError

        @staticmethod
        def connect(*args: object, **kwargs: object) -> object:
            called.append(kwargs)
            raise AssertionError

    engine = create_engine("mysql+pymysql://shop:secret@192.0.2.1/shop", module=Driver())
    fence, heard = Fence(), list[str]()
    blocked = False
    with databases.watching(fence, heard.append):
        try:
            engine.connect()
        except Blocked:
            blocked = True
    del engine  # or other tests in this process would find it
    assert blocked
    assert called == heard == []
    assert fence.taken() == ["mysql://192.0.2.1"]


def psycopg2_by_string() -> None:
    pytest.importorskip("psycopg2").connect(f"postgresql://shop@{OUTSIDE}/shop?connect_timeout=2")


def psycopg2_by_words() -> None:
    pytest.importorskip("psycopg2").connect(host=OUTSIDE, dbname="shop", connect_timeout=2)


def psycopg2_by_address() -> None:
    psycopg2 = pytest.importorskip("psycopg2")
    psycopg2.connect(host="localhost", hostaddr=OUTSIDE, dbname="shop", connect_timeout=2)


def psycopg_by_string() -> None:
    pytest.importorskip("psycopg").connect(f"host={OUTSIDE} dbname=shop connect_timeout=2")


def psycopg_asynchronously() -> None:
    psycopg = pytest.importorskip("psycopg")
    asyncio.run(psycopg.AsyncConnection.connect(f"postgresql://{OUTSIDE}/x?connect_timeout=2"))


@pytest.mark.parametrize(
    "way",
    [
        psycopg2_by_string, psycopg2_by_words, psycopg2_by_address, psycopg_by_string,
        psycopg_asynchronously,
    ],
)  # fmt: skip
def test_libpq_is_stopped_without_sqlalchemy_too(way: Any) -> None:
    pytest.importorskip(way.__name__.partition("_")[0])
    fence = Fence()
    with standing(fence), databases.watching(fence, print), pytest.raises(Blocked):
        way()
    assert fence.taken() == [f"postgresql://{OUTSIDE}"]


@pytest.mark.parametrize(
    ("given", "environ", "expected"),
    [
        ({}, {}, []),
        ({"host": "db.example"}, {"PGHOST": "other"}, ["db.example"]),
        ({"host": "a,b,/run/x"}, {}, ["a", "b"]),
        ({"host": "localhost", "hostaddr": OUTSIDE}, {}, [OUTSIDE]),
        ({"host": "localhost"}, {"PGHOSTADDR": OUTSIDE}, [OUTSIDE]),
        ({}, {"PGHOST": "db.example"}, ["db.example"]),
        ({"host": "/run/postgresql"}, {}, []),
        ({"service": "shop"}, {}, ["service=shop"]),
        ({}, {"PGSERVICE": "shop"}, ["service=shop"]),
    ],
)
def test_where_libpq_connects_to(
    given: dict[str, str], environ: dict[str, str], expected: list[str]
) -> None:
    assert drivers.hosts(given, environ) == expected


def test_what_nobody_sees_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "zmq" not in drivers.unseen()
    monkeypatch.setitem(sys.modules, "zmq", sys)
    assert "zmq" in drivers.unseen()
