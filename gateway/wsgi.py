"""`GATEWAY_CONFIG=config/gateway.yaml gunicorn gateway.wsgi:app`: the gateway in a WSGI server."""

from __future__ import annotations

from gateway.asgi import app as gateway
from gateway.hosting import Hosted

app = Hosted(gateway)
