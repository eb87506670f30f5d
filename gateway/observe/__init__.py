"""What happened to each request, told to whoever listens; listening never harms the request."""

from gateway.observe.events import Exchange, Observer, notify

__all__ = ["Exchange", "Observer", "notify"]
