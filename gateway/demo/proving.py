"""What `config/prove.yaml` calls in the test environment: a clean shop, and somebody logged in."""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import Any

from sqlalchemy import delete

from gateway.demo.shop.database import database
from gateway.demo.shop.models import Base
from gateway.demo.shop.seed import seed


def reset() -> None:
    """Put the shop back to its first day."""
    with database().session() as session:
        for table in reversed(Base.metadata.sorted_tables):
            session.execute(delete(table))
        seed(session)
        session.commit()


def clerk(apps: Any) -> dict[str, Any]:
    """Log a clerk in, by the Flask app: native reads the same session."""
    answer = apps.legacy.test_client().post("/login", json={"name": "ada"})
    jar = SimpleCookie(answer.headers["Set-Cookie"])
    return {"cookies": {name: each.value for name, each in jar.items()}}
