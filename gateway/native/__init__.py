"""The native app: an index of its routes, and dispatch straight to one of them.

`app` is what the rest of the gateway uses, `entry` the one route that is added to the app.
`table` reads the app's routes and searches them with `index`; a `candidate` is one of them,
`listing` its description, and `included` holds what is known of FastAPI's private parts.
"""

from gateway.native.app import NativeApp

__all__ = ["NativeApp"]
