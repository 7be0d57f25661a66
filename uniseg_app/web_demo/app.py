"""The web demo: our own FastAPI app around one Gradio page."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from uniseg_app.backend import Backend
from uniseg_app.job_log import JobLog
from uniseg_app.web_demo.offline import offline_environment
from uniseg_app.web_demo.private import PrivateFolder, end_on_sigterm, private_folder
from uniseg_model.errors import OptionError

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class WebRequest:
    """How the page is served. host: address to listen on. weights, device: see :class:`Backend`. auth: who may sign in."""

    host: str = "127.0.0.1"
    port: int = 7860
    weights: Path | None = None
    device: str = "auto"
    threads: int | None = None
    auth: Path | None = None
    most_upload_mb: int = 600


def serve(request: WebRequest) -> None:
    """Serve the page until interrupted.

    Raises:
        UniSegError: weights, device or viewer are not to be had; another machine could come in without a password.
    """
    if request.host not in LOOPBACK and request.auth is None:
        raise OptionError(f"the page would be open to everybody who reaches {request.host}",
                          hint="Name a file of users with --auth, or listen on 127.0.0.1.")  # fmt: skip
    private = private_folder(Path(tempfile.gettempdir()) / "uniseg")
    os.environ.update(offline_environment(), GRADIO_TEMP_DIR=str(private.uploads))
    import uvicorn

    end_on_sigterm()
    backend = Backend(request.weights, request.device, request.threads, JobLog(state_folder() / "jobs.sqlite"))
    try:
        uvicorn.run(create_app(request, backend, private), host=request.host, port=request.port, log_level="warning")
    finally:
        backend.close()
        private.close()


def create_app(request: WebRequest, backend: Backend, private: PrivateFolder):  # type: ignore[no-untyped-def]
    """The app; the environment must be :func:`offline_environment` before gradio is imported."""
    import gradio as gr
    from fastapi import FastAPI

    from uniseg_app.web_demo.page import make_page, theme
    from uniseg_app.web_demo.passwords import LoginBrake, read_users
    from uniseg_app.web_demo.security import secure
    from uniseg_app.web_demo.vendor import serve_niivue
    from uniseg_app.web_demo.visits import Visits

    users = read_users(request.auth) if request.auth else None
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    page = make_page(backend, Visits(private), serve_niivue(app))
    app = gr.mount_gradio_app(
        app, page, path="/", max_file_size=f"{request.most_upload_mb}mb", run_history=False, enable_monitoring=False,
        auth=users.sign_in if users else None, show_error=False, ssr_mode=False, pwa=False, footer_links=[], theme=theme(),
        css_paths=[Path(__file__).with_name("static") / "page.css"],
    )  # fmt: skip
    if users:
        app.add_middleware(LoginBrake)
    secure(app, request.host, most_upload_bytes=request.most_upload_mb * 1_000_000)
    return app


def state_folder() -> Path:
    """Where this program keeps what is not a setting."""
    from platformdirs import user_state_path

    return user_state_path("uniseg", appauthor=False)
