"""UniSeg App: the command line and, over one shared backend, the front ends."""
