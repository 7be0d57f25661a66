"""The run folder: all that a training leaves, in a form that survives a crash at any moment.

plan.json           what is trained and how
curve.jsonl         one line per report: step, loss, rate; one per validation: Dice per task and structure
last.pt             all that is needed to go on: weights, optimiser, step
step_*.pt           the same, kept, where the plan asks for it
best.safetensors    the weights with the best validation so far, ready for use
final.safetensors   those of the last step
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from uniseg_model.errors import FileFormatError, OptionError, OutputError
from uniseg_model.files import WRITE_HINT, whole_file, write_json
from uniseg_model.training.plan import Plan

State = dict[str, Any]
Listener = Callable[[dict[str, Any]], None]


class RunFolder:
    """Where one training lives. Every file in it is whole, and only the curve is ever appended to.

    listeners: are told each new line of the curve, too.
    """

    def __init__(self, folder: Path, listeners: Sequence[Listener] = ()) -> None:
        self.folder, self._listeners = folder, listeners
        self.best, self.final = folder / "best.safetensors", folder / "final.safetensors"
        self._last, self._curve, self._plan = folder / "last.pt", folder / "curve.jsonl", folder / "plan.json"

    def begin(self, plan: Plan, *, resume: bool) -> State | None:
        """Make the folder ready; what was saved last when a run goes on, None when it starts.

        Raises:
            OptionError: there is a run already and ``resume`` is not asked for, or its plan is another.
            OutputError: the folder cannot be written. FileFormatError: the checkpoint is damaged.
        """
        if self._plan.exists() and not resume:
            raise OptionError(f"{self.folder} holds a run already", hint="Go on with --resume, or choose another folder.")
        if self._plan.exists():
            self._check_plan(plan)
        else:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as exc:
                raise OutputError(f"{self.folder} cannot be made: {exc}", hint=WRITE_HINT) from exc
            write_json(self._plan, plan.to_dict())
        for leftover in self.folder.glob(".*.*"):  # of a process that was killed while it wrote
            leftover.unlink()
        state = self._load()
        self._forget_after(state["step"] if state else 0)
        return state

    def plan(self) -> Plan:
        """What the run was started with.

        Raises:
            FileFormatError: its description is damaged.
        """
        try:
            return Plan.from_dict(json.loads(self._plan.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError) as exc:
            raise FileFormatError(f"{self._plan} is damaged: {exc}", hint="Choose another folder.") from exc

    def _check_plan(self, plan: Plan) -> None:
        stored, wanted = self.plan().to_dict(), plan.to_dict()
        if changed := [name for name in wanted if stored[name] != wanted[name]]:
            name = changed[0]
            raise OptionError(f"the run in {self.folder} was planned with another {name}: {stored[name]}, not {wanted[name]}",
                              hint="Resume with the plan it was started with, or choose another folder.")  # fmt: skip

    def _load(self) -> State | None:
        if not self._last.exists():
            return None
        try:
            state: State = torch.load(self._last, map_location="cpu", weights_only=True)
            state["step"], state["weights"], state["optimiser"]
        except Exception as exc:  # torch raises whatever it stumbles over
            raise FileFormatError(f"{self._last} is damaged: {exc}", hint="Copy a step_*.pt over it, or start again.") from exc
        return state

    def save(self, state: State, *, keep: bool = False) -> None:
        """Store the state as the last one; ``keep`` stores it under its step's name, too.

        Raises:
            OutputError: no space, or no permission; the state before is still there.
        """
        for path in [self._last, *([self.folder / f"step_{state['step']:07d}.pt"] if keep else [])]:
            with whole_file(path) as temporary:
                try:
                    torch.save(state, temporary)
                except RuntimeError as exc:  # torch tells a full disk so
                    raise OutputError(f"{path} cannot be written: {exc}", hint=WRITE_HINT) from exc

    def report(self, facts: dict[str, Any]) -> None:
        """Append one line to the curve.

        Raises:
            OutputError: it cannot be written.
        """
        try:
            with self._curve.open("a", encoding="utf-8") as file:
                file.write(json.dumps(facts) + "\n")
        except OSError as exc:
            raise OutputError(f"{self._curve} cannot be written: {exc}", hint=WRITE_HINT) from exc
        for listener in self._listeners:
            listener(facts)

    def curve(self) -> list[dict[str, Any]]:
        """The lines of the curve so far; a last one that a crash has cut is left out."""
        return read_curve(self._curve)

    def _forget_after(self, step: int) -> None:
        """Take back lines of steps that will be done again."""
        if self._curve.exists():
            kept = [line for line in self.curve() if line["step"] <= step]
            with whole_file(self._curve) as temporary:
                temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")


def read_curve(path: Path) -> list[dict[str, Any]]:
    """The lines of a curve file; those that are not whole are left out."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return lines
