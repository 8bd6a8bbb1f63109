"""The process: storage, worker and HTTP application, put together and served."""

from turnkeeper.server.serving import serve

__all__ = ["serve"]
