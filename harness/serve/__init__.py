"""The service: one engine behind HTTP, with results as pictures, as JSON and as a web page."""
