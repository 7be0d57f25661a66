"""What every front end says about prompts: how each picture is read, and what it does not tell."""

from __future__ import annotations

LEVELS = (
    "Every window is normalised by itself: look at where a map is high, and do not compare its level from window to window."
)
DIFFERENCE = "Orange: the first task's prompt is higher there; blue: the second's is. Both come from the same windows."
OTHER_KIND = (
    "A task for another kind of image is not silent: its prompt may outline something here, and that means nothing. "
    "What does not suit this image is marked."
)
WHAT_IF = (
    "Both answers come from one encoding of each window, so nothing but the prompt differs. Dice is between before and after: 1 is the same "
    "answer, 0 nothing in common."
)
ONE_WINDOW = "One window by itself: its neighbours had no say, so near its edge the usual prediction may differ."
SENSITIVITY = (
    "Orange: a little more of the prompt there makes the structure more probable in its window; blue: less probable. "
    "It tells of small changes only, nothing of large ones such as a swap, and it is no explanation of why something was found."
)
SHEET = "The same image under each prompt. An empty picture is an answer, too: the prompt finds nothing there."
