"""Starting the server: what is refused before anything takes time."""

from __future__ import annotations

import socket

import pytest

pytest.importorskip("gradio")

from uniseg_app.web_demo.app import WebRequest, _once, serve
from uniseg_model.errors import OptionError


def test_other_machines_come_in_with_a_password_only() -> None:
    with pytest.raises(OptionError, match=r"open to everybody who reaches 0\.0\.0\.0"):
        serve(WebRequest(host="0.0.0.0"), print)


def test_a_port_that_is_taken_is_named_with_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OptionError, match=rf"127\.0\.0\.1:{port} cannot be listened on") as caught:
            serve(WebRequest(port=port), print)
    assert "--port" in caught.value.hint


def test_the_first_picture_is_told_once() -> None:
    told: list[str] = []
    tell = _once(lambda: told.append("picture"))
    tell()
    tell()
    assert told == ["picture"]
