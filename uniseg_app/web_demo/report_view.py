"""Sections of the prompt report within the page: their look, and the script that reads values out."""

from __future__ import annotations

from importlib import resources
from typing import Any

import gradio as gr

from uniseg_app.web_demo.viewer import WithoutStub
from uniseg_model.prompts.report import script, style

# Gradio would patch one value's elements into the next one's, and the script's listeners would stay on the wrong ones.
_JS = """
const root = element.querySelector('.us-report');
const show = () => { root.innerHTML = props.value || ''; read(root); };
watch('value', show);
show();
"""


class ReportView(gr.HTML, metaclass=WithoutStub):
    """Its value is HTML, already escaped."""

    def __init__(self, value: str = "", **settings: Any) -> None:
        own = resources.files(__package__).joinpath("static", "report.css").read_text(encoding="utf-8")
        settings.setdefault("html_template", '<div class="us-report"></div>')
        settings.setdefault("css_template", own + style())
        settings.setdefault("js_on_load", script() + _JS)
        settings.setdefault("apply_default_css", False)
        settings.setdefault("padding", False)
        super().__init__(value=value, **settings)
