"""What programs may ask of the server, in Gradio's way: ``list_tasks`` and ``segment``. Everything else of the page is private."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import gradio as gr

from uniseg_app.answers import save_answers, structure_rows, zipped
from uniseg_app.backend import Backend
from uniseg_app.web_demo.copies import forget
from uniseg_app.web_demo.uploads import Uploaded, read, receive
from uniseg_app.web_demo.visits import Visit, Visits
from uniseg_model.errors import OptionError, UniSegError
from uniseg_model.predictor import Options
from uniseg_model.progress import Cancelled
from uniseg_model.segmentation import Segmentation
from uniseg_model.volume import Volume

_MIRROR = {"auto": None, "yes": True, "no": False}


class Api:
    """The endpoints. Made inside the page's blocks, whose doors they use; nothing of it is seen."""

    def __init__(self, backend: Backend, visits: Visits) -> None:
        self._backend, self._visits = backend, visits
        with gr.Group(visible=False):
            files, tasks = gr.File(file_count="multiple"), gr.JSON()
            series, mirror, step = gr.Textbox(""), gr.Dropdown(list(_MIRROR), value="auto"), gr.Number(0.5)
            told, archive = gr.JSON(label="told"), gr.File(label="archive")
            door = gr.Button()
        door.click(self.list_tasks, None, told, api_name="list_tasks", concurrency_limit=None)
        door.click(
            self.segment, [files, tasks, series, mirror, step], [told, archive], api_name="segment", concurrency_limit=None
        )

    def list_tasks(self) -> list[dict[str, Any]]:
        """What the weights know, in prompt order: key, title, channels, structures, grid."""
        return [task.to_dict() for task in self._backend.model().checkpoint.tasks.values()]

    def segment(
        self, files: list[str] | None, tasks: list[str], series: str, mirror: str, step: float, request: gr.Request
    ) -> tuple[dict[str, Any], str]:
        """Segment one scan; its volumes with the run record, and a .zip of everything.

        files: a NIfTI file, one for each channel, DICOM slices, or a .zip of either. tasks: keys. series: the DICOM series, where there
        are several. mirror: auto, yes or no. step: distance of windows, as a share of their side. Waits until it is done.

        Raises:
            gr.Error: what is wrong, and the next step.
        """
        visit = self._visits.of(request.session_hash or secrets.token_hex(8))
        try:
            answers = self._answers(visit, files or [], tasks, series or None, _options(mirror, step))
            saved = save_answers(visit.folder / "answers", answers, self._backend.model().checkpoint.tasks)
            return _told(answers), str(zipped(saved, visit.folder / "uniseg-results.zip"))
        except Cancelled as exc:
            raise gr.Error("cancelled") from exc
        except UniSegError as exc:
            raise gr.Error(f"{exc.message}. {exc.hint or ''}".strip(), print_exception=False) from exc

    def _answers(
        self, visit: Visit, files: list[str], tasks: list[str], series: str | None, options: Options
    ) -> list[Segmentation]:
        if visit.is_busy:
            raise OptionError("a run of this client is going on already", hint="Wait for it, or open another client.")
        volume = _volume(visit, files, series)
        visit.show(volume, "")
        job = visit.job = self._backend.segment(volume, tasks, options, owner=visit.key)
        return job.result()


def _volume(visit: Visit, files: list[str], series: str | None) -> Volume:
    received = receive([Uploaded(Path(file)) for file in files], visit.folder)
    for file in files:
        forget(Path(file))
    if len(received.series) > 1 and series is None:
        found = "; ".join(f"{one.uid} ({one.description or one.modality}, {one.n_slices} slices)" for one in received.series)
        raise OptionError(f"there are {len(received.series)} series: {found}", hint="Name one as `series`.")
    return read(received, series=series)


def _options(mirror: str, step: float) -> Options:
    if mirror not in _MIRROR:
        raise OptionError(f"mirror must be {', '.join(_MIRROR)}, not {mirror!r}")
    return Options(mirror=_MIRROR[mirror], step=float(step), confidence=True)


def _told(answers: list[Segmentation]) -> dict[str, Any]:
    rows = [vars(row) for row in structure_rows(answers)]
    return {"structures": rows, "record": answers[0].record.to_dict()}
