"""A page with nothing but the viewer, for tests that look at it in a browser. Run as a script; prints its URL.

Shown is a phantom with its known labels. "Preview" shows the same image with the liver's back half only.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_OFFLINE="1")

import gradio as gr
import numpy as np
import uvicorn
from fastapi import FastAPI

from uniseg_app.grey import grey_windows
from uniseg_app.web_demo.display import (
    display_copy,
    located,
    structures_of,
    write_display_image,
    write_display_labels,
)
from uniseg_app.web_demo.vendor import serve_niivue
from uniseg_app.web_demo.viewer import GO_TO, POSITION, NiivueViewer, ViewerScene, scene
from uniseg_model.phantom import make_phantom
from uniseg_model.tasks import builtin_tasks

SPACING_MM = (8.0, 6.0, 6.0)


def scenes(folder: Path) -> tuple[ViewerScene, ViewerScene]:
    """The phantom with its labels, and with fewer of them."""
    task, phantom = builtin_tasks()["liver"], make_phantom("liver", 100, spacing_mm=SPACING_MM)
    copy, labels = display_copy(phantom.volume), phantom.labels["liver"]
    image = folder / "image.nii.gz"
    write_display_image(image, copy)
    fewer = np.where(np.arange(labels.shape[1])[:, None] < labels.shape[1] // 2, labels, 0).astype(np.uint8)
    made = []
    for name, shown in (("all", labels), ("fewer", fewer)):
        path = folder / f"{name}.nii.gz"
        write_display_labels(path, shown, copy)
        structures = located(structures_of(task.labels), shown, copy.affine)
        made.append(scene(image, grey_windows(copy, [task]), "HU", path, structures))
    return made[0], made[1]


def page(folder: Path) -> FastAPI:
    """The app."""
    whole, preview = scenes(folder)
    app = FastAPI()
    with gr.Blocks() as demo:
        viewer = NiivueViewer(whole, script_url=serve_niivue(app))
        with gr.Row():
            for name, value in (("Whole", whole), ("Preview", preview), ("Nothing", None)):
                button = gr.Button(name)
                button.click(lambda value=value: value, outputs=viewer, show_progress="hidden")
        told, place = gr.Textbox(label="Told"), gr.JSON(label="Place")
        viewer.nowebgl(lambda: "no WebGL2 here", outputs=told, show_progress="hidden")
        gr.Button("Where").click(None, outputs=place, js=POSITION)
        gr.Button("Go").click(None, inputs=place, js=GO_TO)
    return gr.mount_gradio_app(app, demo, path="/", run_history=False)


if __name__ == "__main__":
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    app = page(Path(sys.argv[1]))
    print(f"http://127.0.0.1:{listening.getsockname()[1]}/", flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])
