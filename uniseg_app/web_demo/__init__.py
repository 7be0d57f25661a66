"""The web demo: what a browser shows, and the server behind it."""
