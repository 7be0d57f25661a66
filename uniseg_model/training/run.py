"""The run folder: all that a training leaves, in a form that survives a crash at any moment.

plan.json           what is trained and how
cases.json          on which cases, by task: name to a hash of what was made of it
curve.jsonl         one line per report: step, loss, rate; one per validation: Dice per task and structure
last.pt             all that is needed to go on: weights, optimiser, step
step_*.pt           the same, kept, where the plan asks for it
best.safetensors    the weights with the best validation so far, ready for use
final.safetensors   those of the last step; of a task pack both are packs
preview.npz         one validation slice with its answer so far; see ``preview``
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from uniseg_model.errors import FileFormatError, OptionError, OutputError
from uniseg_model.files import TEMPORARY, WRITE_HINT, try_lock, unlock, whole_file, write_json
from uniseg_model.training.plan import Plan

State = dict[str, Any]
Listener = Callable[[dict[str, Any]], None]
_PARTS = ("step", "best", "weights", "optimiser", "scaler", "tally")  # of a state
_OWN = {
    "cache", "tensorboard", ".lock", "request.json", "status.json", "price.json", "wish", "note.txt", "log.txt", ".alive",
}  # fmt: skip  # what may lie in the folder of a run that has not begun


class RunFolder:
    """Where one training lives. Every file in it is whole, and only the curve is ever appended to.

    listeners: are told each new line of the curve, too.
    """

    def __init__(self, folder: Path, listeners: Sequence[Listener] = ()) -> None:
        self.folder, self._listeners = folder, list(listeners)
        self.best, self.final = folder / "best.safetensors", folder / "final.safetensors"
        self._last, self._curve, self.preview = folder / "last.pt", folder / "curve.jsonl", folder / "preview.npz"
        self._plan, self._cases = folder / "plan.json", folder / "cases.json"

    def tell(self, listener: Listener) -> None:
        """One listener more."""
        self._listeners.append(listener)

    @contextmanager
    def claimed(self, plan: Plan, *, resume: bool) -> Iterator[None]:
        """The folder is this process's in the block, which is found out before any work.

        Raises:
            OptionError: there is a run already and ``resume`` is not asked for, or its plan is another; the folder holds
                something else; or another process trains in it.
            OutputError: the folder cannot be written. FileFormatError: its plan is damaged.
        """
        if self._plan.exists() and not resume:
            raise OptionError(f"{self.folder} holds a run already", hint="Go on with --resume, or choose another folder.")
        if self._plan.exists():
            self._check_plan(plan)
        elif self.folder.exists() and (
            others := sorted(p.name for p in self.folder.iterdir() if p.name not in _OWN and TEMPORARY not in p.name)
        ):
            raise OptionError(f"{self.folder} holds {others[0]!r}, which is of no run", hint="Choose an empty or new folder.")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / ".lock").open("w")
        except OSError as exc:
            raise OutputError(f"{self.folder} cannot be written: {exc}", hint=WRITE_HINT) from exc
        with lock:
            if not try_lock(lock):
                raise OptionError(f"another process trains in {self.folder}", hint="Wait for it, or choose another folder.")
            try:
                yield
            finally:
                unlock(lock)

    def begin(self, plan: Plan, cases: Mapping[str, Any]) -> State | None:
        """What was saved last, when the run goes on; None when it starts. ``cases`` are told apart by their hashes.

        Raises:
            OptionError: the run was started with other cases. FileFormatError: its list of cases or its checkpoint is damaged.
        """
        if not self._plan.exists():
            write_json(self._cases, cases)
            write_json(self._plan, plan.to_dict())  # last: who finds a plan finds a run
            return None
        if (changed := _difference(self._stored_cases(), cases)) is not None:
            raise OptionError(f"the run in {self.folder} was started with other cases: {changed}",
                              hint="Bring them back, or choose another folder.")  # fmt: skip
        for leftover in self.folder.glob(f".*{TEMPORARY}*"):  # of a process that was killed while it wrote
            leftover.unlink(missing_ok=True)
        state = self.state()
        self._forget_after(state["step"] if state else -1)
        return state

    def _stored_cases(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._cases.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as exc:
            raise FileFormatError(f"{self._cases} is damaged: {exc}", hint="Start a new run from its best weights.") from exc

    def plan(self) -> Plan:
        """What the run was started with.

        Raises:
            FileFormatError: its description is damaged.
        """
        try:
            return Plan.from_dict(json.loads(self._plan.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise FileFormatError(f"{self._plan} is damaged: {exc}", hint="Choose another folder.") from exc

    def _check_plan(self, plan: Plan) -> None:
        stored, wanted = self.plan().to_dict(), plan.to_dict()
        if changed := [name for name in wanted if stored[name] != wanted[name]]:
            name = changed[0]
            raise OptionError(f"the run in {self.folder} was planned with another {name}: {stored[name]}, not {wanted[name]}",
                              hint="Resume with its own plan, or start a new run --from its weights.")  # fmt: skip

    def state(self) -> State | None:
        """What was saved last; None when nothing was.

        Raises:
            FileFormatError: it is damaged.
        """
        if not self._last.exists():
            return None
        try:
            state: State = torch.load(self._last, map_location="cpu", weights_only=True)
            return {name: state[name] for name in _PARTS}
        except Exception as exc:  # torch raises whatever it stumbles over
            raise FileFormatError(f"{self._last} is damaged: {exc}", hint="Copy a step_*.pt over it, or start again.") from exc

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
        """Append one line to the curve; what is not a number becomes null.

        Raises:
            OutputError: it cannot be written.
        """
        line = _finite(facts)
        try:
            with self._curve.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as exc:
            raise OutputError(f"{self._curve} cannot be written: {exc}", hint=WRITE_HINT) from exc
        for listener in self._listeners:
            listener(line)

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


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _difference(stored: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """The first case that is not as it was, in words."""
    for task in sorted({*stored, *now}):
        for side in ("train", "validation"):
            was, is_now = stored.get(task, {}).get(side, {}), now.get(task, {}).get(side, {})
            for name in sorted({*was, *is_now}):
                if was.get(name) != is_now.get(name):
                    change = "is new" if name not in was else "is gone" if name not in is_now else "was changed"
                    return f"{name!r} of {task} {change} in {side}"
    return None
