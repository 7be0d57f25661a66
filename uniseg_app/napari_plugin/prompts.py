"""The Prompts panel: what the model is told, over the scan, and what changes under another prompt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QComboBox, QFileDialog, QFormLayout, QLabel, QVBoxLayout, QWidget

from uniseg_app import prompt_words as words
from uniseg_app.backend import Choice
from uniseg_app.jobs import Job, State
from uniseg_app.napari_plugin import prompt_shown
from uniseg_app.napari_plugin.desk import Watch
from uniseg_app.napari_plugin.image_box import scans, with_siblings
from uniseg_app.napari_plugin.layers import Given, look_at, placed
from uniseg_app.napari_plugin.overlays import Masks, Numbers, Overlays
from uniseg_app.napari_plugin.panel import Opened, Panel, middle_of_view, told
from uniseg_app.napari_plugin.parts import button, named_for_all, say, text
from uniseg_app.napari_plugin.prompt_asked import HERE, AskedBox
from uniseg_app.napari_plugin.prompt_saving import save_seen
from uniseg_app.napari_plugin.run_box import RunBox
from uniseg_app.prompt_jobs import Elsewhere, PromptJobs
from uniseg_model.errors import UniSegError
from uniseg_model.progress import Cancelled
from uniseg_model.prompts.learned import learned_prompts

_LEARNED_KIND = "learned prompts"


@dataclass(frozen=True, eq=False)
class Looked:
    """What a view's last job gave, on which image. layer: the scan's, when it was asked for."""

    found: Any
    opened: Opened | None
    layer: Any


class PromptsPanel(Panel):
    """The dock widget."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self._seen: dict[str, Looked] = {}
        self._choices: Sequence[Choice] = ()
        self._overlays = Overlays(napari_viewer)
        self.asked, self.run = AskedBox(), RunBox("Look", "Look at the prompts")
        self.layer, self.shown, self.minus = (QComboBox() for _ in range(3))
        self._over, self._form = QWidget(), QFormLayout()
        self._said, self.report, self.legend = QVBoxLayout(), QWidget(), QWidget()
        self._trouble = text(role="trouble")
        self.save, self._saved = button("Save the numbers…", self._ask_folder, "NIfTI, CSV, JSON; pictures"), text(role="faint")
        self._connect()
        self._begin_with(self.image, self.asked, self.run, self._results())
        self.destroyed.connect(self._overlays.remove)
        self._lay_out_view()

    def _results(self) -> QWidget:
        holder = QWidget()
        self._form.setContentsMargins(0, 0, 0, 0)
        for name, combo in (
            ("Over the scan", self.layer),
            ("Shown: prompt of", self.shown),
            ("minus that of", self.minus),
        ):
            combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            self._form.addRow(QLabel(name), named_for_all(combo, name))
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._over.setLayout(self._form)
        self.layer.addItems(list(words.LAYERS))
        self.layer.setCurrentText(words.DIFFERENT)
        self._said.setContentsMargins(0, 0, 0, 0)
        holder.setLayout(self._said)
        for widget in (self._trouble, self._over, self.legend, self.report, self.save, self._saved):
            self._said.addWidget(widget)
        return holder

    def _connect(self) -> None:
        self.asked.viewed.connect(self._lay_out_view)
        self.asked.changed.connect(self._blended)
        self.run.started.connect(self._begin)
        self.run.cancelled.connect(self._cancel)
        for combo in (self.layer, self.minus):
            combo.activated.connect(lambda _: self._show_over())
        self.shown.activated.connect(lambda _: self._show_another())
        for event in (self._viewer.layers.events.inserted, self._viewer.layers.events.removed):
            event.connect(lambda _: self._offer_images())

    # What a panel is told ---------------------------------------------------------------------------------------------

    def _ready(self) -> None:
        """Look at what the weights learned: there is no need to ask for it."""
        backend = self._desk.backend
        job = self._desk.ask(_LEARNED_KIND, lambda progress: learned_prompts(backend.model().checkpoint))
        self._ask(words.LEARNED, job, lambda ended: self._keep(words.LEARNED, ended, None, None))

    def _changed(self) -> None:
        say(self._trouble, "")
        self._seen = {view: looked for view, looked in self._seen.items() if view == words.LEARNED}
        self._lay_out_view()

    def _show(self, choices: Sequence[Choice]) -> None:
        self._choices = choices
        self.asked.offer(choices)
        self._offer_images()
        self._offer_start()

    def _offer_images(self) -> None:
        chosen = self.image.layers
        self.asked.offer_images({layer.name: layer for layer in scans(self._viewer) if layer not in chosen})

    def _offer_start(self) -> None:
        self.run.start.setEnabled(self._opened is not None and bool(self._choices) and self._run is None)

    # Looking ----------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        opened, layer, view = self._opened, next(iter(self.image.layers), None), self.asked.view.currentText()
        if opened is None or layer is None or self._run is not None:
            return
        try:
            self._run = self._job(view, opened, layer)
        except UniSegError as exc:
            say(self._trouble, told(exc))
            return
        say(self._trouble, "")
        self.run.run()
        self._offer_start()
        watch = Watch(self._run, self)
        watch.progressed.connect(self.run.show_progress)
        watch.ended.connect(lambda job: self._ended(view, job, opened, layer))

    def _job(self, view: str, opened: Opened, layer: Any) -> Job[Any]:
        jobs, volume, asked = PromptJobs(self._desk.backend), opened.placed.volume, self.asked
        voxel = opened.placed.voxel_of(middle_of_view(self._viewer, layer))
        if view == words.IMAGE:
            return jobs.maps(volume, asked.keys, owner="window")
        if view == words.CHANGE:
            change = asked.told(self._elsewhere())
            return jobs.what_if(volume, asked.task.currentData(), change, asked.where(volume, voxel), owner="window")
        if view == words.SENSITIVITY_OF:
            task, structure = asked.structure.currentData()
            return jobs.saliency(volume, task, structure, asked.where(volume, voxel), owner="window")
        return jobs.sheet(volume, asked.keys, voxel if asked.slice.currentText() == HERE else None, owner="window")

    def _elsewhere(self) -> Elsewhere | None:
        layer = self.asked.foreign.currentData()
        if layer is None or layer not in self._viewer.layers:
            return None
        seen = [look_at(one) for one in with_siblings(self._viewer, layer)]
        return Elsewhere(placed(seen, Given()).volume, layer.name)

    def _blended(self) -> None:
        """The slider was moved: look again, where that is quick."""
        if words.CHANGE in self._seen and self.asked.region.currentIndex() == 0:
            self._begin()

    def _ended(self, view: str, job: Job[Any], opened: Opened, layer: Any) -> None:
        self._run = None
        self._offer_start()
        cancelled = isinstance(job.error, Cancelled)
        self.run.rest("Cancelled. What was seen before is kept." if cancelled else "Done." if job.state is State.DONE else "")
        if self._opened is opened and not cancelled:
            self._keep(view, job, opened, layer)

    def _keep(self, view: str, job: Job[Any], opened: Opened | None, layer: Any) -> None:
        if job.state is not State.DONE:
            say(self._trouble, told(job.error))
            return
        self._seen[view] = Looked(job.result(), opened, layer)
        if view == words.IMAGE:
            self._offer_maps()
        if view == self.asked.view.currentText():
            self._lay_out_view()

    # Showing ----------------------------------------------------------------------------------------------------------

    def _lay_out_view(self) -> None:
        """Everything that depends on the view."""
        view = self.asked.view.currentText()
        looked = self._seen.get(view)
        self.run.setVisible(view in words.VERBS)
        self.run.start.setText(words.VERBS.get(view, ""))
        self._form.setRowVisible(self.layer, view == words.CHANGE)
        for combo in (self.shown, self.minus):
            self._form.setRowVisible(combo, view == words.IMAGE)
        self._over.setVisible(looked is not None and view in (words.CHANGE, words.IMAGE))
        self.save.setVisible(looked is not None)
        say(self._saved, "")
        report = self._report(view, looked) if looked else text(_HINTS.get(view, ""), role="faint")
        self.report = self._in_place_of(self.report, report)
        self._show_over()
        self._offer_start()

    def _in_place_of(self, old: QWidget, new: QWidget) -> QWidget:
        self._said.replaceWidget(old, new)
        old.hide()
        old.deleteLater()
        return new

    def _report(self, view: str, looked: Looked) -> QWidget:
        found, checkpoint = looked.found, self._desk.backend.model().checkpoint
        if view == words.IMAGE:
            learned = [learned_prompts(checkpoint, [task.key for task in maps.tasks]) for maps in found]
            return prompt_shown.image(found, learned)
        if view == words.CHANGE:
            change = found.change.to_dict()
            keys = {found.before.task.key, change.get("task")} - {None}
            is_other_kind = bool(keys - {choice.task.key for choice in self._choices if choice.suits})
            said = words.change_in_words(change, lambda key: str(checkpoint.tasks[key].title))
            return prompt_shown.what_if(found, said, words.cautions(found, is_other_kind=is_other_kind))
        make: Mapping[str, Callable[[Any], QWidget]] = {
            words.LEARNED: prompt_shown.learned, words.SENSITIVITY_OF: prompt_shown.sensitivity, words.CONTACT_SHEET: prompt_shown.sheet,
        }  # fmt: skip
        return make[view](found)

    def _offer_maps(self) -> None:
        titles = {task.title: task.key for maps in self._seen[words.IMAGE].found for task in maps.tasks}
        self.shown.clear()
        for title, key in titles.items():
            self.shown.addItem(title, key)
        self._offer_minus()

    def _offer_minus(self) -> None:
        """Maps on one grid can be compared."""
        self.minus.clear()
        self.minus.addItem("nothing", "")
        key = self.shown.currentData()
        for maps in self._seen[words.IMAGE].found:
            if key in [task.key for task in maps.tasks]:
                for task in maps.tasks:
                    if task.key != key:
                        self.minus.addItem(task.title, task.key)

    def _show_another(self) -> None:
        self._offer_minus()
        self._show_over()

    def _show_over(self) -> None:
        looked = self._seen.get(self.asked.view.currentText())
        is_here = looked is not None and looked.layer is not None and looked.layer in self._viewer.layers
        shown = self._overlay(looked) if looked is not None and is_here else None
        self._overlays.show(shown)
        self.legend = self._in_place_of(self.legend, prompt_shown.legend(shown))

    def _overlay(self, looked: Looked) -> Numbers | Masks | None:
        view, one, layer = self.asked.view.currentText(), looked.opened, looked.layer
        if one is None:
            return None
        if view == words.IMAGE:
            return prompt_shown.map_over(looked.found, self.shown.currentData(), self.minus.currentData(), one.placed, layer)
        if view == words.CHANGE:
            return prompt_shown.change_over(looked.found, self.layer.currentText(), one.placed, layer)
        return prompt_shown.sensitivity_over(looked.found, one.placed, layer) if view == words.SENSITIVITY_OF else None

    # Files ------------------------------------------------------------------------------------------------------------

    def _ask_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "A folder for the numbers")
        if chosen:
            self.save_to(Path(chosen))

    def save_to(self, folder: Path) -> None:
        """Write what the view shows into a new folder in this one."""
        view, backend = self.asked.view.currentText(), self._desk.backend
        found, learned = self._seen[view].found, self._seen[words.LEARNED].found
        saving = self._desk.ask("save what was seen", lambda progress: save_seen(folder, view, found, learned, backend.facts()))
        self._ask("save", saving, self._told_saved)

    def _told_saved(self, job: Job[Path]) -> None:
        say(self._saved, f"Saved as {job.result()}" if job.state is State.DONE else told(job.error))


_HINTS = {
    words.LEARNED: "Loading the weights.",
    words.IMAGE: "Tick whose prompts, and press “Read the prompts”. Every window is encoded once, whatever you tick.",
    words.CHANGE: "Move what you want to look at to the middle of the view, choose what the decoder is told, and press “Show what changes”.",
    words.SENSITIVITY_OF: "Move a structure to the middle of the view, choose it, and press “Work it out”.",
    words.CONTACT_SHEET: "Tick the tasks, and press “Draw the sheet”: the image is segmented under each of them.",
}  # fmt: skip
