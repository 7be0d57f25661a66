"""What the Prompts tab says and offers, without a browser: weights without prompts, browsers without WebGL2, and when a slider is followed."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gradio")

from browser import COMMAND_LINE, LONG_S, Server
from tiny import ct_volume, tiny_checkpoint

from uniseg_app.backend import Backend
from uniseg_app.prompt_jobs import PromptJobs
from uniseg_app.web_demo import prompt_controls as names
from uniseg_app.web_demo.private import private_folder
from uniseg_app.web_demo.prompt_controls import Asked, Controls, Wish
from uniseg_app.web_demo.prompt_showing import PromptShowing
from uniseg_app.web_demo.visits import Visit, Visits
from uniseg_model.prompts.changes import Blend
from uniseg_model.regions import OneWindow

WISH = Wish(names.LEARNED, names.SHARED, ["liver"], None, None, "liver", names.BLEND, "spleen", 0.5, 0, None, "liver|liver", names.WINDOW,
            60, names.DIFFERENCE, names.BEST)  # fmt: skip


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    tiny_checkpoint().save(path)
    return path


@pytest.fixture
def backend(weights: Path) -> Iterator[Backend]:
    backend = Backend(weights, device="cpu")
    yield backend
    backend.close()


@pytest.fixture
def tab() -> tuple[Controls, Asked]:
    """Controls by name: what is shown is told by them, and none is drawn."""
    on, asked = ([object() for _ in dataclasses.fields(kind)] for kind in (Controls, Asked))
    return Controls(*on), Asked(*asked)  # type: ignore[arg-type]


@pytest.fixture
def visit(tmp_path: Path, rng: np.random.Generator) -> Iterator[Visit]:
    private = private_folder(tmp_path)
    visit = Visits(private).of("me")
    visit.show(ct_volume(rng, (20, 40, 48)), "a scan")
    yield visit
    private.close()


@pytest.fixture
def seen(backend: Backend, tab: tuple[Controls, Asked], visit: Visit) -> Callable[..., dict[Any, Any]]:
    """What is shown for a wish."""

    def seen(**changed: Any) -> dict[Any, Any]:
        return PromptShowing(*tab, backend).whole(visit, dataclasses.replace(WISH, **changed))

    return seen


def words(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def test_of_weights_without_prompts_one_sentence_is_said(
    backend: Backend, tab: tuple[Controls, Asked], visit: Visit, seen: Callable[..., dict[Any, Any]]
) -> None:
    model = backend.model()
    rest = {name: tensor for name, tensor in model.checkpoint.weights.items() if name != "universal_prompt"}
    model.checkpoint = dataclasses.replace(model.checkpoint, weights=rest)
    shown = seen()
    assert shown[tab[0].report] == ""
    said = words(shown[tab[0].trouble])
    assert said == "the weights 'untrained' hold no universal prompt A backbone alone has no prompts to look at."


def test_the_page_does_not_start_with_weights_without_prompts(weights: Path, tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(weights, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys() if name != "universal_prompt"}
        save_file(tensors, path := tmp_path / "backbone.safetensors", file.metadata())
    command = [sys.executable, "-c", COMMAND_LINE, "web", "--port", "0", "--weights", str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, env=Server(tmp_path).environment, timeout=LONG_S)
    assert ended.returncode == 1
    assert "The page is at" not in ended.stdout
    assert "the weights lack 'universal_prompt'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_without_webgl_what_is_missing_is_named(
    backend: Backend, tab: tuple[Controls, Asked], visit: Visit, seen: Callable[..., dict[Any, Any]]
) -> None:
    """Stacks of slices stand for the map; of a change there is the table, and nothing is said to lie over a scan that is not shown."""
    on, asked = tab
    visit.is_plain = True
    jobs, volume = PromptJobs(backend), visit.image()
    assert "Put the crosshair" not in seen(view=names.CHANGE)[on.report]
    visit.seen.keep(visit.title, jobs.maps(volume, ["liver", "spleen"]).result(LONG_S))
    visit.seen.keep(visit.title, jobs.what_if(volume, "liver", Blend("spleen", 0.5), OneWindow((10, 20, 20))).result(LONG_S))
    visit.seen.keep(visit.title, jobs.saliency(volume, "liver", "liver", OneWindow((10, 20, 20))).result(LONG_S))
    for view, told in {
        names.IMAGE: "stand below as stacks of slices, without the scan",
        names.CHANGE: "where, only the download shows. There is no crosshair",
        names.SENSITIVITY: "the map is in the download. There is no crosshair",
    }.items():
        shown = seen(view=view)
        said = words(shown[on.report])
        assert "does not offer WebGL2" in said
        assert told in said
        assert "Over the scan" not in said
        assert shown[on.first_file]["label"] == "All numbers (.zip)"
        assert [shown[control]["visible"] for control in (on.viewer, asked.layer, asked.shown)] == ["hidden", False, False]
    assert "<details open><summary>All maps side by side" in seen(view=names.IMAGE)[on.report]
    visit.is_plain = False
    assert "Over the scan: where the two answers differ." in words(seen(view=names.CHANGE)[on.report])
    assert "<details><summary>All maps side by side" in seen(view=names.IMAGE)[on.report]


@pytest.mark.parametrize(
    ("region", "told"), [(names.WINDOW, "looked at again when you let go"), (names.WHOLE_IMAGE, "press the button below")]
)
def test_the_slider_says_whether_it_is_followed(
    tab: tuple[Controls, Asked], seen: Callable[..., dict[Any, Any]], region: str, told: str
) -> None:
    share = seen(view=names.CHANGE, region=region)[tab[1].share]
    assert share["visible"]
    assert told in share["info"]
    assert not seen(view=names.CHANGE, change=names.SWAP)[tab[1].share]["visible"]


def test_the_time_is_said_to_be_that_of_computing(
    backend: Backend, tab: tuple[Controls, Asked], visit: Visit, seen: Callable[..., dict[Any, Any]]
) -> None:
    found = PromptJobs(backend).what_if(visit.image(), "liver", Blend("spleen", 0.5)).result(LONG_S)
    visit.seen.keep(visit.title, found)
    said = words(seen(view=names.CHANGE)[tab[0].report])
    seconds = sum(found.after.record.seconds.values())
    assert f"Looked at: 48 × 40 × 20 voxels of the image; computing it took {seconds:.1f} s." in said


def test_tasks_are_told_beside_this_image(tab: tuple[Controls, Asked], seen: Callable[..., dict[Any, Any]]) -> None:
    told = seen(view=names.IMAGE)[tab[0].about_tasks]
    assert told["visible"]
    assert "of 11 tasks suit this image" in told["value"]
    assert not seen(view=names.LEARNED)[tab[0].about_tasks]["visible"]
