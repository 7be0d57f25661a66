"""Task packs: files of a few MB that add a task to weights without changing them.

facts         what a pack says of itself, read without torch
file          the pack: its weights, checked against the base; written and read
certificate   the proof that nothing of the old tasks has changed
"""
