"""The service: one engine behind HTTP, for pictures, JSON and a web page."""
