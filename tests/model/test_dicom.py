"""DICOM slices to volumes, on small synthetic series whose numbers one can check by hand."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_series import AXIAL, ORIGINS, SAGITTAL, SLANTED, UID, change, dataset, enhanced, of, stored, write, write_series
from shared_data import shared

from uniseg_model.errors import FileFormatError, GeometryError, ImageError, IntensityError, MissingPackageError
from uniseg_model.io.dicom import DicomSeries, list_series, read_dicom
from uniseg_model.io.stack import even_gap, slice_axes, stack_affine, stack_order

pydicom = pytest.importorskip("pydicom")

# What a good series becomes


def test_an_axial_series_becomes_a_volume_in_hu_with_z_upwards(tmp_path):
    write_series(tmp_path)
    volume = read_dicom(tmp_path)
    assert volume.array.shape == (1, 4, 3, 5)
    assert volume.array.dtype == np.float32
    assert volume.array[0, 0, 0, 0] == -1024
    assert volume.array[0, 3, 2, 1] == 2 * 321 - 1024
    by_hand = [[0, 0, -0.75, 10], [0, -0.5, 0, 20], [2.5, 0, 0, -30], [0, 0, 0, 1]]  # left and back are minus in RAS
    np.testing.assert_array_equal(volume.affine, by_hand)
    assert volume.spacing_mm == (2.5, 0.5, 0.75)
    assert volume.orientation == "LPS"
    assert volume.warnings == ()


def test_the_source_names_files_in_slice_order_and_no_patient(tmp_path):
    paths = write_series(tmp_path, ORIGINS[::-1])
    source = read_dicom(tmp_path).source
    assert source.paths == tuple(str(path) for path in paths[::-1])
    assert (source.format, source.modality) == ("dicom", "CT")
    assert source.header == DicomSeries(UID + "1.33", UID + "9", "Body")
    assert "Doe" not in repr(source.header)


def test_places_and_not_file_names_or_instance_numbers_order_the_slices(tmp_path):
    in_order, shuffled = tmp_path / "in order", tmp_path / "shuffled"
    write_series(in_order)
    for k, (name, number) in enumerate([("b", 7), ("d", 1), ("a", 9), ("c", 2)]):
        write(shuffled / "deeper" / name, dataset(stored(k), ORIGINS[k], InstanceNumber=number))
    a, b = read_dicom(in_order), read_dicom(shuffled)
    np.testing.assert_array_equal(a.array, b.array)
    np.testing.assert_array_equal(a.affine, b.affine)


def test_a_sagittal_series_runs_to_the_right(tmp_path):
    write_series(tmp_path, [(-1.5 * k, -20, 40) for k in range(4)], SAGITTAL)
    volume = read_dicom(tmp_path)
    # A column step of 0.75 mm goes to the back, a row step of 0.5 mm downwards, a slice step of 1.5 mm to the right.
    np.testing.assert_array_equal(volume.affine, [[1.5, 0, 0, 0], [0, 0, -0.75, 20], [0, -0.5, 0, 40], [0, 0, 0, 1]])
    assert volume.array[0, 3, 0, 0] == 2 * 300 - 1024


def test_a_slanted_series_keeps_its_angle(tmp_path):
    write_series(tmp_path, [(0, -0.6 * 5 * k, 0.8 * 5 * k) for k in range(4)], SLANTED)
    volume = read_dicom(tmp_path)
    by_hand = [[0, 0, -0.75, 0], [3, -0.4, 0, 0], [4, 0.3, 0, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose(volume.affine, by_hand, atol=1e-12)
    assert volume.spacing_mm == (5.0, 0.5, 0.75)


def test_positions_rounded_to_a_tenth_of_a_millimetre_are_even_enough(tmp_path):
    write_series(tmp_path, [(0, 0, round(2.46 * k, 1)) for k in range(4)])
    assert read_dicom(tmp_path).spacing_mm[0] == pytest.approx(2.46, abs=0.02)


def test_the_gap_comes_from_places_and_not_from_the_slice_thickness(tmp_path):
    write_series(tmp_path, SliceThickness=3)
    assert read_dicom(tmp_path).spacing_mm[0] == 2.5


def test_gaps_wider_than_the_slices_are_warned_of(tmp_path):
    write_series(tmp_path, SliceThickness=1.25)
    assert read_dicom(tmp_path).warnings == (
        "the slices are 2.5 mm apart and 1.25 mm thick: unless it was planned so, slices are missing",
    )


def test_every_slice_has_its_own_slope_as_in_pet(tmp_path):
    for path, slope in zip(write_series(tmp_path, Modality="PT"), (1, 2, 0.5, 4), strict=True):
        change(path, RescaleSlope=slope, RescaleIntercept=0)
    assert read_dicom(tmp_path).array[0, :, 1, 2].tolist() == [12, 224, 106, 1248]


def test_without_slope_and_intercept_values_are_as_stored(tmp_path):
    write_series(tmp_path, Modality="MR", RescaleSlope=None, RescaleIntercept=None)
    assert read_dicom(tmp_path).array[0, 3, 2, 1] == 321


def test_signed_values_of_12_bits_are_signed_whatever_the_unused_bits_hold(tmp_path):
    twelve_bits = np.full((3, 5), -5, np.int16) & 0x0FFF
    for k, origin in enumerate(ORIGINS):
        write(tmp_path / str(k), dataset(twelve_bits, origin, BitsStored=12, HighBit=11, RescaleSlope=1, RescaleIntercept=0))
    assert (read_dicom(tmp_path).array == -5).all()


def test_compressed_slices_hold_the_same_numbers(tmp_path):
    plain, packed = tmp_path / "plain", tmp_path / "packed"
    write_series(plain)
    for path in write_series(packed):
        ds = pydicom.dcmread(path)
        ds.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
        ds.save_as(path)
    np.testing.assert_array_equal(read_dicom(plain).array, read_dicom(packed).array)


def test_an_enhanced_file_is_read_frame_by_frame(tmp_path):
    path = write(tmp_path / "enhanced.dcm", enhanced([ORIGINS[k] for k in (2, 0, 3, 1)]))
    volume = read_dicom(tmp_path)
    np.testing.assert_array_equal(volume.affine, [[0, 0, -0.75, 10], [0, -0.5, 0, 20], [2.5, 0, 0, -30], [0, 0, 0, 1]])
    assert volume.array[0, :, 0, 1].tolist() == [101 * 2, 301 * 4, 1 * 1, 201 * 3]  # frames 1, 3, 0, 2 and their slopes
    assert volume.source.paths == (str(path),)
    np.testing.assert_array_equal(read_dicom(path).array, volume.array)
    assert list_series(tmp_path)[0].n_slices == 4


def test_what_is_no_image_is_passed_over(tmp_path):
    write_series(tmp_path)
    (tmp_path / "notes.txt").write_text("not DICOM")
    (tmp_path / "empty.dcm").touch()
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    write(tmp_path / ".hidden" / "copy.dcm", dataset(stored(0), ORIGINS[0]))
    write(tmp_path / "labels.dcm", dataset(stored(0), ORIGINS[0], Modality="SEG", SeriesInstanceUID=UID + "5"))
    report = dataset(stored(0), ORIGINS[0], Modality="SR", SOPClassUID=pydicom.uid.BasicTextSRStorage, Rows=None)
    report.file_meta.MediaStorageSOPClassUID = report.SOPClassUID
    write(tmp_path / "report.dcm", report)
    assert read_dicom(tmp_path).shape == (4, 3, 5)


def test_small_offences_against_the_standard_make_no_noise(tmp_path):
    for path in write_series(tmp_path, SeriesNumber=11):
        path.write_bytes(path.read_bytes().replace(b"IS\x02\x0011", b"IS\x02\x001A") + b"\0\0")
    assert list_series(tmp_path)[0].number is None
    assert read_dicom(tmp_path).warnings == ()


# Which series


def two_series(folder: Path) -> None:
    write_series(folder / "a")
    write_series(folder / "b", ORIGINS[:1], SeriesNumber=1, SeriesDescription="Scout", SeriesInstanceUID=UID + "2.33")


def test_series_are_listed_by_number(tmp_path):
    two_series(tmp_path)
    assert [(s.number, s.description, s.modality, s.n_slices) for s in list_series(tmp_path)] == [
        (1, "Scout", "CT", 1),
        (3, "Body", "CT", 4),
    ]


def test_several_series_are_listed_and_never_guessed_at(tmp_path):
    two_series(tmp_path)
    listed = r"holds 2 DICOM series .*number 1 'Scout' \(CT, 1 slice, UID .*2\.33\); number 3 'Body' \(CT, 4 slices, .*--series"
    with pytest.raises(FileFormatError, match=listed) as caught:
        read_dicom(tmp_path)
    assert "Doe" not in str(caught.value)


@pytest.mark.parametrize("series", ["3", UID + "1.33", UID + "1", "1.33"], ids=["number", "uid", "beginning", "end"])
def test_a_series_is_chosen_by_number_or_by_what_only_its_uid_has(tmp_path, series):
    two_series(tmp_path)
    assert read_dicom(tmp_path, series).shape == (4, 3, 5)


def test_an_unknown_series_is_answered_with_those_there_are(tmp_path):
    two_series(tmp_path)
    with pytest.raises(FileFormatError, match=r"no DICOM series .* number or UID '7': number 1 .*; number 3"):
        read_dicom(tmp_path, "7")


def test_an_end_that_two_uids_share_chooses_none(tmp_path):
    two_series(tmp_path)
    with pytest.raises(FileFormatError, match=r"'\.33' fits 2 of the DICOM series"):
        read_dicom(tmp_path, ".33")


def test_anonymised_series_without_uid_and_number_can_be_read(tmp_path):
    write_series(tmp_path, SeriesInstanceUID="", SeriesNumber=None)
    assert str(list_series(tmp_path)[0]) == "no number 'Body' (CT, 4 slices, no UID)"
    assert read_dicom(tmp_path, "").shape == (4, 3, 5)


# What is refused


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
@pytest.mark.parametrize("value", [None, ""], ids=["absent", "empty"])
def test_a_slice_without_place_or_size_is_refused(tmp_path, keyword, value):
    change(write_series(tmp_path)[2], **{keyword: value})
    with pytest.raises(GeometryError, match=f"2.dcm has no {keyword}, .*unknown.* screenshots"):
        read_dicom(tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"PixelSpacing": [0.5, 0.8]}, r"different pixel spacings in mm: 0.5 0.75 and, in 1 of 4, 0.5 0.8;"),
        ({"ImageOrientationPatient": list(SAGITTAL)}, "different orientations: 1 0 0 0 1 0 and, in 1 of 4, 0 1 0 0 0 -1;"),
        ({"Rows": 5, "Columns": 3}, "different numbers of rows and columns: 3 5 and, in 1 of 4, 5 3;"),
    ],
)
def test_slices_on_different_grids_are_refused(tmp_path, changed, message):
    change(write_series(tmp_path)[2], **changed)
    with pytest.raises(GeometryError, match=message + ".*localiser"):
        read_dicom(tmp_path)


def test_two_slices_at_one_place_are_refused(tmp_path):
    write_series(tmp_path, ORIGINS + ORIGINS[1:3])
    with pytest.raises(
        GeometryError, match=r"2 of 6 slices lie where another one lies, the first at -27.5 mm .*phases, echoes"
    ):
        read_dicom(tmp_path)


def test_a_missing_slice_is_refused_with_its_place(tmp_path):
    write_series(tmp_path)[2].unlink()
    with pytest.raises(
        GeometryError, match=r"the one at -27.5 mm .* followed by one 5 mm further, the usual gap is 2.5 mm.*missing"
    ):
        read_dicom(tmp_path)


def test_a_tilted_gantry_is_refused_with_its_angle(tmp_path):
    write_series(tmp_path, [(0, np.tan(np.radians(15)) * 2.5 * k, 2.5 * k) for k in range(4)])
    with pytest.raises(GeometryError, match=r"tilted by 15 degrees: slices shift sideways by 2.01 mm over 7.5 mm.*dcm2niix"):
        read_dicom(tmp_path)


def test_a_single_slice_is_refused(tmp_path):
    write_series(tmp_path, ORIGINS[:1])
    with pytest.raises(GeometryError, match=r"the series has 1 slice, .* at least 2. Give the folder"):
        read_dicom(tmp_path)


def test_pixels_without_width_are_refused(tmp_path):
    write_series(tmp_path, PixelSpacing=[0.5, 0])
    with pytest.raises(GeometryError, match=r"PixelSpacing as 0\.5 0 mm: the true voxel size is unknown.*again"):
        read_dicom(tmp_path)


@pytest.mark.parametrize(
    ("written", "instead", "message"),
    [
        (b"0.5\\0.75", b"0.5\\abcd", "0.dcm has an unreadable PixelSpacing"),
        (b"-10.0\\-20.0\\-30.0", b"-10.0\\-20.0      ", "ImagePositionPatient as -10 -20, it must be 3 finite numbers"),
        (b"-1024.0 ", b"-inf    ", "RescaleIntercept as -inf, it must be 1 finite number"),
    ],
)
def test_unreadable_numbers_are_refused(tmp_path, written, instead, message):
    path = write_series(tmp_path)[0]
    before = path.read_bytes()
    assert before.count(written) == 1
    path.write_bytes(before.replace(written, instead))
    with pytest.raises(FileFormatError, match=message):
        read_dicom(tmp_path)


def test_frames_without_a_place_are_refused(tmp_path):
    write(tmp_path / "cine.dcm", enhanced(ORIGINS, PerFrameFunctionalGroupsSequence=[]))
    with pytest.raises(GeometryError, match="has 4 frames and says of 0 where they lie"):
        read_dicom(tmp_path)


def test_colour_images_are_refused(tmp_path):
    rgb = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0, "BitsAllocated": 8}
    write_series(tmp_path, **rgb)
    with pytest.raises(FileFormatError, match=r"0.dcm is a colour image \(RGB, 3 samples a pixel\)"):
        read_dicom(tmp_path)


def test_a_table_of_values_is_refused_and_not_ignored(tmp_path):
    write_series(tmp_path, ModalityLUTSequence=[of(ModalityLUTType="HU")])
    with pytest.raises(FileFormatError, match=r"0.dcm translates its voxel values by a table .*dcm2niix"):
        read_dicom(tmp_path)


@pytest.mark.parametrize("kept", [0.5, 0.0], ids=["half", "nothing"])
def test_truncated_pixel_data_name_the_file(tmp_path, kept):
    path = write_series(tmp_path)[2]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - int(30 * (1 - kept)) - (8 if kept == 0 else 0)])
    with pytest.raises(FileFormatError, match=r"pixel data of 2.dcm are truncated or cannot be decoded: .*Copy"):
        read_dicom(tmp_path)


@pytest.mark.parametrize(
    ("kept", "message"), [(700, "begins like a DICOM image and is cut off"), (153, "cannot be read as DICOM")]
)
def test_a_file_cut_off_in_its_header_is_not_passed_over(tmp_path, kept, message):
    path = write_series(tmp_path)[3]  # the last slice: no gap would show that it is missing
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(FileFormatError, match=rf"3\.dcm {message}.*Copy or export"):
        read_dicom(tmp_path)


def test_damaged_files_raise_nothing_but_errors_that_a_person_can_act_on(tmp_path, rng):
    path = write_series(tmp_path)[3]
    whole = path.read_bytes()
    for _ in range(200):
        damaged = bytearray(whole)
        for at in rng.integers(132, len(whole), size=3):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(ImageError):
            read_dicom(tmp_path)


def test_a_compression_without_decoder_is_named(tmp_path):
    path = write_series(tmp_path)[1]
    film = pydicom.uid.MPEG2MPML  # nothing decodes this, whatever is installed
    data = path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.4.100\0")
    data = data.replace(b"UI\x14\x001.2.840.10008.1.2.4.100", b"UI\x18\x001.2.840.10008.1.2.4.100")
    path.write_bytes(data)
    with pytest.raises(FileFormatError, match=f"1.dcm is compressed as '{film.name}', and no decoder.* is installed"):
        read_dicom(tmp_path)


def test_a_folder_without_dicom_says_so(tmp_path):
    (tmp_path / "notes.txt").write_text("not DICOM")
    with pytest.raises(FileFormatError, match="holds no DICOM image"):
        read_dicom(tmp_path)


def test_a_folder_that_is_not_there_says_so(tmp_path):
    with pytest.raises(FileFormatError, match=r"there is no folder .*nowhere"):
        list_series(tmp_path / "nowhere")


def test_an_empty_image_is_refused_by_the_volume(tmp_path):
    write_series(tmp_path, RescaleSlope=0, RescaleIntercept=0)
    with pytest.raises(IntensityError, match="every voxel is 0"):
        read_dicom(tmp_path)


def test_a_scan_too_large_for_memory_says_how_large(tmp_path, monkeypatch):
    write_series(tmp_path)

    def full(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(np, "empty", full)
    with pytest.raises(FileFormatError, match=r"needs 2.4e-07 GB of memory"):  # 4 x 3 x 5 voxels of 4 bytes
        read_dicom(tmp_path)


def test_a_missing_package_says_what_to_install(tmp_path, monkeypatch):
    write_series(tmp_path)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(MissingPackageError, match=r'pydicom, which is not installed.*pip install "uniseg-app\[formats\]"'):
        read_dicom(tmp_path)


def test_the_reader_can_be_imported_without_pydicom():
    code = "import sys; sys.modules['pydicom'] = None; import uniseg_model.io.dicom"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0


# Geometry on plain numbers


def test_axes_of_a_slice_are_row_column_and_normal():
    np.testing.assert_allclose(slice_axes(SLANTED), [[1, 0, 0], [0, 0.8, 0.6], [0, -0.6, 0.8]], atol=1e-15)


@pytest.mark.parametrize("orientation", [(1, 0, 0, 1, 0, 0), (2, 0, 0, 0, 1, 0), (0, 0, 0, 0, 0, 0), (1, 0, 0, 0.1, 1, 0)])
def test_an_orientation_must_be_two_perpendicular_unit_vectors(orientation):
    with pytest.raises(GeometryError, match=r"ImageOrientationPatient is .* two perpendicular unit vectors"):
        slice_axes(orientation)


def test_order_follows_the_normal():
    places = [(0, 0, 4), (0, 0, 0), (0, 0, 6), (0, 0, 2)]
    assert stack_order(places, AXIAL, 1.0) == ([1, 3, 0, 2], 2.0)
    feet_first = (1, 0, 0, 0, -1, 0)  # the normal points down
    assert stack_order(places, feet_first, 1.0) == ([2, 0, 3, 1], 2.0)


@pytest.mark.parametrize(("last", "even"), [(10.0, True), (10.9, True), (11.5, False), (9.1, True), (8.5, False)])
def test_a_slice_may_stray_by_a_tenth_of_the_gap(last, even):
    heights = np.array([
        0.0,
        5.0,
        last,
    ])  # straying by half of what the last one is off: 5 lies (last - 10) / 2 beside the middle
    if even:
        assert even_gap(heights) == pytest.approx(last / 2)
    else:
        with pytest.raises(GeometryError, match="unevenly spaced"):
            even_gap(heights)


@pytest.mark.parametrize("missing", [1, 100, 198])
def test_one_missing_slice_of_many_is_found_wherever_it_is(missing):
    heights = np.delete(2.0 * np.arange(200), missing)
    with pytest.raises(GeometryError, match=rf"the one at {2 * (missing - 1)} mm .* 4 mm further, the usual gap is 2 mm"):
        even_gap(heights)


@pytest.mark.parametrize(("sideways_mm", "straight"), [(0.0, True), (0.04, True), (0.06, False)])
def test_a_stack_may_lean_by_a_tenth_of_a_pixel(sideways_mm, straight):
    places = [(0, 0, 0), (sideways_mm / 2, 0, 5), (sideways_mm, 0, 10)]
    if straight:
        assert stack_order(places, AXIAL, 0.5)[1] == 5.0
    else:
        with pytest.raises(GeometryError, match=r"tilted by 0\.344 degrees"):
            stack_order(places, AXIAL, 0.5)


def test_an_affine_maps_the_first_and_the_last_voxel_to_where_the_headers_say():
    affine = stack_affine((-10, -20, -30), SLANTED, (0.5, 0.75), 5.0)
    np.testing.assert_allclose(affine @ [0, 0, 0, 1], [10, 20, -30, 1])
    # 2 slices, 10 rows and 4 columns on, in LPS: 10 (0, -.6, .8) + 5 (0, .8, .6) + 3 (1, 0, 0)
    np.testing.assert_allclose(affine @ [2, 10, 4, 1], [10 - 3, 20 + 6 - 4, -30 + 8 + 3, 1])


# Against other readers


@pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute:DeprecationWarning")
@pytest.mark.parametrize(
    "orientation", [AXIAL, SAGITTAL, SLANTED, (1, 0, 0, 0, -1, 0)], ids=["axial", "sagittal", "slanted", "prone"]
)
def test_simpleitk_finds_the_same_values_at_the_same_places(tmp_path, orientation):
    normal = slice_axes(orientation)[2]
    paths = write_series(tmp_path, [np.round(np.array([-10, -20, -30]) + 2.5 * k * normal, 6) for k in range(4)], orientation)
    compare_with_simpleitk(read_dicom(tmp_path), [str(path) for path in paths], n_probes=60)


@pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute:DeprecationWarning")
def test_simpleitk_agrees_on_a_real_ct():
    folder = shared("real/dicom_ct")
    sitk = pytest.importorskip("SimpleITK")
    volume = read_dicom(folder)
    assert volume.shape == (20, 512, 512)
    assert volume.spacing_mm == (2.0, 0.9765625, 0.9765625)  # slices are 3 mm thick and overlap
    compare_with_simpleitk(volume, sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)), n_probes=2000)


def compare_with_simpleitk(volume: Any, paths: Any, n_probes: int) -> None:
    sitk = pytest.importorskip("SimpleITK")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(paths)
    image = reader.Execute()
    assert image.GetSize() == volume.shape[::-1]
    rng = np.random.default_rng(20230407)
    for voxel in rng.integers(0, volume.shape, size=(n_probes, 3)):
        right, anterior, superior, _ = volume.affine @ [*voxel, 1]
        index = image.TransformPhysicalPointToContinuousIndex((-right, -anterior, superior))
        np.testing.assert_allclose(index, np.rint(index), atol=1e-3)
        assert image.GetPixel(*(round(i) for i in index)) == volume.array[0, *voxel]
