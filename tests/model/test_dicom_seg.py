"""Labels as DICOM-SEG: every voxel where its own header puts it, names, colours, references, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_series import AXIAL, ORIGINS, SAGITTAL, SLANTED, UID, change, enhanced, of, write, write_series
from shared_data import shared

from uniseg_model.errors import MissingPackageError, OutputError
from uniseg_model.io import read_volume, write_image
from uniseg_model.io.dicom_seg import check_dicom_seg
from uniseg_model.record import RunRecord
from uniseg_model.segmentation import Segmentation, is_unedited
from uniseg_model.tasks import Label, builtin_tasks
from uniseg_model.volume import Volume

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")

TASKS = builtin_tasks()
RECORD = RunRecord({"name": "UniSeg weights"}, {}, (), {}, {}, {}, {})
FRAME = UID + "77"
CORONAL = (1, 0, 0, 0, 0, -1)  # rows to the left, columns downwards: the normal points to the back
STACKS = {
    "axial": (AXIAL, ORIGINS),
    "axial, first slice on top": (AXIAL, ORIGINS[::-1]),
    "shuffled": (AXIAL, [ORIGINS[k] for k in (2, 0, 3, 1)]),
    "coronal": (CORONAL, [(-3, 5 + 2.0 * k, 40) for k in range(4)]),
    "sagittal": (SAGITTAL, [(-1.5 * k, -20, 40) for k in range(4)]),
    "oblique": (SLANTED, [(0, -0.6 * 5 * k, 0.8 * 5 * k) for k in range(4)]),
}


def series(folder: Path, origins: Any = ORIGINS, orientation: Any = AXIAL, **tags: Any) -> Volume:
    write_series(folder, origins, orientation, **{"FrameOfReferenceUID": FRAME, **tags})
    return read_volume(folder)


def enhanced_series(folder: Path, places: tuple[int, ...], **tags: Any) -> Volume:
    """One file of many frames, which lie at these places of ``ORIGINS``."""
    kind = pydicom.uid.EnhancedCTImageStorage
    ds = enhanced([ORIGINS[k] for k in places], FrameOfReferenceUID=FRAME, SOPClassUID=kind, **tags)
    ds.file_meta.MediaStorageSOPClassUID = kind
    write(folder / "enhanced.dcm", ds)
    return read_volume(folder)


def answer(volume: Volume, labels: np.ndarray | None = None, key: str = "liver") -> Segmentation:
    """Labels that no flip, turn or shift leaves as they are."""
    if labels is None:
        labels = np.random.default_rng(20230407).integers(0, len(TASKS[key].labels) + 1, volume.shape)
        labels[1] = 0
    return Segmentation(TASKS[key], labels.astype(np.uint8), volume, RECORD)


def saved(segmentation: Segmentation, path: Path) -> Any:
    segmentation.save(path)
    return pydicom.dcmread(path)


def placed(ds: Any, volume: Volume) -> np.ndarray:
    """Labels (Z, Y, X), each pixel put where the object's own headers say, without highdicom's help."""
    labels = np.zeros(volume.shape, np.uint8)
    shared_groups = ds.SharedFunctionalGroupsSequence[0]
    row, column = np.reshape(shared_groups.PlaneOrientationSequence[0].ImageOrientationPatient, (2, 3)).astype(float)
    down_mm, along_mm = map(float, shared_groups.PixelMeasuresSequence[0].PixelSpacing)
    frames = ds.pixel_array.reshape(-1, ds.Rows, ds.Columns)
    for frame, group in zip(frames, ds.PerFrameFunctionalGroupsSequence, strict=True):
        origin = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        holder = group if "SegmentIdentificationSequence" in group else shared_groups
        number = holder.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        for y, x in np.argwhere(frame):
            left, posterior, superior = origin + x * along_mm * row + y * down_mm * column
            index = np.linalg.solve(volume.affine, [-left, -posterior, superior, 1])[:3]
            np.testing.assert_allclose(index, np.rint(index), atol=1e-3)
            z, y_, x_ = np.rint(index).astype(int)
            assert labels[z, y_, x_] == 0
            labels[z, y_, x_] = number
    return labels


# Where the voxels are


@pytest.mark.parametrize("stack", STACKS)
def test_every_voxel_lies_where_the_image_has_it(tmp_path: Path, stack: str) -> None:
    orientation, origins = STACKS[stack]
    segmentation = answer(series(tmp_path / "ct", origins, orientation))
    ds = saved(segmentation, tmp_path / "liver.dcm")
    np.testing.assert_array_equal(placed(ds, segmentation.volume), segmentation.labels)


@pytest.mark.parametrize("places", [(0, 1, 2, 3), (2, 0, 3, 1)], ids=["in order", "shuffled"])
def test_labels_of_one_file_of_many_frames_refer_to_its_frames(tmp_path: Path, places: tuple[int, ...]) -> None:
    segmentation = answer(enhanced_series(tmp_path / "ct", places))
    ds = saved(segmentation, tmp_path / "liver.dcm")
    np.testing.assert_array_equal(placed(ds, segmentation.volume), segmentation.labels)
    for group in ds.PerFrameFunctionalGroupsSequence:
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        position = group.PlanePositionSequence[0].ImagePositionPatient
        assert ORIGINS[places[source.ReferencedFrameNumber - 1]] == pytest.approx(position)


def test_each_frame_refers_to_the_slice_that_lies_there(tmp_path: Path) -> None:
    segmentation = answer(series(tmp_path / "ct", STACKS["shuffled"][1]))
    ds = saved(segmentation, tmp_path / "liver.dcm")
    slices = {s.SOPInstanceUID: s for s in map(pydicom.dcmread, segmentation.volume.source.paths)}
    for group in ds.PerFrameFunctionalGroupsSequence:
        [source] = group.DerivationImageSequence[0].SourceImageSequence
        assert (
            slices[source.ReferencedSOPInstanceUID].ImagePositionPatient == group.PlanePositionSequence[0].ImagePositionPatient
        )
    [listed] = ds.ReferencedSeriesSequence
    assert {one.ReferencedSOPInstanceUID for one in listed.ReferencedInstanceSequence} == set(slices)
    first = next(iter(slices.values()))
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName"):
        assert ds[keyword].value == first[keyword].value
    assert listed.SeriesInstanceUID == first.SeriesInstanceUID != ds.SeriesInstanceUID


def test_highdicom_reads_the_labels_back(tmp_path: Path) -> None:
    segmentation = answer(series(tmp_path / "ct"))
    segmentation.save(tmp_path / "liver.dcm")
    read = highdicom.seg.segread(tmp_path / "liver.dcm")
    uids = [pydicom.dcmread(path).SOPInstanceUID for path in segmentation.volume.source.paths]
    back = read.get_pixels_by_source_instance(uids, combine_segments=True, ignore_spatial_locations=False, assert_missing_frames_are_empty=True)  # fmt: skip
    np.testing.assert_array_equal(back, segmentation.labels)


def test_several_channels_refer_to_the_first_series(tmp_path: Path) -> None:
    series(tmp_path / "ct")
    series(tmp_path / "pet", SeriesInstanceUID=UID + "2.44", Modality="PT")
    volume = read_volume([tmp_path / "ct", tmp_path / "pet"])
    segmentation = answer(volume, key="whole_body")
    ds = saved(segmentation, tmp_path / "tumour.dcm")
    assert [one.SeriesInstanceUID for one in ds.ReferencedSeriesSequence] == [UID + "1.33"]
    np.testing.assert_array_equal(placed(ds, volume), segmentation.labels)


# What it says


def test_structures_have_names_colours_and_codes(tmp_path: Path) -> None:
    ds = saved(answer(series(tmp_path / "ct")), tmp_path / "liver.dcm")
    liver, tumour = ds.SegmentSequence
    assert [(s.SegmentNumber, s.SegmentLabel) for s in (liver, tumour)] == [(1, "liver"), (2, "liver tumour")]
    assert liver.SegmentedPropertyTypeCodeSequence[0].CodeValue == "10200004"  # SNOMED CT: liver
    assert tumour.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Neoplasm"
    assert tumour.AnatomicRegionSequence[0].CodeMeaning == "Liver"
    for segment, label in zip((liver, tumour), TASKS["liver"].labels, strict=True):
        color = highdicom.color.CIELabColor.from_dicom_value(segment.RecommendedDisplayCIELabValue).to_rgb(clip=True)
        assert color == pytest.approx([int(label.color[i : i + 2], 16) for i in (1, 3, 5)], abs=1)


def test_it_says_which_program_and_weights_made_it_and_names_no_person_as_author(tmp_path: Path) -> None:
    from uniseg_model import __version__

    ds = saved(answer(series(tmp_path / "ct")), tmp_path / "liver.dcm")
    algorithm = ds.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("UniSeg App", __version__)
    assert algorithm.AlgorithmParameters == "weights=UniSeg weights"
    assert ds.SegmentSequence[0].SegmentAlgorithmType == "AUTOMATIC"
    assert (ds.SeriesDescription, ds.SeriesNumber) == ("UniSeg App: Liver and tumour", 1003)
    assert ds.ContentDescription == "Research use only. Not a medical device."
    assert not ds.ContentCreatorName


def test_two_objects_share_no_uid(tmp_path: Path) -> None:
    segmentation = answer(series(tmp_path / "ct"))
    a, b = (saved(segmentation, tmp_path / name) for name in ("a.dcm", "b.dcm"))
    assert len({a.SOPInstanceUID, b.SOPInstanceUID, a.SeriesInstanceUID, b.SeriesInstanceUID}) == 4


@pytest.mark.parametrize("key", TASKS)
def test_every_structure_of_the_built_in_tasks_has_a_code(tmp_path: Path, key: str) -> None:
    ds = saved(answer(series(tmp_path / "scan"), key=key), tmp_path / "labels.dcm")
    assert "Tissue" not in {s.SegmentedPropertyTypeCodeSequence[0].CodeMeaning for s in ds.SegmentSequence}


def test_unknown_long_and_foreign_names_are_written_as_tissue(tmp_path: Path) -> None:
    labels = (Label("Pfötchen\\links", "#E69F00"), Label("x" * 70, "#56B4E9"))
    own = replace(TASKS["liver"], key="a_very_long_key_of_a_task", title="Größe " * 20, labels=labels)
    latin = {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jörg"}
    code = of(CodeValue="1", CodingSchemeDesignator="99X", CodeMeaning="Schädel")
    volume = series(tmp_path / "ct", ProcedureCodeSequence=[code], **latin)
    segmentation = Segmentation(own, np.ones(volume.shape, np.uint8), volume, RECORD)
    ds = saved(segmentation, tmp_path / "own.dcm")
    assert [s.SegmentLabel for s in ds.SegmentSequence] == ["Pfötchen links", "x" * 64]
    assert {s.SegmentedPropertyTypeCodeSequence[0].CodeMeaning for s in ds.SegmentSequence} == {"Tissue"}
    assert (ds.PatientName, ds.ProcedureCodeSequence[0].CodeMeaning) == ("Müller^Jörg", "Schädel")
    assert len(ds.SeriesDescription) <= 64


def test_structure_that_was_not_found_is_named_and_has_no_frames(tmp_path: Path) -> None:
    volume = series(tmp_path / "ct")
    labels = np.zeros(volume.shape)
    labels[2, 1, 3] = 2
    ds = saved(answer(volume, labels), tmp_path / "liver.dcm")
    assert [s.SegmentLabel for s in ds.SegmentSequence] == ["liver", "liver tumour"]
    assert ds.NumberOfFrames == 1
    np.testing.assert_array_equal(placed(ds, volume), labels)


def test_map_without_anything_has_empty_frames(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    volume = series(tmp_path / "ct")
    ds = saved(answer(volume, np.zeros(volume.shape)), tmp_path / "liver.dcm")
    assert (ds.NumberOfFrames, ds.pixel_array.any(), len(ds.SegmentSequence)) == (2 * 4, False, 2)
    assert caplog.messages == []


def test_nothing_is_logged_of_a_patient_whose_name_has_an_odd_form(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    saved(answer(series(tmp_path / "ct", PatientName="DOE=^^^^^^=x")), tmp_path / "liver.dcm")
    assert caplog.messages == []


def test_header_with_little_in_it_is_enough(tmp_path: Path) -> None:
    volume = series(tmp_path / "ct", PatientName=None, PatientID=None, SliceThickness=None, SeriesNumber=None)
    change(tmp_path / "ct" / "2.dcm", ImageOrientationPatient=[1, 0, 0, 0, 1, 0.00001])
    segmentation = answer(volume)
    ds = saved(segmentation, tmp_path / "liver.dcm")
    np.testing.assert_array_equal(placed(ds, volume), segmentation.labels)
    measures = ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert (measures.SliceThickness, measures.SpacingBetweenSlices) == (2.5, 2.5)
    assert ds.SeriesNumber == 1000


def test_elements_that_nobody_can_read_do_no_harm(tmp_path: Path) -> None:
    volume = series(tmp_path / "ct", SeriesNumber=11, KVP=1234, ProcedureCodeSequence=[of(CodeMeaning="CT", CodeValue="1")])
    for path in (tmp_path / "ct").iterdir():
        path.write_bytes(
            path.read_bytes().replace(b"IS\x02\x0011", b"IS\x02\x001A").replace(b"DS\x04\x001234", b"DS\x04\x00abcd")
        )
    segmentation = answer(volume)
    ds = saved(segmentation, tmp_path / "liver.dcm")
    np.testing.assert_array_equal(placed(ds, volume), segmentation.labels)
    assert (ds.SeriesNumber, ds.ProcedureCodeSequence[0].CodeMeaning) == (1000, "CT")


# What is refused


def lose_slice(folder: Path) -> None:
    (folder / "2.dcm").unlink()


def move_slices(folder: Path) -> None:
    for k, (left, posterior, superior) in enumerate(ORIGINS):
        change(folder / f"{k}.dcm", ImagePositionPatient=[left + 1, posterior, superior])


def relabel_slices(folder: Path) -> None:
    for path in folder.iterdir():
        change(path, SeriesInstanceUID=UID + "8")


def cut_slice(folder: Path) -> None:
    (folder / "3.dcm").write_bytes((folder / "3.dcm").read_bytes()[:153])


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lose_slice, r"2\.dcm"),
        (move_slices, "they lie elsewhere"),
        (relabel_slices, "no file is of the series"),
        (cut_slice, r"3\.dcm cannot be read as DICOM"),
    ],
)
def test_series_that_changed_since_is_refused(tmp_path: Path, spoil: Callable[[Path], None], match: str) -> None:
    segmentation = answer(series(tmp_path / "ct"))
    spoil(tmp_path / "ct")
    with pytest.raises(OutputError, match=rf"changed since they were read: .*{match}.* Put the series back"):
        segmentation.save(tmp_path / "liver.dcm")
    assert [path.name for path in tmp_path.iterdir()] == ["ct"]


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"])
def test_series_that_cannot_be_referred_to_is_refused(tmp_path: Path, keyword: str) -> None:
    volume = series(tmp_path / "ct", **{keyword: ""})
    with pytest.raises(OutputError, match=rf"has no {keyword}, so .* nothing to refer to.*anonymised.*\.nii\.gz"):
        check_dicom_seg(volume, TASKS["liver"])


def test_slices_of_one_instance_uid_are_refused(tmp_path: Path) -> None:
    volume = series(tmp_path / "ct")
    for path in (tmp_path / "ct").iterdir():
        change(path, SOPInstanceUID=UID + "5")
    with pytest.raises(OutputError, match="4 slices share 1 SOPInstanceUIDs"):
        check_dicom_seg(volume, TASKS["liver"])


def test_uids_that_only_stand_before_the_data_set_are_taken(tmp_path: Path) -> None:
    volume = series(tmp_path / "ct", SOPInstanceUID="", SOPClassUID="")
    segmentation = answer(volume)
    np.testing.assert_array_equal(placed(saved(segmentation, tmp_path / "a.dcm"), volume), segmentation.labels)


def test_several_files_of_many_frames_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.dcm", enhanced(ORIGINS[:2], FrameOfReferenceUID=FRAME))
    write(tmp_path / "b.dcm", enhanced(ORIGINS[2:], FrameOfReferenceUID=FRAME))
    with pytest.raises(OutputError, match="the series is 2 files of several frames"):
        check_dicom_seg(read_volume(tmp_path), TASKS["liver"])


def test_header_that_breaks_rules_is_refused_without_quoting_the_patient(tmp_path: Path) -> None:
    volume = series(tmp_path / "ct", PatientSex="JANE")
    with pytest.raises(OutputError, match=r"header of 0\.dcm breaks a rule .*\.nii\.gz") as caught:
        check_dicom_seg(volume, TASKS["liver"])
    assert "JANE" not in str(caught.value)


def test_labels_of_a_nifti_image_are_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    affine = np.diag([3.0, 1.0, 1.0, 1.0])[[2, 1, 0, 3]]
    made = Volume(rng.normal(size=(1, 4, 3, 5)).astype(np.float32), affine)
    with pytest.raises(OutputError, match="read as array cannot be DICOM-SEG"):
        answer(made).save(tmp_path / "liver.dcm")
    write_image(tmp_path / "ct.nii", made.array[0], made)
    with pytest.raises(OutputError, match=r"read as nifti cannot be DICOM-SEG.* Save them as \.nii\.gz"):
        answer(read_volume(tmp_path / "ct.nii")).save(tmp_path / "liver.dcm")
    assert [path.name for path in tmp_path.iterdir()] == ["ct.nii"]


@pytest.mark.parametrize("package", ["highdicom", "pydicom"])
def test_a_missing_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    volume = series(tmp_path / "ct")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=r'not .*installed.*pip install "uniseg-app\[formats\]"'):
        check_dicom_seg(volume, TASKS["liver"])


def test_the_writer_can_be_imported_without_the_packages() -> None:
    code = "import sys; sys.modules['pydicom'] = sys.modules['highdicom'] = None; import uniseg_model.io.dicom_seg"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_writing_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segmentation = answer(series(tmp_path / "ct"))

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", no_space)
    with pytest.raises(OutputError, match="No space left"):
        segmentation.save(tmp_path / "liver.dcm")
    assert [path.name for path in tmp_path.iterdir()] == ["ct"]


def test_nobody_can_tell_whether_it_was_edited(tmp_path: Path) -> None:
    answer(series(tmp_path / "ct")).save(tmp_path / "liver.dcm")
    assert not is_unedited(tmp_path / "liver.dcm")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ct", "liver.dcm"]


def test_real_ct_whose_anonymisation_took_the_uids(tmp_path: Path) -> None:
    scan = shared("real/dicom_ct")
    volume = read_volume(scan)
    with pytest.raises(OutputError, match="has no StudyInstanceUID"):
        check_dicom_seg(volume, TASKS["liver"])
    for path in map(Path, volume.source.paths):
        ds = pydicom.dcmread(path)
        ds.StudyInstanceUID, ds.SeriesInstanceUID = UID + "1", UID + "2"
        ds.save_as(tmp_path / path.name)
    volume = read_volume(tmp_path)
    labels = np.where(volume.array[0] > 300, 1, 0)
    labels[:, ::2] = 0
    labels[:, :, ::3] = 0
    ds = saved(answer(volume, labels, "vertebrae"), tmp_path / "bone.dcm")
    np.testing.assert_array_equal(placed(ds, volume), labels)
