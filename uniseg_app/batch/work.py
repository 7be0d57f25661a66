"""One case: look whether it is there, compute it, once more after a crash, and put the answer or the reason in its place."""

from __future__ import annotations

import shutil
from typing import Any

from uniseg_app.batch.folder import DONE, FAILED, BatchFolder, CaseReport
from uniseg_app.batch.process import CaseCrashError, ModelProcess, SetupError
from uniseg_app.batch.request import Work
from uniseg_model.errors import UniSegError

_ATTEMPTS = 2


def work_on(work: Work, folder: BatchFolder, process: ModelProcess, *, timeout_s: float | None, overwrite: bool) -> CaseReport:
    """How the case went. A case that is there already is not computed, so asking twice does no harm.

    Raises:
        SetupError: the model cannot be loaded here. Cancelled: the process was closed.
    """
    if (there := folder.find(work)) is not None:
        return there
    for attempt in range(1, _ATTEMPTS + 1):
        part = folder.part(work)
        try:
            folder.check(work, overwrite=overwrite)
            facts = process.compute(_asked(work, str(part)), timeout_s)
            report = CaseReport(work.case, DONE, facts["seconds"], attempt, facts["volumes_ml"])
            return folder.commit(work, part, report, overwrite=overwrite)
        except SetupError:
            raise
        except CaseCrashError as exc:
            if attempt == _ATTEMPTS:
                return _failed(work, folder, attempt, f"crashed {attempt} times: {exc.message}", exc.hint)
        except UniSegError as exc:
            return _failed(work, folder, attempt, exc.message, exc.hint)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    raise AssertionError("the last attempt returns")


def failed_setup(work: Work, folder: BatchFolder, exc: SetupError) -> CaseReport:
    """The report of a case whose process could not load the model."""
    return _failed(work, folder, 0, exc.message, exc.hint)


def _failed(work: Work, folder: BatchFolder, attempts: int, error: str, hint: str) -> CaseReport:
    return folder.fail(CaseReport(work.case, FAILED, None, attempts, {}, error, hint))


def _asked(work: Work, out: str) -> dict[str, Any]:
    return {"case": work.case, "images": work.images, "tasks": work.tasks, "series": work.series, "out": out}
