"""The numbers of answers as they are shown: of what a layer holds now, not of what was predicted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from uniseg_app import wording
from uniseg_app.answers import StructureRow
from uniseg_app.napari_plugin.answers import Answer


def current_rows(answer: Answer, labels: np.ndarray) -> list[StructureRow]:
    """The rows of labels (u, v, w): as predicted, or measured anew where a person has edited them, with nothing said of how sure they are."""
    if not answer.edited_voxels(labels):
        return list(answer.rows)
    segmentation = answer.segmentation(labels)
    volumes, cut = segmentation.volumes_ml(), segmentation.cut_by_field_of_view()
    return [
        replace(row, volume_ml=volumes[row.structure], cut_by_field_of_view=cut[row.structure],
                mean_probability=None, uncertain_share=None, agreement=None)
        for row in answer.rows
    ]  # fmt: skip


def card(row: StructureRow) -> str:
    """All that is known of one structure, in words."""
    volume = f"{row.volume_ml:,.1f} ml" if row.volume_ml else "not found"
    said = [f"{row.structure}: {volume}"]
    if row.cut_by_field_of_view:
        said.append(wording.CUT)
    if row.mean_probability is not None and row.uncertain_share is not None:
        said += [f"mean probability {row.mean_probability:.2f}", f"{row.uncertain_share:.0%} of its voxels uncertain"]
    if row.agreement is not None:
        said.append(f"agreement under mirroring {row.agreement:.2f} (Dice)")
    return "\n".join(said)


def middle(labels: np.ndarray, value: int | None = None) -> tuple[float, float, float] | None:
    """A place (u, v, w) inside a structure, on the slice of u that holds most of it; None where it is empty. value: None for all."""
    mask = labels > 0 if value is None else labels == value
    u = int(mask.sum(axis=(1, 2)).argmax())
    rows, columns = np.nonzero(mask[u])
    if not len(rows):
        return None
    nearest = np.hypot(rows - rows.mean(), columns - columns.mean()).argmin()  # the mean may lie outside
    return float(u), float(rows[nearest]), float(columns[nearest])
