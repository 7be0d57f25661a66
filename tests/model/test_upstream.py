"""Import of the published data sets, from made-up folders with their structure and names."""

from __future__ import annotations

import json
import pickle
import shutil
from collections import OrderedDict
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from uniseg_model.dataset import check_description
from uniseg_model.errors import FileFormatError, OptionError, OutputError, TaskError
from uniseg_model.io import read_labels, read_volume
from uniseg_model.progress import Cancelled, Progress
from uniseg_model.upstream import UPSTREAM, ImportSummary, import_upstream, task_of
from uniseg_model.upstream.layouts import names_of
from uniseg_model.upstream.plain_pickle import read_plain_pickle
from uniseg_model.upstream.splits import read_splits, split_by

SHAPE = (5, 4, 3)  # x, y, z
LPS = np.diag([-1.5, -1.5, 3.0, 1.0])


def save(path: Path, array: np.ndarray, affine: np.ndarray = LPS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def image(path: Path, first: int = 0, affine: np.ndarray = LPS) -> Path:
    """Every voxel has another value, so that nothing can be exchanged unseen."""
    return save(path, np.arange(first + 1, first + 61, dtype=np.int16).reshape(SHAPE), affine)


def labels(path: Path, *values: int, affine: np.ndarray = LPS, dtype: Any = np.int16) -> Path:
    array = np.zeros(SHAPE, dtype)
    array.flat[: len(values)] = values
    return save(path, array, affine)


def stored(path: Path) -> list[int]:
    """Values of a label file in the order in which :func:`labels` was given them."""
    return [int(value) for value in np.asarray(nib.load(path).dataobj).flat]


# ---- one case of each set: where it lies, and what becomes of its labels -------------------------------------------------

DECATHLON = [
    ("liver", "0Liver", "liver_7"),
    ("kidney", "1Kidney", "kidney_7"),
    ("hepatic_vessel", "Task08_HepaticVessel", "hepaticvessel_007"),
    ("pancreas", "3Pancreas", "pancreas_007"),
    ("colon", "4Colon", "colon_007"),
    ("lung", "5Lung", "lung_007"),
    ("spleen", "6Spleen", "spleen_7"),
]
# set, files of the channels in the task's order, file of the labels, case, label values as stored and as they become
OTHERS = [
    ("liver", ["Training Batch 1/volume-7.nii"], "Training Batch 1/segmentation-7.nii", "liver_7", [0, 1, 2], [0, 1, 2]),
    ("liver", ["0Liver/imagesTr/liver_7_0000.nii.gz"], "0Liver/labelsTr/liver_7.nii.gz", "liver_7", [2, 0, 1], [2, 0, 1]),
    ("kidney", ["1Kidney/origin/case_00000/imaging.nii.gz"], "1Kidney/origin/case_00000/segmentation.nii.gz", "kidney_0", [1, 2, 0], [1, 2, 0]),
    ("kidney", ["kits19/data/case_00209/imaging.nii.gz"], "kits19/data/case_00209/segmentation.nii.gz", "kidney_209", [1, 2, 0], [1, 2, 0]),
    ("vertebrae", ["dataset-01training/rawdata/sub-verse500/sub-verse500_dir-ax_ct.nii.gz"],
     "dataset-01training/derivatives/sub-verse500/sub-verse500_dir-ax_seg-vert_msk.nii.gz", "sub-verse500", [0, 1, 19, 28], [0, 1, 1, 1]),
    ("prostate", ["Processed_data_nii/BMC/Case00.nii.gz"], "Processed_data_nii/BMC/Case00_segmentation.nii.gz", "prostate_12", [0, 1, 2], [0, 1, 1]),
    ("prostate", ["RUNMC/Case03.nii.gz"], "RUNMC/Case03_Segmentation.nii.gz", "prostate_73", [0, 1, 2], [0, 1, 1]),
    ("brain", [f"BraTS2021_00002/BraTS2021_00002_{c}.nii.gz" for c in ("t1", "t1ce", "t2", "flair")],
     "BraTS2021_00002/BraTS2021_00002_seg.nii.gz", "BraTS2021_00002", [0, 1, 2, 4], [0, 2, 1, 3]),
    ("whole_body", [f"FDG-PET-CT-Lesions/PETCT_0011f3deaf/03-23-2003-NA-PET-CT x/{c}.nii.gz" for c in ("CTres", "SUV")],
     "FDG-PET-CT-Lesions/PETCT_0011f3deaf/03-23-2003-NA-PET-CT x/SEG.nii.gz", "PETCT_0011f3deaf_0", [0, 1], [0, 1]),
    ("btcv", ["RawData/Training/img/img0001.nii.gz"], "RawData/Training/label/label0001.nii.gz", "bcv_1", [0, 1, 13], [0, 1, 13]),
    ("btcv", ["RawData/Training/img/img0040.nii.gz"], "RawData/Training/label/label0040.nii.gz", "bcv_40", [0, 1, 13], [0, 1, 13]),
    ("vs", ["VS-SEG-001/vs_gk_t1_refT1.nii.gz"], "VS-SEG-001/vs_gk_seg_refT1.nii.gz", "VS-SEG-001", [0, 1], [0, 1]),
]  # fmt: skip
FORMS = [
    (key, [f"{folder}/imagesTr/{case}.nii.gz"], f"{folder}/labelsTr/{case}.nii.gz", case, [0, 1], [0, 1])
    for key, folder, case in DECATHLON
] + OTHERS


@pytest.mark.parametrize(("key", "images", "answer", "case", "before", "after"), FORMS, ids=lambda value: str(value)[:30])
def test_each_set_is_found_in_its_public_form(
    tmp_path: Path, key: str, images: list[str], answer: str, case: str, before: list[int], after: list[int]
) -> None:
    affine = np.diag([2.0, 2, 3, 1])  # RAS, so that no set turns it
    for number, name in enumerate(images):
        image(tmp_path / "in" / name, 1000 * number, affine)
    labels(tmp_path / "in" / answer, *before, affine=affine)
    found = import_upstream(key, tmp_path / "in", tmp_path / "root")
    assert (found.imported, found.failed, found.is_complete) == ((case,), {}, True)
    folder = tmp_path / "root" / key
    assert sorted(p.name for p in folder.glob("imagesTr/*")) == [f"{case}_{n:04d}.nii.gz" for n in range(len(images))]
    for number, name in enumerate(images):
        written, given = nib.load(folder / "imagesTr" / f"{case}_{number:04d}.nii.gz"), nib.load(tmp_path / "in" / name)
        assert np.array_equal(written.dataobj, given.dataobj)
        assert np.array_equal(written.affine, given.affine)
    path = folder / "labelsTr" / f"{case}.nii.gz"
    assert stored(path)[: len(after)] == after
    assert nib.load(path).get_data_dtype() == np.uint8
    check_description(folder, task_of(key))
    assert json.loads((folder / "sources.json").read_text())["cases"][case].endswith(Path(images[0]).name)


def test_images_are_copied_byte_for_byte(tmp_path: Path) -> None:
    given = image(tmp_path / "in/imagesTr/lung_001.nii.gz")
    labels(tmp_path / "in/labelsTr/lung_001.nii.gz", 1)
    import_upstream("lung", tmp_path / "in", tmp_path / "root")
    assert (tmp_path / "root/lung/imagesTr/lung_001_0000.nii.gz").read_bytes() == given.read_bytes()


def test_every_set_has_a_task_and_counts_of_the_paper() -> None:
    assert sum(s.n_train for key, s in UPSTREAM.items() if key not in ("btcv", "vs")) == 2582
    assert sum(s.n_val for key, s in UPSTREAM.items() if key not in ("btcv", "vs")) == 655
    assert UPSTREAM["prostate"].n_cases == 116
    for key, data_set in UPSTREAM.items():
        assert {*data_set.values.values()} == set(range(task_of(key).n_classes)), key


def test_vertebrae_are_turned_to_ras(tmp_path: Path) -> None:
    scan = tmp_path / "in/rawdata/sub-gl003/sub-gl003_dir-ax_ct.nii.gz"
    mask = tmp_path / "in/derivatives/sub-gl003/sub-gl003_dir-ax_seg-vert_msk.nii.gz"
    pir = np.array([[0, 0, 2.0, -7], [-1.0, 0, 0, 30], [0, -3.0, 0, 50], [0, 0, 0, 1]])  # x to P, y to I, z to R
    image(scan, affine=pir)
    labels(mask, 20, 21, affine=pir)
    import_upstream("vertebrae", tmp_path / "in", tmp_path / "root")
    written = nib.load(tmp_path / "root/vertebrae/imagesTr/sub-gl003_0000.nii.gz")
    expected = nib.as_closest_canonical(nib.load(scan))
    assert nib.aff2axcodes(written.affine) == ("R", "A", "S")
    assert np.array_equal(written.dataobj, expected.dataobj)
    assert np.allclose(written.affine, expected.affine)
    assert written.get_data_dtype() == np.int16
    answer = nib.load(tmp_path / "root/vertebrae/labelsTr/sub-gl003.nii.gz")
    assert np.array_equal(answer.dataobj, np.minimum(nib.as_closest_canonical(nib.load(mask)).dataobj, 1))
    assert np.allclose(answer.affine, expected.affine)


def test_label_and_image_of_one_vertebrae_scan_may_be_stored_in_different_orders(tmp_path: Path) -> None:
    ras = np.diag([2.0, 2, 2, 1])
    image(tmp_path / "in/rawdata/sub-a/sub-a_ct.nii.gz", affine=ras)
    mask = np.zeros(SHAPE, np.uint8)
    mask[1, 2, 0] = 5
    flipped = np.array([[-2.0, 0, 0, 8], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]])
    save(tmp_path / "in/derivatives/sub-a/sub-a_seg-vert_msk.nii.gz", mask[::-1], flipped)
    found = import_upstream("vertebrae", tmp_path / "in", tmp_path / "root")
    assert not found.failed
    values, _ = read_labels(tmp_path / "root/vertebrae/labelsTr/sub-a.nii.gz")
    assert [int(i) for i in np.argwhere(values)[0]] == [0, 2, 1]  # z, y, x


def test_whole_body_keeps_only_cases_with_lesions_and_counts_a_patients_studies(tmp_path: Path) -> None:
    for patient, study, lesion in [("aa", "2001", 0), ("aa", "2002", 1), ("bb", "2001", 1)]:
        place = tmp_path / "in" / f"PETCT_{patient}" / study
        image(place / "CTres.nii.gz")
        image(place / "SUV.nii.gz")
        labels(place / "SEG.nii.gz", lesion)
    found = import_upstream("whole_body", tmp_path / "in", tmp_path / "root")
    assert found.imported == ("PETCT_aa_1", "PETCT_bb_0")
    assert found.left_out == ("PETCT_aa_0",)
    assert not (tmp_path / "root/whole_body/labelsTr/PETCT_aa_0.nii.gz").exists()
    split = json.loads((tmp_path / "root/whole_body/splits_final.json").read_text())
    assert sorted(split[0]["train"] + split[0]["val"]) == ["PETCT_aa_1", "PETCT_bb_0"]


def test_downstream_sets_bring_their_task(tmp_path: Path) -> None:
    from uniseg_model.tasks import read_tasks

    image(tmp_path / "in/img/img0001.nii.gz")
    labels(tmp_path / "in/label/label0001.nii.gz", 13)
    import_upstream("btcv", tmp_path / "in", tmp_path / "root")
    [task] = read_tasks(tmp_path / "root/btcv/task.toml")
    assert (task.key, task.labels[12].name) == ("btcv", "left adrenal gland")


# ---- splits ---------------------------------------------------------------------------------------------------------------


def test_every_fifth_liver_is_dodnets_test_list() -> None:
    names = [f"liver_{number}" for number in range(131)]
    published = [0, 102, 107, 111, 116, 120, 125, 13, 17, 21, 26, 30, 35, 4, 44, 49, 53, 58, 62, 67, 71, 76, 80, 85, 9, 94, 99]
    [fold] = split_by(UPSTREAM["liver"].split, names)
    assert set(fold["val"]) == {f"liver_{number}" for number in published}


def test_every_fifth_kidney_is_dodnets_test_list() -> None:
    [fold] = split_by(UPSTREAM["kidney"].split, [f"kidney_{number}" for number in range(210)])
    assert set(fold["val"]) == {f"kidney_{number}" for number in range(0, 210, 5)}


@pytest.mark.parametrize("key", UPSTREAM)
def test_rules_give_the_published_counts(key: str) -> None:
    data_set = UPSTREAM[key]
    names = [f"{key}_{number}" for number in range(data_set.n_cases)]
    if key == "btcv":
        names = [f"bcv_{number}" for number in [*range(1, 11), *range(21, 41)]]
    [fold] = split_by(data_set.split, names)
    assert (len(fold["train"]), len(fold["val"])) == (data_set.n_train, data_set.n_val)
    assert set(fold["train"]).isdisjoint(fold["val"])


def test_prostate_cases_are_counted_through_the_sites() -> None:
    [layout] = UPSTREAM["prostate"].layouts
    paths = [f"{site}/Case{n:02d}.nii.gz" for site, count in [("BIDMC", 12), ("BMC", 30), ("HK", 12)] for n in range(count)]
    found = [(layout, match) for path in paths if (match := layout.match(path))]
    assert names_of(UPSTREAM["prostate"], found) == [f"prostate_{n}" for n in range(54)]


def spleens(folder: Path, *numbers: int) -> Path:
    for number in numbers:
        image(folder / f"imagesTr/spleen_{number}.nii.gz", number)
        labels(folder / f"labelsTr/spleen_{number}.nii.gz", 1)
    return folder


def split_file(path: Path, train: Any, val: Any, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps([OrderedDict(train=train, val=val)], protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("made", [list, np.array, lambda names: np.array(names, object), lambda names: list(np.array(names))])
def test_the_authors_split_file_counts(tmp_path: Path, made: Any, protocol: int) -> None:
    path = split_file(tmp_path / "s.pkl", made(["spleen_2", "liver_1", "spleen_10"]), made(["spleen_3", "x"]), protocol)
    found = import_upstream("spleen", spleens(tmp_path / "in", 2, 3, 4, 10), tmp_path / "root", splits=path)
    written = json.loads((tmp_path / "root/spleen/splits_final.json").read_text())
    assert written == [{"train": ["spleen_2", "spleen_10"], "val": ["spleen_3"]}]
    assert (found.n_train, found.n_val) == (2, 1)
    assert "1 of 4 cases are in no part of s.pkl and serve for nothing" in found.notes


def test_a_json_split_file_counts_too(tmp_path: Path) -> None:
    path = tmp_path / "splits_final.json"
    path.write_text(json.dumps([{"train": ["spleen_2"], "val": ["spleen_3"]}, {"train": ["spleen_3"], "val": ["spleen_2"]}]))
    import_upstream("spleen", spleens(tmp_path / "in", 2, 3), tmp_path / "root", splits=path)
    assert json.loads((tmp_path / "root/spleen/splits_final.json").read_text()) == json.loads(path.read_text())


class Attack:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> Any:
        return Path.touch, (self.proof,)


def test_an_attack_in_a_split_file_is_refused_by_name_and_not_run(tmp_path: Path) -> None:
    path = split_file(tmp_path / "s.pkl", Attack(tmp_path / "proof"), [])
    with pytest.raises(
        FileFormatError, match=r"s\.pkl was refused: it wants to run (pathlib\S*|_?posixpath\S*|builtins\S*|\S+),"
    ):
        read_splits(path)
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize(
    "wanted", ["os.system", "builtins.eval", "numpy.load", "numpy._core.multiarray.fromfile", "copyreg._reconstructor"]
)
def test_only_stand_ins_are_given_to_a_pickle(tmp_path: Path, wanted: str) -> None:
    module, _, name = wanted.rpartition(".")
    (tmp_path / "s.pkl").write_bytes(f"c{module}\n{name}\n(S'x'\ntR.".encode())
    with pytest.raises(FileFormatError, match=rf"wants to run {wanted}, it may hold only texts"):
        read_splits(tmp_path / "s.pkl")


def test_a_forged_array_never_reaches_numpy(tmp_path: Path) -> None:
    """An object array whose elements are raw bytes: numpy would take them for pointers."""
    array = b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntC\x01btR"
    kind = b"cnumpy\ndtype\n(S'O8'\nI00\nI01\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntb"
    state = b"(I1\n(I1\nt" + kind + b"I00\nC\x08AAAAAAAAtb"
    (tmp_path / "s.pkl").write_bytes(array + state + b".")
    with pytest.raises(FileFormatError, match=r"s\.pkl was refused: an array of 'O8' stands where texts are expected"):
        read_splits(tmp_path / "s.pkl")


@pytest.mark.parametrize(
    "content", [b"", b"no pickle", pickle.dumps({"a": 1}), pickle.dumps([]), pickle.dumps([{"train": [1], "val": []}])]
)
def test_what_is_no_split_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s.pkl").write_bytes(content)
    with pytest.raises(FileFormatError, match=r"s\.pkl is (damaged or no pickle|not a split file)"):
        read_splits(tmp_path / "s.pkl")


def test_another_sets_split_file_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = split_file(tmp_path / "s.pkl", ["liver_1"], [])
    with pytest.raises(FileFormatError, match=r"s\.pkl does not name spleen_2 but liver_1, nor any other of the 1 cases"):
        import_upstream("spleen", spleens(tmp_path / "in", 2), tmp_path / "root", splits=path)
    assert not (tmp_path / "root").exists()


def test_a_split_file_once_named_must_be_named_again(tmp_path: Path) -> None:
    path = split_file(tmp_path / "s.pkl", ["spleen_2"], ["spleen_3"])
    import_upstream("spleen", spleens(tmp_path / "in", 2, 3), tmp_path / "root", splits=path)
    with pytest.raises(OptionError, match=r"was split as in s\.pkl, now no split file is named"):
        import_upstream("spleen", tmp_path / "in", tmp_path / "root")


def test_counts_that_differ_are_told_not_refused(tmp_path: Path) -> None:
    found = import_upstream("spleen", spleens(tmp_path / "in", 2), tmp_path / "root")
    assert any(note.startswith("1 cases, the authors of UniSeg had 41") for note in found.notes)
    assert any("not necessarily as the authors split" in note for note in found.notes)
    assert any("one part of the split is empty: 0 training and 1 validation" in note for note in found.notes)


# ---- again, in parts, interrupted -----------------------------------------------------------------------------------------


def test_a_second_run_only_adds_what_is_missing(tmp_path: Path) -> None:
    import_upstream("spleen", spleens(tmp_path / "in", 2, 3), tmp_path / "root")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "root").rglob("*.nii.gz")}
    spleens(tmp_path / "in", 4)
    found = import_upstream("spleen", tmp_path / "in", tmp_path / "root")
    assert (found.imported, found.already) == (("spleen_4",), ("spleen_2", "spleen_3"))
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert json.loads((tmp_path / "root/spleen/dataset.json").read_text())["numTraining"] == 3


def test_a_set_may_come_in_several_downloads_and_move_between(tmp_path: Path) -> None:
    import_upstream("spleen", spleens(tmp_path / "one", 2, 3), tmp_path / "root")
    found = import_upstream("spleen", spleens(tmp_path / "two", 4), tmp_path / "root")
    assert found.n_train + found.n_val == 3
    shutil.move(tmp_path / "one", tmp_path / "elsewhere")
    assert import_upstream("spleen", tmp_path / "elsewhere", tmp_path / "root").already == ("spleen_2", "spleen_3")


def test_the_root_may_lie_inside_the_download(tmp_path: Path) -> None:
    spleens(tmp_path / "6Spleen", 2)
    import_upstream("spleen", tmp_path, tmp_path)
    assert import_upstream("spleen", tmp_path, tmp_path).already == ("spleen_2",)


def test_cancelling_keeps_the_cases_so_far(tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.done == 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        import_upstream("spleen", spleens(tmp_path / "in", 2, 3), tmp_path / "root", progress=stop)
    assert json.loads((tmp_path / "root/spleen/dataset.json").read_text())["numTraining"] == 1
    assert not list((tmp_path / "root").rglob(".*"))
    assert import_upstream("spleen", tmp_path / "in", tmp_path / "root").imported == ("spleen_3",)


def test_a_case_of_another_file_is_not_taken_for_the_same(tmp_path: Path) -> None:
    for number in (0, 1):
        image(tmp_path / f"in/HK/Case0{number}.nii.gz")
        labels(tmp_path / f"in/HK/Case0{number}_segmentation.nii.gz", 1)
    import_upstream("prostate", tmp_path / "in", tmp_path / "root")
    (tmp_path / "in/HK/Case00.nii.gz").unlink()
    with pytest.raises(OutputError, match=r"prostate_42 in .* came from HK/Case00.nii.gz, here it would be HK/Case01.nii.gz"):
        import_upstream("prostate", tmp_path / "in", tmp_path / "root")


# ---- what goes wrong ------------------------------------------------------------------------------------------------------


def failing(tmp_path: Path, key: str = "spleen") -> ImportSummary:
    """The summary of an import in which spleen_2 is good and must stay so."""
    found = import_upstream(key, spleens(tmp_path / "in", 2), tmp_path / "root")
    assert found.imported == ("spleen_2",)
    assert not found.is_complete
    assert [path.name for path in (tmp_path / "root/spleen/labelsTr").iterdir()] == ["spleen_2.nii.gz"]
    return found


def test_an_image_without_labels_fails_and_the_others_go_on(tmp_path: Path) -> None:
    image(tmp_path / "in/imagesTr/spleen_3.nii.gz")
    assert "spleen_3.nii.gz has no labels: there is no file" in failing(tmp_path).failed["spleen_3"]


def test_labels_of_another_grid_fail(tmp_path: Path) -> None:
    image(tmp_path / "in/imagesTr/spleen_3.nii.gz")
    labels(tmp_path / "in/labelsTr/spleen_3.nii.gz", 1, affine=np.diag([-1.5, -1.5, 5.0, 1]))
    image(tmp_path / "in/imagesTr/spleen_4.nii.gz")
    save(tmp_path / "in/labelsTr/spleen_4.nii.gz", np.ones((5, 4, 2), np.uint8), LPS)
    failed = failing(tmp_path).failed
    assert "spleen_3.nii.gz lies 4 mm away from its image" in failed["spleen_3"]
    assert "(2, 4, 5) voxels (z, y, x), its image has (3, 4, 5)" in failed["spleen_4"]


def test_prostate_labels_lie_on_their_image_whatever_their_header_says(tmp_path: Path) -> None:
    image(tmp_path / "in/UCL/Case00.nii.gz")
    labels(tmp_path / "in/UCL/Case00_segmentation.nii.gz", 1, affine=np.diag([1.0, 1, 1, 1]))
    found = import_upstream("prostate", tmp_path / "in", tmp_path / "root")
    assert found.imported == ("prostate_103",)
    _, affine = read_labels(tmp_path / "root/prostate/labelsTr/prostate_103.nii.gz")
    assert np.array_equal(affine, read_volume(tmp_path / "in/UCL/Case00.nii.gz").affine)
    assert any("whatever their own headers say" in note for note in found.notes)


def test_an_unknown_label_value_fails(tmp_path: Path) -> None:
    image(tmp_path / "in/imagesTr/spleen_3.nii.gz")
    labels(tmp_path / "in/labelsTr/spleen_3.nii.gz", 1, 7)
    assert "spleen_3.nii.gz holds the label 7, spleen knows 0, 1" in failing(tmp_path).failed["spleen_3"]


def test_a_truncated_image_fails(tmp_path: Path) -> None:
    spleens(tmp_path / "in", 3)
    path = tmp_path / "in/imagesTr/spleen_3.nii.gz"
    path.write_bytes(path.read_bytes()[:-20])
    assert "spleen_3.nii.gz" in failing(tmp_path).failed["spleen_3"]


def test_a_missing_channel_fails(tmp_path: Path) -> None:
    place = tmp_path / "in/BraTS2021_00000"
    for channel in ("t1", "t1ce", "flair"):
        image(place / f"BraTS2021_00000_{channel}.nii.gz")
    labels(place / "BraTS2021_00000_seg.nii.gz", 4)
    found = import_upstream("brain", tmp_path / "in", tmp_path / "root")
    assert "there is no file or folder" in found.failed["BraTS2021_00000"]
    assert not (tmp_path / "root/brain/splits_final.json").exists()


def test_kits_scans_without_public_labels_are_not_looked_for(tmp_path: Path) -> None:
    for number in (209, 210, 299):
        image(tmp_path / f"in/case_00{number}/imaging.nii.gz")
    labels(tmp_path / "in/case_00209/segmentation.nii.gz", 2)
    found = import_upstream("kidney", tmp_path / "in", tmp_path / "root")
    assert (found.imported, found.failed) == (("kidney_209",), {})


def test_hidden_files_of_archives_are_not_cases(tmp_path: Path) -> None:
    spleens(tmp_path / "in", 2)
    (tmp_path / "in/imagesTr/._spleen_2.nii.gz").write_bytes(b"mac")
    assert import_upstream("spleen", tmp_path / "in", tmp_path / "root").is_complete


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"there is no folder .*nowhere"):
        import_upstream("liver", tmp_path / "nowhere", tmp_path / "root")


def test_a_folder_without_cases_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(
        FileFormatError, match=r"no case of .* lies below .*0Liver/imagesTr/liver_1.nii.gz or Training Batch 1/volume-0.nii"
    ):
        import_upstream("liver", spleens(tmp_path / "in", 2), tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_a_case_in_two_places_is_told(tmp_path: Path) -> None:
    spleens(tmp_path / "0123456/6Spleen", 2)
    spleens(tmp_path / "0123456_spacing_same/6Spleen", 2)
    with pytest.raises(FileFormatError, match=r"spleen_2 was found twice: .*0123456.* and .*0123456_spacing_same"):
        import_upstream("spleen", tmp_path, tmp_path / "root")


def test_an_unknown_set_is_told(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"no upstream data set 'heart'. Known sets: liver, kidney"):
        import_upstream("heart", tmp_path, tmp_path / "root")


def test_somebody_elses_folder_is_left_alone(tmp_path: Path) -> None:
    mine = labels(tmp_path / "root/spleen/labelsTr/spleen_2.nii.gz", 1)
    before = mine.read_bytes()
    with pytest.raises(OutputError, match="holds files that no import wrote"):
        import_upstream("spleen", spleens(tmp_path / "in", 2), tmp_path / "root")
    assert mine.read_bytes() == before


def test_lists_that_hold_themselves_many_times_over_are_refused(tmp_path: Path) -> None:
    """Thirty lists of two, each the one before twice: a billion values from a few hundred bytes."""
    bomb: list = ["case"]
    for _ in range(30):
        bomb = [bomb, bomb]
    (tmp_path / "splits.pkl").write_bytes(pickle.dumps(bomb))
    with pytest.raises(FileFormatError, match="unfolds to more than 100000 values"):
        read_plain_pickle(tmp_path / "splits.pkl")


def test_a_split_that_somebody_changed_is_kept(tmp_path: Path) -> None:
    source = spleens(tmp_path / "download", 2, 3)
    import_upstream("spleen", source, tmp_path / "root")
    split = tmp_path / "root" / "spleen" / "splits_final.json"
    split.write_text('[{"train": ["spleen_3"], "val": ["spleen_2"]}]')
    found = import_upstream("spleen", source, tmp_path / "root")
    assert split.read_text() == '[{"train": ["spleen_3"], "val": ["spleen_2"]}]'
    assert any("is kept as it is" in note for note in found.notes)
