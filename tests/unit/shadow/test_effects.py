"""What requests do besides answering, in short: without values, and only what writes."""

from __future__ import annotations

import pytest

from gateway.shadow.effects import MOST, Recording, differing, note, recording, written


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("INSERT INTO orders (total, id) VALUES (?, ?)", "INSERT orders (id, total)"),
        (
            'insert  into "shop"."Orders" ("id")\n VALUES (1) RETURNING id',
            "INSERT shop.orders (id)",
        ),
        ("INSERT INTO logs SELECT * FROM old", "INSERT logs"),
        ("INSERT OR REPLACE INTO a (b) VALUES (1)", "INSERT a (b)"),
        ("REPLACE INTO a (b) VALUES (1)", "INSERT a (b)"),
        ("UPDATE users SET name=?, seen = ? WHERE id = ?", "UPDATE users (name, seen)"),
        ("UPDATE `users` SET `name` = 'a,b=c'", "UPDATE users (name)"),
        ("DELETE FROM orders WHERE id = 7", "DELETE orders"),
        ("CREATE TABLE a (b int)", "CREATE TABLE a"),
        ("TRUNCATE orders", "TRUNCATE orders"),
        ("SELECT * FROM users", None),
        ("  with x as (select 1) select * from x", None),
        ("SAVEPOINT a", None),
        ("PRAGMA foreign_keys", None),
    ],
)
def test_a_statement_by_what_it_writes(statement: str, what: str | None) -> None:
    assert written(statement) == what


def test_only_what_one_side_alone_did_differs() -> None:
    both = ("sql", "INSERT orders (id)")
    legacy: Recording = {both, ("signals", "order-paid")}
    native: Recording = {both, ("http", "POST https://pay.example/v1"), ("http", "POST http://m/x")}
    found = differing(legacy, native, ["POST http://m/*"])
    assert [(each.path, each.legacy, each.native, each.kind) for each in found] == [
        ("effects.http", None, "POST https://pay.example/v1", "added"),
        ("effects.signals", "order-paid", None, "missing"),
    ]
    assert differing(legacy, legacy, ()) == []


def test_what_is_recorded_is_bounded() -> None:
    note("sql", "nobody records")
    found: Recording = set()
    token = recording.set(found)
    for number in range(MOST * 2):
        note("sql", str(number))
    recording.reset(token)
    assert len(found) == MOST
