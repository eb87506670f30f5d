"""What the shop holds on its first day. The same on every start, so that tests can name it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from gateway.demo.shop.models import Build, Item, StoredFile, User

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

OPENED = datetime(2016, 5, 2, 9, 0, tzinfo=UTC)

NAMES = (
    "ada", "björn", "chiara", "dmitri", "elif", "fatou", "gustav", "hana", "imani", "joão",
    "katya", "liam", "mei", "noor", "olga", "pavel", "quentin", "rosa", "sven", "tuva",
)  # fmt: skip
PRODUCTS = (
    "apron", "bread knife", "cast-iron pan", "dough scraper", "egg timer", "flour sieve",
    "garlic press", "hand mixer",
)  # fmt: skip
EDITIONS = ("classic", "large", "small", "travel", "gift")
FILES = (
    "catalogue.pdf",
    "invoices/2026/0001.pdf",
    "invoices/2026/0002.pdf",
    "manuals/egg timer.txt",
    "manuals/hand-mixer.pdf",
    "photos/apron.jpg",
    "photos/bread-knife.png",
    "stock.csv",
)


def seed(session: Session) -> None:
    """Add 20 users, 40 items, 8 files and 30 builds; ids count from 1 in this order."""
    for number, name in enumerate(NAMES):
        session.add(
            User(
                id=number + 1,
                name=name,
                email=f"{name}@shop.example",
                # Looks like a hash and opens nothing: seed users can't log in.
                password=f"scrypt$demo${hashlib.sha256(name.encode()).hexdigest()}",
                created_at=OPENED + timedelta(days=97 * number, seconds=number),
            )
        )
    for number in range(len(PRODUCTS) * len(EDITIONS)):
        edition, product = divmod(number, len(PRODUCTS))
        session.add(
            Item(
                id=number + 1,
                item_name=f"{PRODUCTS[product]}, {EDITIONS[edition]}",
                size=10 * (edition + 1),
                tags=sorted({EDITIONS[edition], "kitchen"}),
                price_cents=995 + 250 * product + 100 * edition,
            )
        )
    for number, name in enumerate(FILES):
        digest = hashlib.sha256(name.encode()).hexdigest()
        session.add(StoredFile(id=number + 1, name=name, size=1024 * (number + 1), digest=digest))
    for number in range(30):
        project = PRODUCTS[number % len(PRODUCTS)] if number % 3 else None
        session.add(
            Build(
                id=number + 1,
                package=f"{PRODUCTS[number % len(PRODUCTS)]}-1.{number}",
                status="complete" if (number + 1) % 7 else "failed",
                scratch=number % 2 == 0,
                project_name=project,
                project_url=f"https://shop.example/{project}" if project else None,
            )
        )
