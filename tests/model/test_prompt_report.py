"""The page and the files about prompts: every number is in them, nothing from outside can run in them or is asked for."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from orientations import ORIENTATIONS, oriented_affine
from tiny import ct_volume, tiny_checkpoint

from uniseg_model import DISCLAIMER
from uniseg_model.files import file_sha256, is_sealed
from uniseg_model.predictor import Predictor, describe_weights
from uniseg_model.prompts.charts import View, matrix_table, plane_plot, stack
from uniseg_model.prompts.colors import DIVERGING, VIRIDIS, hex_of, ink_on, painted
from uniseg_model.prompts.inspection import Inspection, matrix_csv
from uniseg_model.prompts.learned import learned_prompts
from uniseg_model.prompts.report import render_html
from uniseg_model.prompts.similarity import cluster, project
from uniseg_model.volume import Source, Volume

HOSTILE = "<script>alert('x')</script> & \"b\""
VOID = {"meta", "img", "input", "line", "circle", "polyline"}


class Page(HTMLParser):
    """What a browser would see: tags that balance, their attributes, and the text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(source)
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data

    def all(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        return [a for name, a in self.tags if name == tag and all(a.get(k.rstrip("_")) == v for k, v in wanted.items())]


@pytest.fixture(scope="module")
def inspection() -> Inspection:
    model = Predictor(tiny_checkpoint(), device="cpu")
    volume = ct_volume(np.random.default_rng(20230407))
    named = Volume(volume.array, volume.affine, Source((f"{HOSTILE}.nii.gz",)))
    maps = model.open(named).prompt_maps(["liver", "colon", "spleen", "vertebrae"])
    return Inspection(describe_weights(model.checkpoint), learned_prompts(model.checkpoint), tuple(maps))


def test_the_page_is_whole_and_asks_for_nothing_from_elsewhere(inspection: Inspection) -> None:
    source = render_html(inspection)
    page = Page(source)
    assert not re.search(r"https?:|//[a-z]", re.sub(r"data:image/png;base64,[^\"]*", "", source.replace("// What", "")))
    assert all(img["src"].startswith("data:image/png;base64,") for img in page.all("img"))  # type: ignore[union-attr]
    assert not page.all("link")
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert page.words.count(DISCLAIMER) >= 2


def test_the_only_script_is_the_pages_own(inspection: Inspection) -> None:
    source = render_html(inspection)
    [script] = re.findall(r"<script>(.*?)</script>", source, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    [policy] = [meta["content"] for meta in Page(source).all("meta") if "http-equiv" in meta]
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    assert HOSTILE not in source
    assert "&lt;script&gt;alert" in source


def test_the_same_prompts_give_the_same_bytes(inspection: Inspection) -> None:
    assert render_html(inspection) == render_html(inspection)


def test_matrices_hold_every_pair_in_the_trees_order(inspection: Inspection) -> None:
    learned = inspection.learned
    matrix, tree = learned.similarity(), learned.tree()
    names = [task.key for task in learned.tasks]
    page = Page(matrix_table(names, matrix, tree, "t"))
    cells = page.all("td")
    said = [cell["data-said"] for cell in cells if "data-said" in cell]
    assert said == [f"{names[i]} and {names[j]}: {matrix[i, j]:.3f}" for i in tree.order for j in tree.order]
    assert len(page.all("polyline")) == 10
    assert len(page.all("th", scope="row")) == 11


def test_one_task_alone_has_a_page_too(rng: np.random.Generator) -> None:
    model = Predictor(tiny_checkpoint(), device="cpu")
    maps = model.open(ct_volume(rng)).prompt_maps(["liver"])
    Page(render_html(Inspection(describe_weights(model.checkpoint), learned_prompts(model.checkpoint, ["liver"]), tuple(maps))))


def test_a_stack_carries_its_values_and_where_its_cells_are() -> None:
    values = np.array([[[0.12345, np.nan]], [[1, -2]]])
    [slices] = Page(stack("liver", painted(values, -2, 1, VIRIDIS), (4, 2), values)).all("div")
    assert json.loads(slices["data-values"] or "") == [0.123, None, 1.0, -2.0]
    assert json.loads(slices["data-shape"] or "") == [2, 1, 2]
    assert "aspect-ratio:8 / 2" in (slices["style"] or "")
    assert slices["tabindex"] == "0"


def test_colours_by_hand() -> None:
    rgb = painted(np.array([-1.0, 0, 1, 5, np.nan]), -1, 1, DIVERGING)
    assert [hex_of(one) for one in rgb] == ["#2166ac", "#f7f7f7", "#b35806", "#b35806", "#7f7f7f"]
    assert [ink_on(one) for one in rgb[:2]] == ["#fff", "#000"]


def test_letters_can_be_read_on_every_colour_of_the_matrix() -> None:
    """Contrast of at least 4.5 to 1 (WCAG AA) for what is printed in cells."""

    def luminance(rgb: np.ndarray) -> float:
        share = rgb / 255
        linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for rgb in painted(np.linspace(-1, 1, 201), -1, 1, DIVERGING):
        light = luminance(rgb.astype(float))
        ink = 0.0 if ink_on(rgb) == "#000" else 1.0
        assert (max(light, ink) + 0.05) / (min(light, ink) + 0.05) >= 4.5


@pytest.mark.parametrize("code", ORIENTATIONS[::7])
def test_the_view_knows_where_its_cells_lie(code: str) -> None:
    affine = oriented_affine(code, (4.0, 2.0, 3.0))
    view = View.of(affine, (3, 4, 5))
    places = np.stack(np.meshgrid(*map(np.arange, (3, 4, 5)), indexing="ij"), axis=-1)
    world = places @ affine[:3, :3].T + affine[:3, 3]
    for axis in range(3):
        shown = view.slices(world[..., axis])
        for index in [(0, 0, 0), tuple(n - 1 for n in shown.shape)]:
            assert shown[index] == pytest.approx((view.affine @ [*index, 1])[axis])
    assert (view.affine[1, 1], view.affine[0, 2]) < (0, 0)  # rows run to the back, columns to the left


def test_names_of_points_do_not_lie_on_each_other() -> None:
    prompts = np.array([[0.0, 0], [0.01, 0], [5, 0], [0, 3]]).reshape(4, 1, 1, 2)
    page = Page(plane_plot(list("abcd"), project(prompts), "t"))
    heights = [(float(t["x"] or 0), float(t["y"] or 0)) for t in page.all("text")]
    near = [(a, b) for a in heights for b in heights if a < b and abs(a[0] - b[0]) < 80]
    assert all(abs(a[1] - b[1]) >= 13 for a, b in near)


def test_csv_holds_the_matrix(inspection: Inspection) -> None:
    [head, *rows] = csv.reader(matrix_csv(inspection.learned, "cosine").splitlines())
    assert head == ["task", *(task.key for task in inspection.learned.tasks)]
    assert [row[0] for row in rows] == head[1:]
    np.testing.assert_allclose(
        [[float(v) for v in row[1:]] for row in rows], inspection.learned.similarity("cosine"), atol=1e-8
    )


def test_files_are_sealed_and_know_each_other(inspection: Inspection, tmp_path: Path) -> None:
    inspection.write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(inspection.files())
    facts = json.loads((tmp_path / "prompts.json").read_text())
    assert is_sealed(tmp_path / "prompts.json")
    assert facts["files_sha256"] == {n: file_sha256(tmp_path / n) for n in inspection.files() if n != "prompts.json"}
    assert facts["weights"]["sha256"] == inspection.weights["sha256"]
    assert facts["image1"]["tasks"] == ["liver", "colon", "spleen"]
    assert facts["image2"]["tasks"] == ["vertebrae"]
    first = inspection.maps[0]
    written = nib.load(tmp_path / "spleen_prompt.nii.gz")
    np.testing.assert_allclose(written.affine[:, [2, 1, 0, 3]], facts["image1"]["affine_zyx"], atol=1e-4)
    assert np.array_equal(np.asarray(written.dataobj).T, first.of("spleen"))


def test_the_learned_matrix_alone_has_a_tree(inspection: Inspection) -> None:
    facts = inspection.learned.to_dict()["similarity"]["correlation"]
    assert facts["order"] == list(cluster(np.array(facts["matrix"])).order)
