"""The web demo: our own FastAPI app around one Gradio page."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from uniseg_app.backend import Backend
from uniseg_app.job_log import JobLog
from uniseg_app.web_demo.offline import offline_environment
from uniseg_app.web_demo.private import PrivateFolder, end_on_sigterm, private_folder
from uniseg_app.web_demo.waiting import waiting_page
from uniseg_model.errors import OptionError

if TYPE_CHECKING:
    from uniseg_app.web_demo.segment_tab import Welcome
    from uniseg_app.web_demo.training_places import DataPlaces

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_IDLE_S = 2 * 3600.0  # a browser that died does not say that it has left
_SWEEP_EVERY_S = 600.0


@dataclass(frozen=True)
class WebRequest:
    """How the page is served.

    host: address to listen on. port: 0 takes any that is free. weights, device, threads: see :class:`Backend`.
    auth: who may sign in. segmented: segment the first example at once. data_roots: folders of data sets that may be trained on,
    beside those of our own. training: whether trainings may be started; None: yes on this machine alone, and where data roots
    are named.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    weights: Path | None = None
    device: str = "auto"
    threads: int | None = None
    auth: Path | None = None
    most_upload_mb: int = 600
    segmented: bool = False
    data_roots: tuple[Path, ...] = ()
    training: bool | None = None

    @property
    def may_train(self) -> bool:
        """Whether the page lets people train."""
        return self.training if self.training is not None else self.host in LOOPBACK or bool(self.data_roots)


def serve(request: WebRequest, tell: Callable[[str], None]) -> None:
    """Serve the page until interrupted. tell: is given what a person at the terminal should know.

    Raises:
        UniSegError: weights, device, viewer or port are not to be had; another machine could come in without a password.
    """
    began_s = time.monotonic()
    if request.host not in LOOPBACK and request.auth is None:
        raise OptionError(f"the page would be open to everybody who reaches {request.host}",
                          hint="Name a file of users with --auth, or listen on 127.0.0.1.")  # fmt: skip
    _places(request)  # refused before anything takes time
    with _listening(request) as listener, ExitStack() as kept:
        url = f"http://{_shown(request.host)}:{listener.getsockname()[1]}/"
        tell(f"Starting. The page comes at {url}")
        with waiting_page(listener):
            from uniseg_app.web_demo.server import run

            private, backend = kept.enter_context(_private()), kept.enter_context(_backend(request))
            seen = _once(lambda: tell(f"First picture in a browser {time.monotonic() - began_s:.1f} s after the start."))
            app = create_app(request, backend, private, _welcome(request, backend, seen))
        tell(f"The page is at {url} ({time.monotonic() - began_s:.1f} s after the start). Press Ctrl-C to end.")
        run(app, listener)


def _welcome(request: WebRequest, backend: Backend, seen: Callable[[], None]) -> Welcome:
    from uniseg_app.web_demo import texts
    from uniseg_app.web_demo.examples import first_example
    from uniseg_app.web_demo.segment_tab import Welcome

    return Welcome(
        first_example(backend, segmented=request.segmented), texts.lost(backend.log.lost()) if backend.log else "", seen
    )


def create_app(request: WebRequest, backend: Backend, private: PrivateFolder, welcome: Welcome):  # type: ignore[no-untyped-def]
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
    visits = Visits(private)
    page = make_page(backend, visits, serve_niivue(app), welcome, request.most_upload_mb, _places(request))
    app = gr.mount_gradio_app(
        app, page, path="/", max_file_size=f"{request.most_upload_mb}mb", run_history=False, enable_monitoring=False,
        auth=users.sign_in if users else None, show_error=False, ssr_mode=False, pwa=False, footer_links=[], theme=theme(),
        css_paths=[Path(__file__).with_name("static") / "page.css"],
    )  # fmt: skip
    if users:
        app.add_middleware(LoginBrake)
    secure(app, request.host, most_upload_bytes=request.most_upload_mb * 1_000_000)
    _repeat(lambda: visits.leave_idle(_IDLE_S), _SWEEP_EVERY_S)
    return app


def _places(request: WebRequest) -> DataPlaces | None:
    """Where data sets to train on lie; None where nobody may train."""
    from uniseg_app.web_demo.training_places import DataPlaces

    if request.data_roots and not request.may_train:
        raise OptionError("--data-root is for training, which is not allowed here", hint="Leave out --no-training.")
    return DataPlaces.of(request.data_roots) if request.may_train else None


def state_folder() -> Path:
    """Where this program keeps what is not a setting."""
    from platformdirs import user_state_path

    return user_state_path("uniseg", appauthor=False)


@contextmanager
def _listening(request: WebRequest) -> Iterator[socket.socket]:
    """The door, before anything that takes time."""
    try:
        family = socket.AF_INET6 if ":" in request.host else socket.AF_INET
        listener = socket.create_server((request.host, request.port), family=family)
    except OSError as exc:
        raise OptionError(f"{request.host}:{request.port} cannot be listened on: {exc.strerror or exc}",
                          hint="Choose another --port, or end the program that has it.") from exc  # fmt: skip
    with listener:
        yield listener


@contextmanager
def _private() -> Iterator[PrivateFolder]:
    private = private_folder(Path(tempfile.gettempdir()) / "uniseg")
    os.environ.update(offline_environment(), GRADIO_TEMP_DIR=str(private.uploads))
    end_on_sigterm()
    try:
        yield private
    finally:
        private.close()


@contextmanager
def _backend(request: WebRequest) -> Iterator[Backend]:
    backend = Backend(request.weights, request.device, request.threads, JobLog(state_folder() / "jobs.sqlite"))
    try:
        yield backend
    finally:
        backend.close()


def _once(call: Callable[[], None]) -> Callable[[], None]:
    """A function that calls the first time and never again."""
    calls = iter([call])

    def first() -> None:
        for one in calls:
            one()

    return first


def _repeat(call: Callable[[], None], every_s: float) -> None:
    """Call now and then, as long as the process lives."""

    def go_on() -> None:
        while True:
            time.sleep(every_s)
            call()

    threading.Thread(target=go_on, name="sweep", daemon=True).start()


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
