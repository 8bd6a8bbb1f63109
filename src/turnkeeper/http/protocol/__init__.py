"""The event protocol of threads over HTTP and WebSocket."""
