"""Files (S4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import jsonify

from gateway.demo.legacy.blueprints import files
from gateway.demo.legacy.enrichment import enrich

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue


@files.get("/<path:name>")
def show_file(name: str) -> ResponseReturnValue:
    """Show what the shop knows of a file."""
    return jsonify(enrich(name))
