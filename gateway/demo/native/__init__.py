"""The shop's FastAPI app: `gateway.demo.native:app`. It knows nothing of Flask."""

from gateway.demo.native.main import app

__all__ = ["app"]
