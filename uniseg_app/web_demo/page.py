"""The page: header, tabs, and what happens when somebody comes and goes."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from uniseg_app.backend import Backend
from uniseg_app.web_demo import texts
from uniseg_app.web_demo.api import Api
from uniseg_app.web_demo.prompts_tab import PromptsTab
from uniseg_app.web_demo.segment_tab import SegmentTab, Welcome
from uniseg_app.web_demo.training_places import DataPlaces
from uniseg_app.web_demo.training_tab import TrainingTab
from uniseg_app.web_demo.visits import Visits

_SCRIPT = Path(__file__).with_name("static") / "page.js"


def make_page(
    backend: Backend, visits: Visits, script_url: str, welcome: Welcome, most_upload_mb: int, places: DataPlaces | None = None
) -> gr.Blocks:
    """The page, not mounted yet.

    script_url: see :class:`NiivueViewer`. most_upload_mb: of all files of one upload. places: where data sets to train on lie; None
    where nobody may train.
    """
    with gr.Blocks(title="UniSeg", analytics_enabled=False, fill_width=True, delete_cache=(600, 7200)) as page:
        header = gr.HTML(texts.header(backend.facts()), padding=False)
        with gr.Tabs():
            with gr.Tab("Segment") as segment:
                tab = SegmentTab(backend, visits, script_url, welcome)
            with gr.Tab("Prompts") as prompts:
                PromptsTab(backend, visits, script_url, tab).connect_tabs(prompts, segment)
            if places:
                with gr.Tab("Training") as training:
                    trainer = TrainingTab(backend, visits, tab, header, places)
            with gr.Tab("About") as about:
                gr.Markdown(_ABOUT)
            if places:
                trainer.connect_tabs(training, [segment, prompts, about])
        Api(backend, visits)
        page.load(tab.opened, None, tab.outputs, api_visibility="private", show_progress="hidden", concurrency_limit=None)

        page.load(None, js=_SCRIPT.read_text(encoding="utf-8").replace("MOST_MB", str(most_upload_mb)))

        def leave(request: gr.Request) -> None:
            visits.leave(request.session_hash)

        page.unload(leave)
    return page


def theme() -> gr.Theme:
    """Colours and type: the system's own fonts, so that nothing is fetched."""
    return gr.themes.Default(
        primary_hue=gr.themes.colors.blue,
        neutral_hue=gr.themes.colors.slate,
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(  # the defaults are too pale beside white
        body_text_color_subdued="*neutral_500",
        body_text_color_subdued_dark="*neutral_400",
        checkbox_border_color="*neutral_500",
        checkbox_border_color_dark="*neutral_400",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
    )


_ABOUT = """
## One network, eleven tasks

UniSeg (Ye et al., *UniSeg: A Prompt-driven Universal Segmentation Model as well as A Strong Representation Learner*, MICCAI 2023) is one
3D network for eleven tasks on CT, MR and PET-CT. You pick a task; its *prompt* is fused with what the encoder saw and enters the
decoder's input, so the whole decoder knows what is asked.

**Research use only. Not a medical device.** Images stay on the machine that runs this page: nothing is sent anywhere, and what you
drop here is removed when you close the tab.

## The weights

The small weights that come with the program were trained by it on synthetic phantoms: they show how prompts work and are of no use
on patients. For real scans import the authors' checkpoint, which is for non-commercial use:

    uniseg weights import model_final_checkpoint.model -o uniseg.safetensors
    uniseg web --weights uniseg.safetensors

## How to read the numbers

- **Volume**: voxels times their size. A structure that touches the edge of the image is at least this large.
- **Mean probability**: of the structure's voxels, as the network gives it. It is not calibrated: 0.9 does not mean right in nine of ten.
- **Uncertain voxels**: where the best class leads the second by less than 0.2.
- **Agreement**: Dice of the answers with and without mirroring. Low means that the answer hangs by a thread.
"""
