"""What programs ask of the server: through ``gradio_client``, and as plain requests."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gradio")

import httpx
from browser import COMMAND_LINE, Server, command_line, serving, until
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from test_uploads import nifti, slice_of, zipped

from uniseg_model.io import read_labels


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), "-c", COMMAND_LINE, "web", "--port", "0") as server:
        yield server


@pytest.fixture
def client(server: Server, tmp_path: Path) -> Iterator[Client]:
    client = Client(server.url, verbose=False, download_files=tmp_path, httpx_kwargs={"timeout": 60})
    yield client
    client.close()


def asked(client: Client, *files: Path, tasks: list[str], **options: Any) -> tuple[dict[str, Any], Path]:
    told, archive = client.predict([handle_file(file) for file in files], tasks, **options, api_name="/segment")
    return told, Path(archive)


def test_nothing_else_is_offered(client: Client) -> None:
    offered = client.view_api(return_format="dict", print_info=False)
    assert isinstance(offered, dict)
    assert (set(offered["named_endpoints"]), offered["unnamed_endpoints"]) == ({"/list_tasks", "/segment"}, {})


def test_tasks_come_in_prompt_order(client: Client) -> None:
    tasks = client.predict(api_name="/list_tasks")
    assert [task["key"] for task in tasks][::5] == ["liver", "lung", "whole_body"]
    assert [label["name"] for label in tasks[0]["labels"]] == ["liver", "liver tumour"]


def test_labels_are_those_of_the_command_line(client: Client, scan: Path, tmp_path: Path) -> None:
    told, archive = asked(client, scan, tasks=["liver", "spleen"])
    command_line("segment", scan, "--task", "liver,spleen", "-o", tmp_path / "cli")
    with zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path / "api")
    for name in ("liver.nii.gz", "spleen.nii.gz", "merged.nii.gz"):
        (mine, affine), (theirs, their_affine) = (read_labels(tmp_path / of / name) for of in ("api", "cli"))
        assert np.array_equal(mine, theirs)
        assert np.array_equal(affine, their_affine)
    assert [row["structure"] for row in told["structures"]] == ["liver", "liver tumour", "spleen"]
    liver, affine = read_labels(tmp_path / "api" / "liver.nii.gz")
    ml = (liver == 1).sum() * abs(np.linalg.det(affine[:3, :3])) / 1000
    assert told["structures"][0]["volume_ml"] == pytest.approx(ml)
    assert told["record"]["image"]["paths"] == [scan.name]  # no place on the server


def test_plain_requests_do(server: Server, scan: Path) -> None:
    with httpx.Client(base_url=f"{server.url}gradio_api", timeout=120) as http:
        (path,) = http.post("/upload", files={"files": (scan.name, scan.read_bytes())}).json()
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        number = http.post("/call/segment", json={"data": [[file], ["spleen"], "", "auto", 1.0]}).json()["event_id"]
        lines = http.get(f"/call/segment/{number}").text.splitlines()
        assert lines[0] == "event: complete"
        told, archive = json.loads(lines[1].removeprefix("data: "))
        assert [row["structure"] for row in told["structures"]] == ["spleen"]
        assert http.get(f"/file={archive['path']}").content[:2] == b"PK"


@pytest.mark.parametrize(
    ("content", "tasks", "options", "why"),
    [
        (b"a report", ["liver"], {}, "cannot be read as gzip"),
        (nifti(40, (40, 40, 20)), ["livr"], {}, "Did you mean 'liver'"),
        (nifti(40, (40, 40, 20)), [], {}, "no task was asked for"),
        (nifti(40, (40, 40, 20)), ["brain"], {}, "channels"),
        (nifti(40, (40, 40, 20)), ["liver"], {"step": 3}, "must be above 0 and at most 1, not 3"),
    ],
)
def test_what_is_wrong_is_told(
    client: Client, tmp_path: Path, content: bytes, tasks: list[str], options: dict[str, Any], why: str
) -> None:
    (path := tmp_path / "scan.nii.gz").write_bytes(content)
    with pytest.raises(AppError, match=why):
        asked(client, path, tasks=tasks, **options)


def test_of_two_series_one_is_named(client: Client, tmp_path: Path) -> None:
    slices = {f"{series}-{k}.dcm": slice_of(k, series) for series, n in (("1", 4), ("2", 6)) for k in range(n)}
    (path := tmp_path / "study.zip").write_bytes(zipped(slices))
    with pytest.raises(AppError, match="there are 2 series") as caught:
        asked(client, path, tasks=["spleen"])
    uid = str(caught.value).split("; ")[1].split(" ")[0]
    told, _ = asked(client, path, tasks=["spleen"], series=uid)
    assert told["record"]["image"]["shape"] == [6, 3, 5]


def test_files_of_the_server_are_not_to_be_had(server: Server) -> None:
    with httpx.Client(base_url=f"{server.url}gradio_api", timeout=60) as http:
        file = {"path": str(Path(__file__)), "meta": {"_type": "gradio.FileData"}}
        number = http.post("/call/segment", json={"data": [[file], ["spleen"], "", "auto", 0.5]}).json()["event_id"]
        assert http.get(f"/call/segment/{number}").text.startswith("event: error")


def test_who_leaves_takes_everything_along(server: Server, tmp_path: Path) -> None:
    (path := tmp_path / "mine.nii.gz").write_bytes(nifti(40, (40, 40, 20)))
    client = Client(server.url, verbose=False, download_files=tmp_path, httpx_kwargs={"timeout": 60})
    before = server.visits
    asked(client, path, tasks=["spleen"])
    (folder,) = server.visits - before
    client.close()
    until(lambda: not folder.exists(), "the private folder was removed")
    assert server.files("mine.nii.gz") == []
