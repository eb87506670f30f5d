"""`check` names a move that browsers would notice: only one side handles CORS."""

from __future__ import annotations

import flask_cors
import pytest
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from flask import Flask

from gateway import Gateway


def apps(*, flask: bool, fastapi: bool) -> tuple[Flask, FastAPI]:
    legacy, native = Flask("cors"), FastAPI()
    legacy.add_url_rule("/items", "items", lambda: "legacy")
    native.add_api_route("/items", lambda: "native")
    if flask:
        flask_cors.CORS(legacy)
    if fastapi:
        native.add_middleware(CORSMiddleware, allow_origins=["*"])
    return legacy, native


def codes(legacy: Flask, native: FastAPI, cutover: str) -> list[str]:
    rule = {"path": "/items", "cutover": cutover, "auth": "none", "hooks": "skip"}
    gateway = Gateway(legacy, native, {"version": 1, "routes": [rule]})
    return [problem.code for problem in gateway.snapshots.current.warnings]


@pytest.mark.parametrize(("flask", "fastapi"), [(True, False), (False, True)])
def test_a_move_between_differing_cors_policies_is_named(flask: bool, fastapi: bool) -> None:
    assert "cors-differs" in codes(*apps(flask=flask, fastapi=fastapi), "native")


@pytest.mark.parametrize("both", [True, False])
def test_equal_sides_are_silent(both: bool) -> None:
    assert "cors-differs" not in codes(*apps(flask=both, fastapi=both), "native")


def test_nothing_is_said_before_a_route_has_moved() -> None:
    assert "cors-differs" not in codes(*apps(flask=True, fastapi=False), "legacy")
