"""Users: adding and finding."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy.exc import IntegrityError

from gateway.demo.shop.errors import DuplicateError, NotFoundError
from gateway.demo.shop.models import LARGEST, User

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def add_user(session: Session, name: str, email: str, password: str) -> User:
    """Store a new user with a hashed password; raise DuplicateError for a name in use."""
    user = User(
        name=name, email=email, password=hash_password(password), created_at=datetime.now(UTC)
    )
    session.add(user)
    try:
        session.commit()
    except IntegrityError as error:
        session.rollback()
        raise DuplicateError(f"there is a user {name!r} already") from error
    return user


def find_user(session: Session, user_id: int) -> User:
    """Return a user; raise NotFoundError."""
    user = session.get(User, user_id) if user_id <= LARGEST else None
    if user is None:
        raise NotFoundError(f"no user {user_id}")
    return user


def hash_password(password: str) -> str:
    """Return `scrypt$SALT$HASH`, both in hexadecimal."""
    salt = secrets.token_bytes(16)
    key = hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)
    return f"scrypt${salt.hex()}${key.hex()}"
