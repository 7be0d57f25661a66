"""The page: header, tabs, and what happens when somebody comes and goes."""

from __future__ import annotations

import gradio as gr

from uniseg_app.backend import Backend
from uniseg_app.web_demo import texts
from uniseg_app.web_demo.segment_tab import SegmentTab
from uniseg_app.web_demo.visits import Visits


def make_page(backend: Backend, visits: Visits, script_url: str) -> gr.Blocks:
    """The page, not mounted yet."""
    with gr.Blocks(title="UniSeg", analytics_enabled=False, fill_width=True, delete_cache=(600, 7200)) as page:
        gr.HTML(texts.header(backend.facts()))
        with gr.Tabs():
            with gr.Tab("Segment"):
                tab = SegmentTab(backend, visits, script_url)
            with gr.Tab("About"):
                gr.Markdown(_ABOUT)
        page.load(tab.opened, None, tab.outputs, api_visibility="private", show_progress="hidden")

        def leave(request: gr.Request) -> None:
            visits.leave(request.session_hash)

        page.unload(leave)
    return page


def theme() -> gr.Theme:
    """Colours and type: the system's own fonts, so that nothing is fetched."""
    return gr.themes.Default(
        primary_hue=gr.themes.colors.blue, neutral_hue=gr.themes.colors.slate, font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )  # fmt: skip


_ABOUT = """
## One network, eleven tasks

UniSeg (Ye et al., MICCAI 2023) is one 3D network for eleven tasks on CT, MR and PET-CT. You pick a task; its *prompt* is fused with
what the encoder saw and enters the decoder's input, so the whole decoder knows what is asked.

**Research use only. Not a medical device.** Images stay on the machine that runs this page: nothing is sent anywhere, what you
drop here is removed when you close the tab.

The small weights that come with the program were trained by it on synthetic phantoms: they show how prompts work and are of no use
on patients. For real scans import the authors' checkpoint (`uniseg weights import`), which is for non-commercial use.
"""
