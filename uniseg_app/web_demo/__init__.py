"""The web demo: the front end in a browser."""
