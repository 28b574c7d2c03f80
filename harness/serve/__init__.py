"""The service: one engine behind HTTP, with answers as pictures, as JSON and as a web page."""
