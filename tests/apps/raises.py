"""A module that fails while it is imported."""

from __future__ import annotations

import json

SETTINGS = json.loads("{not json")
