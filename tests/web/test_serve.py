"""Starting the server: what is refused before anything takes time."""

from __future__ import annotations

import socket
from http.client import HTTPConnection, HTTPResponse

import pytest

pytest.importorskip("gradio")

from uniseg_app.web_demo.app import WebRequest, _once, serve
from uniseg_app.web_demo.waiting import waiting_page
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


def asked(listener: socket.socket, method: str = "GET") -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection("127.0.0.1", listener.getsockname()[1], timeout=30)
    connection.request(method, "/any/place")
    answer = connection.getresponse()
    return answer, answer.read()


def test_who_comes_early_is_told_to_wait_and_asks_again_by_itself() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, waiting_page(listener):
        answer, page = asked(listener)
        assert (answer.status, answer.headers["Refresh"], answer.headers["Retry-After"]) == (503, "1", "1")
        assert answer.headers["Cache-Control"] == "no-store"
        assert b"UniSeg is starting" in page
        assert b"Not a medical device" in page
        assert asked(listener, "HEAD")[1] == b""


def test_a_visitor_who_says_nothing_keeps_nobody_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, waiting_page(listener):
        with socket.create_connection(listener.getsockname()), socket.create_connection(listener.getsockname()) as gone:
            gone.close()
            assert asked(listener)[0].status == 503


def test_who_comes_when_the_wait_is_over_is_left_to_the_page() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with waiting_page(listener):
            assert asked(listener)[0].status == 503
        with socket.create_connection(listener.getsockname()) as visitor:
            visitor.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with listener.accept()[0] as heard:
                assert heard.recv(100).startswith(b"GET /")
