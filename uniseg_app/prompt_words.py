"""What every front end says about prompts: how each picture is read, and what it does not tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uniseg_app.backend import Choice
    from uniseg_model.prompts.whatif import WhatIf

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

LEARNED, IMAGE, CHANGE, SENSITIVITY_OF, CONTACT_SHEET = (
    "What the weights learned", "This image", "What changes if", "Sensitivity", "Contact sheet",
)  # fmt: skip
VIEWS = (LEARNED, IMAGE, CHANGE, SENSITIVITY_OF, CONTACT_SHEET)
VERBS = {
    IMAGE: "Read the prompts", CHANGE: "Show what changes", SENSITIVITY_OF: "Work it out", CONTACT_SHEET: "Draw the sheet",
}  # fmt: skip

SWAP, BLEND, ZERO, SHUFFLE, FOREIGN, OWN = (
    "Another task's prompt", "A blend with another task's", "No prompt (zeros)", "Its own, shuffled", "Another image's prompt",
    "Its own (nothing changes)",
)  # fmt: skip
CHANGES = (SWAP, BLEND, ZERO, SHUFFLE, FOREIGN, OWN)

BEFORE, AFTER, DIFFERENT, PROBABILITY = "Before", "After", "Difference", "Probability change"
LAYERS = (BEFORE, AFTER, DIFFERENT, PROBABILITY)
DIFFERENCES = {  # values of a difference map: name and colour
    1: ("only before", "#56B4E9"),
    2: ("only after", "#E69F00"),
    3: ("another structure", "#CC79A7"),
}


def change_in_words(change: Mapping[str, Any], title_of: Callable[[str], str]) -> str:
    """What the decoder was told, from the plain values of a change. title_of: a task's, by its key."""
    other = title_of(change["task"]) if "task" in change else ""
    return {
        "own": "its own prompt",
        "swap": f"the prompt of {other}",
        "zero": "no prompt",
        "blend": f"{change.get('share', 0):.0%} of the prompt of {other}",
        "shuffle": f"its own prompt, shuffled (seed {change.get('seed')})",
        "foreign": f"the prompt of {change.get('said')}",
    }[change["prompt"]]


def other_title(choice: Choice) -> str:
    """A task that may lend its prompt; marked where it does not suit the image."""
    return choice.task.title if choice.suits else f"{choice.task.title} (for another kind of image)"


def cautions(found: WhatIf, *, is_other_kind: bool) -> list[str]:
    """What should be known of an answer. is_other_kind: a task has a say in it that does not suit the image."""
    is_one = found.after.record.options["region"] == "one window"
    return [*[OTHER_KIND] * is_other_kind, *[ONE_WINDOW] * is_one, *found.after.record.notes]
