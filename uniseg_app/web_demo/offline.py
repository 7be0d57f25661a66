"""What keeps the page's libraries from talking to anybody: to be set before gradio is imported."""

from __future__ import annotations

_QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",  # exactly this spelling
    "GRADIO_SHARE": "False",
    "GRADIO_RUN_HISTORY": "False",  # would keep a user's calls in the browser
    "GRADIO_SSR_MODE": "False",
    "GRADIO_MCP_SERVER": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
}


def offline_environment() -> dict[str, str]:
    """Environment variables with which gradio and huggingface_hub look nothing up, report nothing and publish nothing.

    They win over what the user has set: ``os.environ.update(offline_environment())``.
    """
    return dict(_QUIET)
