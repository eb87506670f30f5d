"""The fence around libraries that connect in C, without any audit event of Python's.

psycopg2 and psycopg are asked before libpq connects. Of others it is only known that they are
loaded: `unseen` names them, so that whoever reads a proof knows what it can't tell.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gateway.migrate.prove.fence import Fence

#: Modules whose C code connects by itself. SQLAlchemy's connections by them are seen, no others.
_UNSEEN = (
    "MySQLdb", "_mysql_connector", "confluent_kafka", "cx_Oracle", "grpc", "pycurl", "pymssql",
    "pyodbc", "zmq",
)  # fmt: skip


def unseen() -> list[str]:
    """Name the loaded libraries whose connections nobody sees."""
    return [name for name in _UNSEEN if name in sys.modules]


@contextmanager
def watched(fence: Fence) -> Iterator[None]:
    """Hold the connections of psycopg2 and psycopg to the fence, where they are loaded."""
    with ExitStack() as stack:
        old, new = sys.modules.get("psycopg2"), sys.modules.get("psycopg")
        if old is not None:
            extensions: Any = sys.modules["psycopg2.extensions"]
            stack.enter_context(_replaced(old, "_connect", extensions.parse_dsn, fence))
        if new is not None:
            read = sys.modules["psycopg.conninfo"].conninfo_to_dict
            stack.enter_context(
                _replaced(sys.modules["psycopg.generators"], "connect", read, fence)
            )
        yield


@contextmanager
def _replaced(
    module: Any, name: str, read: Callable[[str], Mapping[str, Any]], fence: Fence
) -> Iterator[None]:
    """Ask the fence in front of a function whose first argument is what libpq is given."""
    original = getattr(module, name)

    def connect(conninfo: Any, *args: Any, **kwargs: Any) -> Any:
        text = conninfo.decode() if isinstance(conninfo, bytes) else conninfo or ""
        for host in hosts(read(text), os.environ):
            if not fence.admits(host):
                raise fence.block(f"postgresql://{host}")
        return original(conninfo, *args, **kwargs)

    setattr(module, name, connect)
    try:
        yield
    finally:
        setattr(module, name, original)


def hosts(given: Mapping[str, Any], environ: Mapping[str, str]) -> list[str]:
    """List the hosts that libpq would connect to (PostgreSQL, "Connection Strings").

    What names none is a socket of this machine. A service's file may name any: it counts as one.
    """
    for key, variable in (("hostaddr", "PGHOSTADDR"), ("host", "PGHOST")):
        text = str(given.get(key) or environ.get(variable, ""))
        if text:
            return [each for each in text.split(",") if each and not each.startswith(("/", "@"))]
    service = given.get("service") or environ.get("PGSERVICE")
    return [f"service={service}"] if service else []
