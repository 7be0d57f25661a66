"""What can be taken away from a view of the Prompts tab: written into the visit's folder when it is first shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from uniseg_app.answers import zipped
from uniseg_app.prompt_answers import change_rows, changes_csv, save_inspection, save_saliency, save_what_if
from uniseg_app.web_demo.prompt_controls import CHANGE, IMAGE, LEARNED, SENSITIVITY, SHEET
from uniseg_app.web_demo.seen import Seen
from uniseg_app.web_demo.visits import Visit
from uniseg_model.checkpoint import Checkpoint
from uniseg_model.predictor import describe_weights
from uniseg_model.prompts.inspection import PAGE, Inspection
from uniseg_model.prompts.learned import learned_prompts
from uniseg_model.prompts.sheet import Sheet
from uniseg_model.prompts.whatif import WhatIf


def downloads(visit: Visit, view: str, checkpoint: Checkpoint) -> list[tuple[str, Path]]:
    """Buttons' labels with their files; none where nothing was looked at yet."""
    seen, folder = visit.seen, visit.folder / "prompts"
    has = {LEARNED: True, IMAGE: seen.maps, CHANGE: seen.what_if, SENSITIVITY: seen.saliency, SHEET: seen.sheet}
    if not has[view]:
        return []
    name = folder / f"uniseg-{view.lower().replace(' ', '-')}"
    if view not in seen.ready:
        folder.mkdir(exist_ok=True)
        _write(seen, view, name, checkpoint)
        seen.ready.add(view)
    if view == SHEET:
        return [("Picture (.png)", name.with_suffix(".png")), ("Picture (.pdf)", name.with_suffix(".pdf"))]
    page, table = ("Report (.html)", name / PAGE), ("Table (.csv)", name.with_suffix(".csv"))
    more = {LEARNED: [page], IMAGE: [page], CHANGE: [table]}
    return [("All numbers (.zip)", name.with_suffix(".zip")), *more.get(view, [])]


def _write(seen: Seen, view: str, name: Path, checkpoint: Checkpoint) -> None:
    """name: of the files without their endings, and of the folder with the parts."""
    files: Sequence[Path] = ()
    if view == SHEET and seen.sheet:
        _save_sheet(seen.sheet, name)
        return
    if view == CHANGE and seen.what_if:
        files = _save_change(seen.what_if, name)
    elif view == SENSITIVITY and seen.saliency:
        files = save_saliency(name, seen.saliency)
    elif view in (LEARNED, IMAGE):
        maps = seen.maps if view == IMAGE else ()
        files = save_inspection(name, Inspection(describe_weights(checkpoint), learned_prompts(checkpoint), maps))
    zipped(files, name.with_suffix(".zip"))


def _save_sheet(found: Sheet, name: Path) -> None:
    for suffix in (".png", ".pdf"):
        found.save(name.with_suffix(suffix))


def _save_change(found: WhatIf, name: Path) -> Sequence[Path]:
    name.with_suffix(".csv").write_text(changes_csv(change_rows(found)), encoding="utf-8")
    return save_what_if(name, found)
