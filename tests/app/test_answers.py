"""What people take away: tables, folders, zip files, surfaces."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from orientations import ORIENTATIONS, oriented_affine
from tiny import ct_volume, tiny_checkpoint

from uniseg_app.answers import as_csv, save_answers, structure_rows, zipped
from uniseg_app.meshes import save_meshes, surface
from uniseg_model.errors import OptionError
from uniseg_model.io import read_labels, read_volume
from uniseg_model.predictor import Options, Predictor
from uniseg_model.segmentation import Segmentation
from uniseg_model.tasks import builtin_tasks

TASKS = ["liver", "spleen"]


@pytest.fixture(scope="module")
def answers() -> list[Segmentation]:
    volume = ct_volume(np.random.default_rng(20230401))
    return Predictor(tiny_checkpoint(), device="cpu").open(volume).segment(TASKS, Options(confidence=True))


def test_each_structure_has_a_row_with_its_numbers(answers: list[Segmentation]) -> None:
    rows = list(structure_rows(answers))
    assert [(row.task, row.structure) for row in rows] == [("liver", "liver"), ("liver", "liver tumour"), ("spleen", "spleen")]
    assert [row.volume_ml for row in rows] == [*answers[0].volumes_ml().values(), *answers[1].volumes_ml().values()]
    table = list(csv.DictReader(io.StringIO(as_csv(structure_rows(answers)))))
    assert [float(line["volume_ml"]) for line in table] == [row.volume_ml for row in rows]
    assert table[0]["color"].startswith("#")


def test_a_folder_holds_labels_map_table_and_record(answers: list[Segmentation], tmp_path: Path) -> None:
    files = save_answers(tmp_path / "out", answers, builtin_tasks())
    assert [path.name for path in files] == [
        "liver.json", "liver.nii.gz", "merged.json", "merged.nii.gz", "run.json", "spleen.json", "spleen.nii.gz", "volumes.csv",
    ]  # fmt: skip
    labels, affine = read_labels(tmp_path / "out" / "spleen.nii.gz")
    np.testing.assert_array_equal(labels, answers[1].labels)
    np.testing.assert_allclose(affine, answers[1].volume.affine)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["tasks"][0]["key"] == "liver"


def test_one_task_has_no_map_of_all(answers: list[Segmentation], tmp_path: Path) -> None:
    assert not [path for path in save_answers(tmp_path, answers[:1], builtin_tasks()) if path.name.startswith("merged")]


def test_a_zip_file_holds_the_same_bytes(answers: list[Segmentation], tmp_path: Path) -> None:
    files = save_answers(tmp_path / "out", answers, builtin_tasks())
    with zipfile.ZipFile(zipped(files, tmp_path / "all.zip")) as archive:
        assert sorted(archive.namelist()) == sorted(path.name for path in files)
        assert all(archive.read(path.name) == path.read_bytes() for path in files)


@pytest.mark.parametrize("code", ORIENTATIONS)
def test_a_box_has_its_size_in_its_place_and_looks_outwards(code: str) -> None:
    """4 x 6 x 8 voxels of 3 x 2 x 1 mm from (2, 3, 4) on: the volume inside is positive only when triangles look outwards."""
    mask = np.zeros((10, 12, 16), bool)
    mask[2:6, 3:9, 4:12] = True
    affine = oriented_affine(code, (3.0, 2.0, 1.0))
    vertices, triangles = surface(mask, affine)
    half = 0.5  # the surface runs half a voxel outside the middles
    corners = np.array([[2 - half, 3 - half, 4 - half, 1], [5 + half, 8 + half, 11 + half, 1]]) @ affine.T
    np.testing.assert_allclose(vertices.min(axis=0), corners[:, :3].min(axis=0), atol=1e-4)
    np.testing.assert_allclose(vertices.max(axis=0), corners[:, :3].max(axis=0), atol=1e-4)
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    volume = float((a * np.cross(b, c)).sum() / 6)
    assert 0.85 * 1152 < volume < 1152  # the edges are cut


def test_a_structure_at_the_face_is_closed() -> None:
    vertices, triangles = surface(np.ones((3, 3, 3), bool), np.eye(4))
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
    assert len(vertices)


def test_large_masks_are_thinned_in_place() -> None:
    mask = np.zeros((600, 4, 4), bool)
    mask[300:330] = True
    vertices, _ = surface(mask, np.eye(4))
    assert (vertices[:, 0].min(), vertices[:, 0].max()) == (299.5, 329.5)


@pytest.mark.parametrize("kind", ["glb", "stl"])
def test_surfaces_can_be_read_again(answers: list[Segmentation], tmp_path: Path, kind: str) -> None:
    trimesh = pytest.importorskip("trimesh", reason="surfaces need the web extra")
    save_meshes(answers, tmp_path / f"all.{kind}")
    found = trimesh.load_scene(tmp_path / f"all.{kind}")
    wanted = [surface(answer.mask(label.name), answer.volume.affine)[1] for answer in answers for label in answer.task.labels]
    assert sum(len(mesh.faces) for mesh in found.geometry.values()) == sum(map(len, wanted))


def test_surfaces_of_nothing_and_of_another_kind_are_refused(answers: list[Segmentation], tmp_path: Path) -> None:
    pytest.importorskip("trimesh", reason="surfaces need the web extra")
    with pytest.raises(OptionError, match=r"written as \.glb or \.stl, not as all\.obj"):
        save_meshes(answers, tmp_path / "all.obj")
    with pytest.raises(OptionError, match="no structure was found"):
        save_meshes([], tmp_path / "all.glb")


@pytest.mark.parametrize("lost", [False, True])
def test_labels_of_a_dicom_series_come_as_dicom_too_or_with_the_reason_why_not(lost: bool, tmp_path: Path) -> None:
    from dicom_series import write_series

    write_series(tmp_path / "ct", FrameOfReferenceUID="" if lost else "1.2.3")
    answers = Predictor(tiny_checkpoint(), device="cpu").open(read_volume(tmp_path / "ct")).segment(TASKS)
    names = {path.name for path in save_answers(tmp_path / "out", answers, builtin_tasks())}
    if lost:
        assert "has no FrameOfReferenceUID" in (tmp_path / "out" / "no-dicom-seg.txt").read_text()
        assert not any(name.endswith(".dcm") for name in names)
    else:
        assert {"liver.dcm", "spleen.dcm", "liver.nii.gz"} <= names
        assert "no-dicom-seg.txt" not in names
