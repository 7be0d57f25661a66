"""The viewer in the page: an image and a label map in three planes and 3D, drawn by NiiVue in the browser.

The files under ``static/`` are the component: ``viewer.html`` what it is made of, ``viewer.css``, and ``viewer.js`` what it does.
Switching views, hiding structures and moving about never ask the server. A new value with the same image file leaves the image, the
view and the crosshair alone and only exchanges the labels, so that previews can come every few seconds.
"""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.component_meta import ComponentMeta, updateable
from gradio.data_classes import FileData, GradioModel

from uniseg_app.grey import Window
from uniseg_app.web_demo.display import Structure, color_table
from uniseg_app.web_demo.heat import Heat

_STATIC = Path(__file__).with_name("static")
_TEMPLATE, _CSS, _JS = ((_STATIC / name).read_text(encoding="utf-8") for name in ("viewer.html", "viewer.css", "viewer.js"))

# For `js=` of other components' events, of the page's first viewer. A place is [right, anterior, superior] in mm, as in `Structure.center_mm`.
GO_TO = "(mm) => { window.unisegViewer?.goTo(mm); }"  # one input: moves the crosshair there; null is ignored
POSITION = "() => [window.unisegViewer?.position() ?? null]"  # one output: where the crosshair is; null without an image


class ViewerStructure(GradioModel):
    """A structure as the browser gets it; see :class:`~uniseg_app.web_demo.display.Structure`."""

    value: int
    name: str
    color: str
    center_mm: tuple[float, float, float] | None = None


class ViewerWindow(GradioModel):
    """Grey values that are shown as black and white."""

    name: str
    low: float
    high: float


class ViewerHeat(GradioModel):
    """Numbers that are shown as colours in place of structures; see :class:`~uniseg_app.web_demo.heat.Heat`.

    ramp: the colours from low to high. to_cells: rows of the matrix from mm (right, anterior, superior) to a cell (z, y, x) of ``cells``, of
    which ``shape`` tells how many there are; without cells, what is told is as exact as the colours, 1 in 253. clear_below: what is
    nearer to 0 has no colour.
    """

    name: str
    low: float
    high: float
    ramp: list[str]
    shape: tuple[int, int, int] | None = None
    to_cells: list[list[float]] | None = None
    cells: list[float | None] | None = None
    clear_below: float = 0.0


class ViewerScene(GradioModel):
    """What is shown. Made by :func:`scene`.

    windows: to choose from; the first is the one to begin with. colors: a table as of :func:`~uniseg_app.web_demo.display.color_table`. unit: of the grey values; may be empty.
    """

    image: FileData
    labels: FileData | None = None
    windows: list[ViewerWindow]
    unit: str = ""
    structures: list[ViewerStructure]
    colors: dict[str, list[Any]]
    heat: ViewerHeat | None = None


def scene(
    image: Path,
    windows: Mapping[str, Window],
    unit: str = "",
    labels: Path | None = None,
    structures: Sequence[Structure] = (),
) -> ViewerScene:
    """A value of the viewer.

    image: a file of :func:`~uniseg_app.web_demo.display.write_display_image`; while it is the same file, only labels are loaded anew.
    labels: a file of :func:`~uniseg_app.web_demo.display.write_display_labels` on the grid of that image.
    """
    return ViewerScene(
        image=FileData(path=str(image), orig_name=image.name),
        labels=FileData(path=str(labels), orig_name=labels.name) if labels else None,
        windows=[ViewerWindow(name=name, low=low, high=high) for name, (low, high) in windows.items()],
        unit=unit,
        structures=[ViewerStructure(**asdict(structure)) for structure in structures],
        colors=color_table(structures),
    )


def heat_scene(image: Path, windows: Mapping[str, Window], unit: str, levels: Path, heat: Heat) -> ViewerScene:
    """A value of the viewer with a map of numbers over the image. levels: a file of ``heat.levels`` on the grid of that image."""
    shown = scene(image, windows, unit, levels)
    shown.heat = ViewerHeat(name=heat.name, low=heat.low, high=heat.high, ramp=list(heat.scale), **(heat.exact or {}))
    shown.colors = heat.colors()
    return shown


class WithoutStub(ComponentMeta):
    """Gradio's metaclass less one thing: it writes a ``.pyi`` file beside the module of every component."""

    def __new__(cls, name: str, bases: tuple[type, ...], attributes: dict[str, Any]) -> Any:
        attributes["__init__"] = updateable(attributes["__init__"])
        return ABCMeta.__new__(cls, name, bases, attributes)


class NiivueViewer(gr.HTML, metaclass=WithoutStub):
    """The viewer. Its value is a :class:`ViewerScene` or None.

    Of several on a page, one that is shown another's image begins where that one's crosshair is.
    script_url: where the page finds NiiVue, such as :func:`~uniseg_app.web_demo.vendor.serve_niivue` returns.
    Events: ``loaded`` when a new value is drawn, ``nowebgl`` when the browser cannot show it (and says so).
    An event that returns a scene wants ``show_progress="hidden"``, or the viewer grows pale while it runs.
    """

    data_model = ViewerScene

    def __init__(self, value: ViewerScene | None = None, *, script_url: str = "", **settings: Any) -> None:
        settings.setdefault("html_template", _TEMPLATE)
        settings.setdefault("css_template", _CSS)
        settings.setdefault("js_on_load", _JS)
        settings.setdefault("apply_default_css", False)
        settings.setdefault("head", f'<script src="{script_url}"></script>' if script_url else None)
        super().__init__(value=value, **settings)

    def preprocess(self, payload: ViewerScene | None) -> ViewerScene | None:
        """The scene as it came back from the page."""
        return payload

    def postprocess(self, value: ViewerScene | None) -> ViewerScene | None:
        """The scene as it is; its files go to Gradio's cache."""
        return value

    def api_info(self) -> dict[str, Any]:
        """Of no use to other programs."""
        return {"type": "object"}
