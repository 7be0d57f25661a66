"""The table and the page: every case and structure is in them, nothing from outside can run in them."""

from __future__ import annotations

import base64
import csv
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from uniseg_model import DISCLAIMER
from uniseg_model.errors import FileFormatError, OutputError
from uniseg_model.evaluation import METRICS, Evaluation, check_images, evaluate_folders, write_csv, write_html
from uniseg_model.evaluation.charts import Scale, box_plot
from uniseg_model.evaluation.worst import draw_worst
from uniseg_model.tasks import builtin_tasks

LIVER = builtin_tasks()["liver"]
DICE = METRICS[0]
HOSTILE = "<script>alert('x')</script> & \"b\""
VOID = {"meta", "img"}  # tags that nothing closes


def save(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values.T, np.diag([1.0, 1.0, 2.0, 1.0])), path)


def liver(first: int = 2, *, tumour: bool = False) -> np.ndarray:
    """(Z, Y, X): a liver of 4 slices from ``first`` on, and a tumour."""
    values = np.zeros((10, 12, 12), dtype=np.uint8)
    values[first : first + 4, 2:8, 2:8] = 1
    if tumour:
        values[4:6, 9:11, 9:11] = 2
    return values


@pytest.fixture
def compare(tmp_path: Path) -> Callable[[dict[str, tuple[np.ndarray | None, np.ndarray]]], Evaluation]:
    """Write pairs of prediction and reference by case, and compare them."""

    def run(pairs: dict[str, tuple[np.ndarray | None, np.ndarray]]) -> Evaluation:
        for case, (prediction, reference) in pairs.items():
            save(tmp_path / "references" / f"{case}.nii.gz", reference)
            if prediction is not None:
                save(tmp_path / "predictions" / f"{case}.nii.gz", prediction)
        return evaluate_folders(tmp_path / "predictions", tmp_path / "references", LIVER)

    return run


@pytest.fixture
def five(compare: Callable[..., Evaluation]) -> Evaluation:
    """a is perfect and has no tumour, b to d are off by one to three slices and d misses its tumour; e has no prediction."""
    return compare({
        "a": (liver(), liver()),
        "b": (liver(3, tumour=True), liver(tumour=True)),
        "c": (liver(4, tumour=True), liver(tumour=True)),
        "d": (liver(5), liver(tumour=True)),
        "e": (None, liver()),
    })


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

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += f"{data}\n"

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def page(five: Evaluation, tmp_path: Path) -> Page:
    write_html(tmp_path / "page.html", five)
    return Page((tmp_path / "page.html").read_text(encoding="utf-8"))


def test_the_table_comes_back_as_it_was(five: Evaluation, tmp_path: Path) -> None:
    write_csv(tmp_path / "scores.csv", five)
    with (tmp_path / "scores.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["structure"]) for row in rows] == [
        (case, name) for case in "abcde" for name in ("liver", "liver tumour")
    ]
    for row in rows[:-2]:
        scores = next(case for case in five.cases if case.case == row["case"]).structures[row["structure"]]
        assert {name: float(row[name]) for name in vars(scores)} == pytest.approx(vars(scores), nan_ok=True, abs=0)
        assert (row["tolerance_mm"], row["note"]) == ("2.0", "")
    assert math.isnan(float(rows[1]["hd95_mm"]))
    assert math.isinf(float(rows[7]["hd95_mm"]))


def test_what_was_not_compared_has_a_note_in_the_table(five: Evaluation, tmp_path: Path) -> None:
    write_csv(tmp_path / "scores.csv", five)
    assert (tmp_path / "scores.csv").read_text().splitlines()[-1] == "e,liver tumour,,,,,,,,no prediction"


def test_a_comma_or_a_line_break_in_a_name_stays_in_its_cell(compare: Callable[..., Evaluation], tmp_path: Path) -> None:
    write_csv(tmp_path / "scores.csv", compare({'a,"b"\nc': (liver(), liver())}))
    with (tmp_path / "scores.csv").open(encoding="utf-8", newline="") as file:
        assert next(csv.DictReader(file))["case"] == 'a,"b"\nc'


def test_every_case_and_structure_is_on_the_page(page: Page) -> None:
    for words in (
        "liver tumour",
        "e: no prediction",
        "4 of 5 references",
        "Surface Dice at 2 mm",
        "Volume error (%)",
        DISCLAIMER,
    ):
        assert words in page.words
    rows = [attributes for attributes in page.attributes("th") if attributes.get("scope") == "row"]
    assert len(rows) == 2 * 4 + 4 * 2  # the means of two structures, the scores of four cases
    titles = re.findall(r"\b([a-e]): (?:\d|infinite)", page.words)
    assert sorted(set(titles)) == ["a", "b", "c", "d"]
    assert all(attributes.get("scope") for attributes in page.attributes("th"))


def test_the_page_needs_nothing_else(page: Page) -> None:
    assert not page.attributes("script")
    assert not page.attributes("link")
    assert all(str(image["src"]).startswith("data:image/png;base64,") for image in page.attributes("img"))
    assert any("default-src 'none'" in str(meta.get("content")) for meta in page.attributes("meta"))


def test_pictures_and_plots_are_told_in_words(page: Page) -> None:
    alts = [str(image["alt"]) for image in page.attributes("img")]
    assert alts[0] == ("liver of case d, axial slice 3 of 10: 0 voxels in both, 36 only in the reference, "
                       "0 only in the prediction")  # fmt: skip
    plots = [str(svg["aria-label"]) for svg in page.attributes("svg") if svg.get("role") == "img"]
    assert len(plots) == 4
    assert "HD95 (mm). liver: 4 cases, median 3, from 0 to 6. liver tumour: 2 cases" in plots[1]
    assert plots[1].endswith("1 infinite.")


def test_the_same_evaluation_gives_the_same_bytes(five: Evaluation, tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        write_html(tmp_path / name, five)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["a.html", "b.html"]


def test_names_from_outside_are_escaped(compare: Callable[..., Evaluation], tmp_path: Path) -> None:
    hostile = HOSTILE.replace("/", "")  # no file is called that
    write_html(tmp_path / "page.html", compare({hostile: (liver(3), liver()), "<b>missing": (None, liver())}))
    source = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script" not in source
    assert "<b>" not in source
    page = Page(source)
    assert hostile in page.words
    assert "<b>missing: no prediction" in page.words
    assert any(hostile in str(image["alt"]) for image in page.attributes("img"))


def test_a_name_that_is_no_valid_text_can_be_written(compare: Callable[..., Evaluation], tmp_path: Path) -> None:
    result = compare({"caf\udce9": (liver(3), liver())})
    write_html(tmp_path / "page.html", result)
    write_csv(tmp_path / "scores.csv", result)
    assert "caf\\udce9" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "caf\\udce9" in (tmp_path / "scores.csv").read_text(encoding="utf-8")


def test_a_place_that_cannot_be_written_is_named(five: Evaluation, tmp_path: Path) -> None:
    for write in (write_csv, write_html):
        with pytest.raises(OutputError, match="nowhere"):
            write(tmp_path / "nowhere" / "report", five)


def test_the_three_lowest_dice_are_drawn_worst_first(five: Evaluation) -> None:
    worst = draw_worst(five)
    assert [w.case.case for w in worst["liver"]] == ["d", "c", "b"]  # a is perfect
    assert [w.case.case for w in worst["liver tumour"]] == ["d"]
    assert {w.note for w in worst["liver"]} == {""}


def test_all_perfect_means_no_pictures_and_a_page_all_the_same(compare: Callable[..., Evaluation], tmp_path: Path) -> None:
    result = compare({"a": (liver(), liver())})
    write_html(tmp_path / "page.html", result)
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert page.words.count("No case shows a difference.") == 2
    assert page.words.count("No case has a number here.") == 0  # the liver has one


def test_an_evaluation_of_failures_only_has_a_page(compare: Callable[..., Evaluation], tmp_path: Path) -> None:
    result = compare({"a": (liver()[1:], liver())})
    write_html(tmp_path / "page.html", result)
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "a: the prediction has" in page.words
    assert page.words.count("No case has a number here.") == 4


def test_the_image_of_a_case_lies_behind_its_picture(five: Evaluation, tmp_path: Path) -> None:
    save(tmp_path / "images" / "d_0000.nii.gz", np.full((10, 12, 12), 30000, np.int16))  # white in any window
    save(tmp_path / "images" / "c_0000.nii", np.ones((9, 12, 12), np.int16))
    d, c, b = draw_worst(five, tmp_path / "images")["liver"]
    assert (d.note, b.note) == ("", "there is no image b_0000.nii.gz")
    assert c.note.startswith("the image has (9, 12, 12) voxels (z, y, x)")
    centre = d.picture.pixels.shape[0] // 2
    assert tuple(d.picture.pixels[centre - 40, centre]) == (255, 255, 255)
    write_html(tmp_path / "page.html", five, tmp_path / "images")
    assert "Without image: there is no image b_0000.nii.gz." in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_the_pictures_of_the_page_are_those_drawn(five: Evaluation, page: Page) -> None:
    from uniseg_model.evaluation.pictures import encode_png

    source = str(page.attributes("img")[0]["src"])
    assert base64.b64decode(source.partition(",")[2]) == encode_png(draw_worst(five)["liver"][0].picture.pixels)


@pytest.mark.parametrize("folder", ["nowhere", "empty"])
def test_a_folder_without_images_is_refused(folder: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileFormatError, match=rf"{folder} is no folder with images named CASE_0000.* imagesTr"):
        check_images(tmp_path / folder)


@pytest.mark.parametrize(("values", "landmark", "ticks", "decimals"), [
    ([0.91, 0.97], 1.0, [0.90, 0.92, 0.94, 0.96, 0.98, 1.00], 2),
    ([1.0, 1.0], 1.0, [0.9, 1.0], 1),
    ([0.0], 0.0, [0.0, 0.1], 1),
    ([3.0, 8.2, math.inf], 0.0, [0, 2, 4, 6, 8, 10], 0),
    ([-12.0, 35.0], 0.0, [-20, -10, 0, 10, 20, 30, 40], 0),
])  # fmt: skip
def test_ticks_are_round_and_hold_all_values(values: list[float], landmark: float, ticks: list[float], decimals: int) -> None:
    scale = Scale.over(values, landmark)
    assert list(scale.ticks) == pytest.approx(ticks)
    assert (scale.decimals, scale.has_infinite) == (decimals, math.inf in values)
    places = [scale.place(value) for value in sorted([*values, *ticks])]
    assert places == sorted(places)
    assert 0 < places[0] < places[-1] < 100


def test_a_box_stands_at_the_quartiles(five: Evaluation) -> None:
    dice = [1.0, 0.75, 0.5, 0.25]  # of four slices each further one is lost
    box = re.search(r'<rect class="box" x="([\d.]+)%" y="\d+" width="([\d.]+)%"', box_plot(five, DICE))
    assert box is not None
    assert list(five.values_of("liver", "dice").values()) == dice
    scale = Scale.over([*dice, *five.values_of("liver tumour", "dice").values()], 1.0)
    low, high = scale.place(0.4375), scale.place(0.8125)
    assert [float(number) for number in box.groups()] == pytest.approx([low, high - low], abs=0.01)
