"""Who may speak to the server, how much, and who may log in."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

starlette = pytest.importorskip("starlette", reason='the web demo is not installed: pip install "uniseg-app[web]"')

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from uniseg_app.web_demo import passwords
from uniseg_app.web_demo.body_limit import BodyLimit
from uniseg_app.web_demo.offline import offline_environment
from uniseg_app.web_demo.passwords import LoginBrake, password_line, read_users
from uniseg_app.web_demo.private import private_folder
from uniseg_app.web_demo.security import HEADERS, TrustedHosts, secure, trusted_hosts
from uniseg_model.errors import OptionError, OutputError

OWN = "http://localhost:7860"


async def length(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


def app_with(*routes: str, **options: Any) -> Starlette:
    """An app that answers with the number of bytes it was sent, and that lets other sites read answers, as Gradio may do."""
    app = Starlette(routes=[Route(path, length, methods=["GET", "POST"]) for path in ("/", "/gradio_api/upload", *routes)])
    app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_credentials=True)
    secure(app, **options)
    return app


@pytest.fixture
def client() -> TestClient:
    return TestClient(app_with(most_upload_bytes=1000), base_url=OWN)


# Other sites


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # no browser, such as gradio_client
        ({"Origin": OWN}, 200),
        ({"Origin": OWN, "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, 200),  # a form's, under Referrer-Policy no-referrer
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost:8888"}, 403),  # another server on this machine
        ({"Origin": "http://localhost:7860.evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": OWN, "Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_only_our_own_page_and_programs_may_change_something(client: TestClient, headers: dict[str, str], status: int) -> None:
    answer = client.post("/", headers=headers)
    assert answer.status_code == status
    assert status == 200 or "cross-origin request refused" in answer.text


def test_other_sites_may_lead_here_but_not_read_what_is_here(client: TestClient) -> None:
    foreign = client.get("/", headers={"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"})
    assert foreign.status_code == 200
    assert not [name for name in foreign.headers if name.startswith("access-control-")]
    assert "access-control-allow-origin" in client.get("/", headers={"Origin": OWN}).headers


def test_other_sites_get_no_leave_beforehand(client: TestClient) -> None:
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in client.options("/", headers=asked).headers


def test_web_sockets_of_other_sites_are_closed() -> None:
    sent = spoken_to("websocket", {"host": "localhost", "origin": "http://evil.example"})
    assert sent == [{"type": "websocket.close", "code": 1008}]


def spoken_to(kind: str, headers: dict[str, str]) -> list[Any]:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": f"{kind}.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    asyncio.run(app_with()({"type": kind, "path": "/", "headers": pairs}, receive, send))
    return sent


# Names


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost", "LOCALHOST:1", "localhost.", "[::1]:7860"])
def test_this_machine_is_known_by_its_usual_names(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "evil@localhost", "[::1", "192.168.0.2", ""])
def test_requests_for_another_name_are_refused(client: TestClient, host: str) -> None:
    answer = client.get("/", headers={"Host": host})
    assert answer.status_code == 400
    assert f"this server is not {host!r}: open it under the address" in answer.text


def test_the_chosen_address_and_further_names_are_trusted() -> None:
    assert trusted_hosts("127.0.0.1") == ("127.0.0.1", "localhost", "[::1]")
    assert trusted_hosts("fe80::2", ["GPU.clinic"])[-2:] == ("[fe80::2]", "gpu.clinic")


def test_a_server_that_listens_everywhere_trusts_numbers_but_no_foreign_name() -> None:
    client = TestClient(app_with(host="0.0.0.0"), base_url="http://192.168.0.2:7860")
    assert client.get("/").status_code == 200
    assert client.get("/", headers={"Host": "[fe80::2]:7860"}).status_code == 200
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 400


def test_a_server_start_passes_through_all_layers() -> None:
    with TestClient(app_with(), base_url=OWN) as client:
        assert client.get("/").status_code == 200
    assert TestClient(TrustedHosts(PlainTextResponse("hello")), base_url=OWN).get("/").text == "hello"


# Headers


@pytest.mark.parametrize("send", [{}, {"Host": "evil.example"}], ids=["answered", "refused"])
def test_every_answer_carries_the_security_headers(client: TestClient, send: dict[str, str]) -> None:
    headers = client.get("/", headers=send).headers
    assert {name: headers[name] for name in HEADERS} == HEADERS
    assert "cache-control" not in headers


def test_the_policy_lets_nothing_leave_this_server() -> None:
    policy = dict(part.split(" ", 1) for part in HEADERS["Content-Security-Policy"].split("; "))
    allowed = {source for sources in policy.values() for source in sources.split()}
    assert allowed == {"'self'", "'none'", "'unsafe-inline'", "'unsafe-eval'", "data:", "blob:"}
    assert policy["frame-ancestors"] == policy["default-src"] == "'self'"


def test_what_may_be_of_a_patient_is_not_kept_by_the_browser(client: TestClient) -> None:
    assert client.post("/gradio_api/upload").headers["cache-control"] == "no-store"


# Sizes


def test_a_body_above_the_limit_is_refused_in_words(client: TestClient) -> None:
    assert client.post("/gradio_api/upload", content=b"x" * 1000).text == "1000"
    answer = client.post("/gradio_api/upload", content=b"x" * 1001)
    assert answer.status_code == 413
    assert "what was sent is larger than 0.001 MB, which is the most that this server takes" in answer.text


def chunks(count: int) -> Iterator[bytes]:
    yield from (b"x" * 100 for _ in range(count))


def test_a_body_without_a_declared_length_is_counted(client: TestClient) -> None:
    assert client.post("/gradio_api/upload", content=chunks(10)).text == "1000"
    assert client.post("/gradio_api/upload", content=chunks(11)).status_code == 413


def test_what_is_no_upload_must_be_small(client: TestClient) -> None:
    app = BodyLimit(app_with(), most_upload_bytes=10**9, most_other_bytes=50)
    assert TestClient(app, base_url=OWN).post("/", content=b"x" * 51).status_code == 413


def test_an_app_that_swallows_errors_cannot_answer_in_place_of_the_limit() -> None:
    async def swallowing(scope: Any, receive: Any, send: Any) -> None:
        try:
            await Request(scope, receive).body()
        except Exception:
            await PlainTextResponse("all is well")(scope, receive, send)

    answer = TestClient(BodyLimit(swallowing, most_other_bytes=50)).post("/", content=b"x" * 51)
    assert TestClient(BodyLimit(swallowing, most_other_bytes=50)).post("/", content=chunks(1)).status_code == 413
    assert answer.status_code == 413


# Users


@pytest.fixture(autouse=True)
def _quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_N", 1024)
    monkeypatch.setattr(passwords, "_P", 1)


@pytest.fixture
def users_file(tmp_path: Path) -> Callable[..., Path]:
    def write(*lines: str, mode: int = 0o600) -> Path:
        path = tmp_path / "users"
        path.write_text("\n".join(lines), encoding="utf-8")
        path.chmod(mode)
        return path

    return write


def test_who_knows_the_password_comes_in(users_file: Callable[..., Path]) -> None:
    users = read_users(users_file("# our users", "", password_line("eva", "pass:word $"), password_line("Jörg", "grün")))
    assert users.check("eva", "pass:word $")
    assert users.check("Jörg", "grün")
    assert not users.check("eva", "grün")
    assert not users.check("nobody", "grün")
    assert asyncio.run(users.sign_in("eva", "pass:word $")) is True


def test_an_unknown_name_costs_as_much_as_a_wrong_password(
    users_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    users = read_users(users_file(password_line("eva", "secret")))
    costs: list[tuple[int, int, int]] = []
    real = hashlib.scrypt
    monkeypatch.setattr(hashlib, "scrypt", lambda *a, n, r, p, **k: costs.append((n, r, p)) or real(*a, n=n, r=r, p=p, **k))
    users.check("eva", "wrong")
    users.check("nobody", "wrong")
    assert costs[0] == costs[1] == (1024, 8, 1)


def test_two_lines_for_one_password_differ() -> None:
    assert password_line("eva", "secret") != password_line("eva", "secret")
    assert "secret" not in password_line("eva", "secret")


@pytest.mark.parametrize(("name", "password"), [("", "x"), ("a:b", "x"), ("a\nb", "x"), (" a", "x"), ("#a", "x"), ("a", "")])
def test_a_name_that_the_file_cannot_hold_is_refused(name: str, password: str) -> None:
    with pytest.raises(OptionError, match=r"a user needs a name without a colon and a password"):
        password_line(name, password)


def test_a_missing_file_of_users_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"there is no file of users .*none. Make a line with: python -m"):
        read_users(tmp_path / "none")


@pytest.mark.parametrize("lines", [["eva:secret"], ["secret"], ["eva:scrypt$1023$8$1$" + "A" * 24 + "$" + "A" * 44],
                                   ["eva:scrypt$9999999$8$1$" + "A" * 24 + "$" + "A" * 44]])  # fmt: skip
def test_a_line_that_is_none_is_refused_without_being_quoted(users_file: Callable[..., Path], lines: list[str]) -> None:
    with pytest.raises(OptionError, match=r"line 1 of .*users is not a name and a password's hash. Make a line") as caught:
        read_users(users_file(*lines))
    assert "secret" not in str(caught.value)


def test_a_file_without_users_or_with_one_twice_is_refused(users_file: Callable[..., Path]) -> None:
    with pytest.raises(OptionError, match=r"users names no user"):
        read_users(users_file("# nobody yet"))
    with pytest.raises(OptionError, match=r"line 2 of .*users gives 'eva' again. Keep one line"):
        read_users(users_file(password_line("eva", "a"), password_line("eva", "b")))


@pytest.mark.skipif(os.name != "posix", reason="only POSIX systems have such modes")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_may_open_is_refused(users_file: Callable[..., Path], mode: int) -> None:
    with pytest.raises(OptionError, match=rf"users may be read by others \(mode {mode:o}\). Run: chmod 600 "):
        read_users(users_file(password_line("eva", "secret"), mode=mode))


class Door:
    """A login page behind the brake, with a clock that only moves when somebody waits."""

    def __init__(self) -> None:
        self.now, self.waits = 0.0, list[float]()
        login = Route("/login", self.answer, methods=["POST"])
        self.brake = LoginBrake(Starlette(routes=[login]), clock=lambda: self.now, sleep=self.sleep)

    async def sleep(self, wait_s: float) -> None:
        self.waits.append(wait_s)
        self.now += wait_s

    async def answer(self, request: Request) -> JSONResponse:
        return JSONResponse({}, 200 if await request.body() == b"right" else 400)

    def knock(self, password: str, address: str = "10.0.0.1") -> int:
        client = TestClient(self.brake, client=(address, 1))
        return client.post("/login", content=password).status_code


def test_the_fourth_wrong_password_waits_and_a_right_one_makes_good() -> None:
    door = Door()
    assert [door.knock("wrong") for _ in range(7)] == [400] * 7
    assert door.waits == [0, 0, 0, 1, 2, 4, 8]
    assert door.knock("right") == 200
    assert door.waits[-1] == 16
    assert door.knock("wrong") == 400
    assert door.waits[-1] == 0


def test_one_address_does_not_slow_another() -> None:
    door = Door()
    [door.knock("wrong") for _ in range(6)]
    door.knock("wrong", "10.0.0.2")
    assert door.waits[-1] == 0


def test_addresses_of_one_ipv6_network_wait_for_each_other() -> None:
    door = Door()
    [door.knock("wrong", f"2001:db8::{k}") for k in range(1, 5)]
    assert door.waits == [0, 0, 0, 1]


def test_attempts_at_the_same_time_do_not_share_a_wait() -> None:
    waits = [(door := Door()).brake._wait_s("somebody")] + [door.brake._wait_s("somebody") for _ in range(9)]
    assert waits == [0, 0, 0, 1, 3, 7, 15, 31, 31, 31]  # above 30: refused


def test_who_would_wait_too_long_is_told_so() -> None:
    door = Door()
    [door.brake._wait_s("10.0.0.1") for _ in range(7)]
    assert door.knock("right") == 429


def test_attempts_are_forgotten_after_a_quarter_of_an_hour() -> None:
    door = Door()
    [door.knock("wrong") for _ in range(5)]
    door.now += 901
    door.knock("wrong")
    assert door.waits[-1] == 0


def test_the_brake_remembers_so_many_addresses_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_MOST_ADDRESSES", 10)
    door = Door()
    [door.brake._wait_s(f"{k}") for k in range(100)]
    assert list(door.brake._known) == [f"{k}" for k in range(90, 100)]


# The private folder


def test_each_user_has_a_folder_until_leaving(tmp_path: Path) -> None:
    folder = private_folder(tmp_path)
    first, second = folder.of("session one"), folder.of("session two")
    assert folder.of("session one") == first != second
    assert "session" not in first.name
    (first / "ct.nii.gz").write_bytes(b"?")
    folder.forget("session one")
    folder.forget("session one")
    assert not first.exists()
    assert second.exists()
    folder.forget_idle(3600)
    assert second.exists()
    folder.forget_idle(-1)
    assert not second.exists()
    folder.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="only POSIX systems have such modes")
def test_others_cannot_look_into_it(tmp_path: Path) -> None:
    folder = private_folder(tmp_path)
    paths = [folder.path, folder.uploads, folder.of("somebody")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o700}
    folder.close()


IN_A_PROCESS = """
import os, signal, sys
from pathlib import Path
from uniseg_app.web_demo.private import end_on_sigterm, private_folder
folder = private_folder(Path(sys.argv[1]))
(folder.of("somebody") / "ct.nii.gz").write_bytes(b"?")
if sys.argv[2] == "dies":
    os._exit(9)
if sys.argv[2] == "is terminated":
    end_on_sigterm()
    signal.raise_signal(signal.SIGTERM)
"""


def process(root: Path, how: str) -> int:
    return subprocess.run([sys.executable, "-c", IN_A_PROCESS, str(root), how], timeout=60).returncode


@pytest.mark.parametrize(("how", "code"), [("ends", 0), ("is terminated", 143)])
def test_it_is_gone_when_the_process_ends(tmp_path: Path, how: str, code: int) -> None:
    assert process(tmp_path, how) == code
    assert list(tmp_path.iterdir()) == []


def test_what_a_dead_process_left_is_wiped_and_what_a_living_one_has_is_not(tmp_path: Path) -> None:
    living = private_folder(tmp_path)
    (tmp_path / "somebody else's").mkdir()
    assert process(tmp_path, "dies") == 9
    assert len([p for p in tmp_path.glob("uniseg-web-*") if p.is_dir()]) == 2
    later = private_folder(tmp_path)
    assert {p for p in tmp_path.iterdir() if p.is_dir()} == {living.path, later.path, tmp_path / "somebody else's"}
    later.close()
    living.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=r"no private folder can be made in .*file"):
        private_folder(tmp_path / "file")


# Nobody is spoken to

OFFLINE = """
import os, socket
from uniseg_app.web_demo.offline import offline_environment
os.environ.update(offline_environment())
asked = []
def ask(*arguments, **more):
    asked.append(arguments)
    raise OSError("no network here")
socket.getaddrinfo = socket.socket.connect = ask
import gradio, fastapi
with gradio.Blocks() as demo:
    gradio.Markdown("hello")
gradio.mount_gradio_app(fastapi.FastAPI(), demo, path="/")
import time
time.sleep(0.5)  # a report would be sent by a thread
assert not asked, asked
"""


def test_gradio_asks_nobody_for_anything() -> None:
    pytest.importorskip("gradio", reason='the web demo is not installed: pip install "uniseg-app[web]"')
    assert offline_environment()["GRADIO_ANALYTICS_ENABLED"] == "False"
    done = subprocess.run([sys.executable, "-c", OFFLINE], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
