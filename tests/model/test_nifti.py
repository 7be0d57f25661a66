"""NIfTI: every way a file can say what and where it is, answers on the very same grid, and damage refused by name."""

from __future__ import annotations

import contextlib
import gzip
import os
import struct
import tempfile
from itertools import permutations, product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from uniseg_model.errors import FileFormatError, GeometryError, ImageError, IntensityError, OutputError
from uniseg_model.io import read_labels, read_volume, write_image, write_labels
from uniseg_model.io.nifti import read_nifti
from uniseg_model.volume import Volume

ORIENTATIONS = [
    "".join(letters) for names in permutations(("RL", "AP", "SI")) for letters in product(*names)
]  # of file axes x, y, z
WORLD = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
XYZ_MM = (0.5, 0.75, 2.0)
PLACE = ("sform_code", "qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z",
         "srow_x", "srow_y", "srow_z", "xyzt_units")  # fmt: skip
# Bytes of a NIfTI-1 header, from the standard
DIM, DATATYPE, PIXDIM, SCL_SLOPE, SCL_INTER, XYZT_UNITS, QUATERN_B, VOXELS = 40, 70, 76, 112, 116, 123, 256, 352


def oriented(code: str) -> np.ndarray:
    """The affine of a file, (x, y, z, 1) to RAS+, whose axes point to the letters of ``code``."""
    affine = np.zeros((4, 4))
    for axis, letter in enumerate(code):
        world, sign = WORLD[letter]
        affine[world, axis] = sign * XYZ_MM[axis]
    affine[:, 3] = -10.25, 20.5, 5.125, 1
    return affine


RAS = oriented("RAS")


def zyx(affine: np.ndarray) -> np.ndarray:
    """An affine of the file's axes for ours."""
    return affine[:, [2, 1, 0, 3]]


def voxels(*shape: int, dtype: Any = np.int16) -> np.ndarray:
    """1, 2, 3, ... in file order (x, y, z, ...)."""
    return np.arange(1, 1 + np.prod(shape), dtype=dtype).reshape(shape)


def image_of(
    array: np.ndarray,
    affine: np.ndarray = RAS,
    *,
    sform: int = 1,
    qform: int = 1,
    unit: str = "mm",
    kind: Any = nib.Nifti1Image,
    big: bool = False,
) -> Any:
    """A nibabel image with these codes."""
    header = kind.header_class(endianness=">" if big else "<")
    header.set_data_dtype(array.dtype.newbyteorder(">" if big else "<"))
    image = kind(array, affine, header)
    image.set_qform(affine, qform)
    image.set_sform(affine if sform else None, sform)
    if not qform:
        image.set_qform(None, 0)
    image.header.set_xyzt_units(unit)
    return image


def write(path: Path, array: np.ndarray, affine: np.ndarray = RAS, **how: Any) -> Path:
    nib.save(image_of(array, affine, **how), path)
    return path


def patch(path: Path, offset: int, form: str, *values: Any) -> Path:
    """Other numbers in a file's header, whatever nibabel thinks of them."""
    zipped = path.suffix == ".gz"
    content = bytearray(gzip.decompress(path.read_bytes()) if zipped else path.read_bytes())
    struct.pack_into(form, content, offset, *values)
    path.write_bytes(gzip.compress(content) if zipped else content)
    return path


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A sound file of 2 x 3 x 4 voxels."""
    return write(tmp_path / "scan.nii", voxels(2, 3, 4))


# Voxels ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("big", [False, True], ids=["little", "big"])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint16", "int32", "float32", "float64"])
def test_every_type_of_voxel_is_read(tmp_path: Path, dtype: str, big: bool, suffix: str) -> None:
    kind = np.dtype(dtype)
    array = voxels(2, 3, 4, dtype=dtype)
    array[0, 0, 0], array[1, 2, 3] = (np.iinfo(kind).min, np.iinfo(kind).max) if kind.kind in "iu" else (-1.1, 1e10)
    path = write(tmp_path / f"scan{suffix}", array, big=big)
    if suffix == ".nii":
        assert int.from_bytes(path.read_bytes()[:4], "big" if big else "little") == 348
    volume = read_nifti(path)
    assert volume.array.dtype == np.float32
    assert volume.array.dtype.isnative
    assert volume.array.flags.c_contiguous
    assert np.array_equal(volume.array, array.T[None].astype(np.float32))
    assert (volume.shape, volume.spacing_mm, volume.orientation) == ((4, 3, 2), (2.0, 0.75, 0.5), "RAS")
    assert volume.warnings == ()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_slope_and_intercept_count_in_float64(tmp_path: Path, dtype: str) -> None:
    array = voxels(20, 10, 5, dtype=dtype) if dtype != "uint8" else voxels(5, 10, 5, dtype=dtype)
    path = write(tmp_path / "scan.nii", array)
    patch(path, SCL_SLOPE, "<2f", 0.1, -1024.3)
    slope, inter = float(np.float32(0.1)), float(np.float32(-1024.3))  # as the header holds them
    expected = (array.astype(np.float64) * slope + inter).astype(np.float32)
    assert np.array_equal(read_nifti(path).array[0], expected.T)


def test_slope_and_intercept_by_hand(scan: Path) -> None:
    patch(scan, SCL_SLOPE, "<2f", 2, -1024)
    assert read_nifti(scan).array[0, 0, 0].tolist() == [2 * 1 - 1024, 2 * 13 - 1024]


@pytest.mark.parametrize("slope", [0.0, 1.0, float("nan"), float("inf")])
def test_a_slope_that_says_nothing_leaves_the_voxels(scan: Path, slope: float) -> None:
    patch(scan, SCL_SLOPE, "<2f", slope, 0)
    assert np.array_equal(read_nifti(scan).array[0], voxels(2, 3, 4).T)


def test_a_damaged_intercept_is_refused(scan: Path) -> None:
    patch(scan, SCL_SLOPE, "<2f", 1, float("nan"))
    with pytest.raises(FileFormatError, match=r"scan\.nii has a damaged header or orientation: .*intercept"):
        read_nifti(scan)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_the_fourth_axis_becomes_the_channels(tmp_path: Path, kind: Any) -> None:
    array = voxels(2, 3, 4, 5)
    volume = read_nifti(write(tmp_path / "scan.nii.gz", array, kind=kind))
    assert volume.n_channels == 5
    for channel in range(5):
        assert np.array_equal(volume.array[channel], array[..., channel].T)


def test_an_empty_fourth_axis_before_the_channels_is_skipped(tmp_path: Path) -> None:
    array = voxels(2, 3, 4, 1, 3)
    volume = read_nifti(write(tmp_path / "scan.nii", array))
    assert volume.array.shape == (3, 4, 3, 2)
    assert np.array_equal(volume.array[2], array[..., 0, 2].T)


@pytest.mark.parametrize("tail", [(1,), (1, 1), (1, 1, 1)])
def test_axes_of_length_1_at_the_end_say_nothing(tmp_path: Path, tail: tuple[int, ...]) -> None:
    volume = read_nifti(write(tmp_path / "scan.nii", voxels(2, 3, 4, *tail)))
    assert np.array_equal(volume.array, voxels(2, 3, 4).T[None])


def test_scaled_channels_keep_their_order(tmp_path: Path) -> None:
    path = patch(write(tmp_path / "scan.nii", voxels(2, 3, 4, 2)), SCL_SLOPE, "<2f", 10, 0)
    assert np.array_equal(read_nifti(path).array[1], 10 * voxels(2, 3, 4, 2)[..., 1].T)


def test_a_source_remembers_its_file(scan: Path) -> None:
    source = read_nifti(scan).source
    assert (source.paths, source.format) == ((str(scan),), "nifti")
    assert isinstance(source.header, nib.Nifti1Header)


def test_nan_is_counted_in_a_warning(tmp_path: Path) -> None:
    array = voxels(2, 3, 4, dtype=np.float32)
    array[0, :, 0] = np.nan
    assert read_nifti(write(tmp_path / "scan.nii", array)).warnings == ("3 of 24 voxels are NaN and are taken as 0",)


@pytest.mark.parametrize(
    ("value", "match"),
    [(0, "every voxel is 0"), (np.nan, "every voxel is NaN"), (np.inf, "24 of 24 voxels are infinite"), (1e300, "infinite")],
)
def test_values_without_anything_to_segment_are_refused(tmp_path: Path, value: float, match: str) -> None:
    path = write(tmp_path / "scan.nii", np.full((2, 3, 4), value, np.float64))
    with pytest.raises(IntensityError, match=match):
        read_nifti(path)


# Place -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sform", "qform"), [(1, 0), (0, 1), (1, 1), (2, 1), (4, 4)])
@pytest.mark.parametrize("code", ["RAS", "LPS", "PIR"])
def test_sform_or_qform_is_enough(tmp_path: Path, code: str, sform: int, qform: int) -> None:
    volume = read_nifti(write(tmp_path / "scan.nii", voxels(2, 3, 4), oriented(code), sform=sform, qform=qform))
    np.testing.assert_allclose(volume.affine, zyx(oriented(code)), rtol=0, atol=1e-6)
    assert volume.orientation == code
    assert volume.spacing_mm == (2.0, 0.75, 0.5)
    assert volume.warnings == ()


def test_without_sform_and_qform_the_axes_are_left_front_up_and_a_warning_is_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "scan.nii", voxels(3, 5, 9), np.diag([*XYZ_MM, 1]), sform=0, qform=0)
    volume = read_nifti(path)
    assert volume.orientation == "LAS"
    centre = volume.affine @ (4, 2, 1, 1)  # the middle voxel is the origin
    np.testing.assert_allclose(centre, (0, 0, 0, 1), atol=1e-6)
    assert volume.spacing_mm == (2.0, 0.75, 0.5)
    (warning,) = volume.warnings
    assert warning.startswith("scan.nii does not say how the patient lies (no sform, no qform)")


@pytest.mark.parametrize(("unit", "mm"), [("mm", 10), ("meter", 10_000), ("micron", 0.01)])
def test_where_sform_and_qform_disagree_the_sform_counts(tmp_path: Path, unit: str, mm: float) -> None:
    image = image_of(voxels(2, 3, 4), RAS, unit=unit)
    elsewhere = RAS.copy()
    elsewhere[0, 3] += 10
    image.set_qform(elsewhere, 1, update_affine=False)
    nib.save(image, tmp_path / "scan.nii")
    volume = read_nifti(tmp_path / "scan.nii")
    np.testing.assert_allclose(volume.affine[:3] / (mm / 10), zyx(RAS)[:3], rtol=1e-6)
    (warning,) = volume.warnings
    assert warning == f"scan.nii: sform and qform disagree by up to {mm:.3g} mm; the sform counts"


def test_a_disagreement_below_half_a_voxel_is_rounding(tmp_path: Path) -> None:
    image = image_of(voxels(2, 3, 4), RAS)
    nearby = RAS.copy()
    nearby[0, 3] += 0.24  # the smallest voxel edge is 0.5 mm
    image.set_qform(nearby, 1, update_affine=False)
    nib.save(image, tmp_path / "scan.nii")
    assert read_nifti(tmp_path / "scan.nii").warnings == ()


@pytest.mark.parametrize(("unit", "mm"), [("meter", 1000.0), ("micron", 0.001), ("mm", 1.0), ("unknown", 1.0)])
@pytest.mark.parametrize(("sform", "qform"), [(1, 0), (0, 1), (0, 0)])
def test_units_become_millimetres(tmp_path: Path, unit: str, mm: float, sform: int, qform: int) -> None:
    in_unit = np.diag([1 / mm, 1 / mm, 1 / mm, 1]) @ RAS
    path = write(tmp_path / "scan.nii", voxels(2, 3, 4), in_unit, sform=sform, qform=qform, unit=unit)
    volume = read_nifti(path)
    assert volume.spacing_mm == pytest.approx((2, 0.75, 0.5), rel=1e-6)
    if sform or qform:
        np.testing.assert_allclose(volume.affine, zyx(RAS), rtol=1e-6)
    labels, affine = read_labels(path)
    assert np.array_equal(labels, voxels(2, 3, 4).T)
    assert np.array_equal(affine, volume.affine)


@pytest.mark.parametrize("unit", [4, 7, 2 + 56])
def test_a_unit_outside_the_standard_is_taken_as_mm(scan: Path, unit: int) -> None:
    patch(scan, XYZT_UNITS, "<B", unit)
    assert read_nifti(scan).spacing_mm == (2.0, 0.75, 0.5)


def test_the_header_s_spacing_is_kept_exactly_where_it_agrees(tmp_path: Path) -> None:
    mm = (0.7, 2.1, 2.1)
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", (20, 30, 40), degrees=True).as_matrix()
    path = write(tmp_path / "scan.nii", voxels(2, 3, 4), turn @ np.diag([*mm, 1]), qform=0)
    patch(path, PIXDIM + 4, "<3f", *mm)
    z, y, x = read_nifti(path).spacing_mm
    assert z == y  # the affine's columns differ in the last digits
    assert (z, x) == (float(np.float32(2.1)), float(np.float32(0.7)))


def test_a_negative_voxel_size_is_a_length(scan: Path) -> None:
    patch(scan, PIXDIM + 4, "<3f", -0.5, 0.75, 2.0)
    assert read_nifti(scan).spacing_mm == (2.0, 0.75, 0.5)


# Answers on the same grid ----------------------------------------------------------------------------------------------


def check_same_place(path: Path, source: Path) -> None:
    """Sform, qform, their codes, units and voxel size of two files are equal bit for bit."""
    ours, theirs = nib.load(path).header, nib.load(source).header
    for field in PLACE:
        assert ours[field].tobytes() == theirs[field].tobytes(), field
    assert ours["pixdim"][:4].tobytes() == theirs["pixdim"][:4].tobytes()


@pytest.mark.parametrize("code", ORIENTATIONS)
def test_labels_stand_on_the_very_grid_of_the_image(tmp_path: Path, code: str) -> None:
    rng = np.random.default_rng(ORIENTATIONS.index(code))
    sform, qform = [(1, 1), (2, 0), (0, 3), (4, 1)][ORIENTATIONS.index(code) % 4]
    source = write(tmp_path / "scan.nii.gz", voxels(4, 5, 6), oriented(code), sform=sform, qform=qform)
    volume = read_nifti(source)
    labels = rng.integers(0, 4, volume.shape).astype(np.uint8)
    write_labels(tmp_path / "labels.nii.gz", labels, volume)

    back, affine = read_labels(tmp_path / "labels.nii.gz")
    assert np.array_equal(back, labels)
    assert affine.tobytes() == volume.affine.tobytes()
    check_same_place(tmp_path / "labels.nii.gz", source)
    file = nib.load(tmp_path / "labels.nii.gz")
    assert (int(file.header["sform_code"]), int(file.header["qform_code"])) == (sform, qform)
    assert np.array_equal(np.asarray(file.dataobj), labels.T)


def test_the_header_of_labels_says_what_they_are(tmp_path: Path) -> None:
    image = image_of(voxels(2, 3, 4, 3).astype(np.float32))
    image.header["cal_max"], image.header["cal_min"], image.header["descrip"] = 500, -500, b"patient's name"
    image.header["pixdim"][4] = 2.5
    image.header.set_intent("t test", (3.0,), name="other")
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"private"))
    nib.save(image, tmp_path / "scan.nii.gz")
    patch(tmp_path / "scan.nii.gz", SCL_SLOPE, "<2f", 2, 7)
    volume = read_nifti(tmp_path / "scan.nii.gz")
    write_labels(tmp_path / "labels.nii.gz", np.ones((4, 3, 2), np.uint8), volume)

    file = nib.load(tmp_path / "labels.nii.gz")
    header = file.header
    assert header.get_data_dtype() == np.uint8
    assert file.shape == (2, 3, 4)
    assert (file.dataobj.slope, file.dataobj.inter) == (1, 0)
    assert (float(header["cal_min"]), float(header["cal_max"])) == (0, 0)
    assert header.get_intent() == ("label", (), "UniSeg labels")
    assert header["descrip"] == b"UniSeg App: research use only"
    assert header["pixdim"][4:].tolist() == [0, 0, 0, 0]
    assert len(header.extensions) == 0
    assert b"private" not in gzip.decompress((tmp_path / "labels.nii.gz").read_bytes())
    assert len(volume.source.header.extensions) == 1  # the volume is left alone
    assert volume.source.header.get_data_shape() == (2, 3, 4, 3)


@pytest.mark.parametrize(("kind", "big"), [(nib.Nifti1Image, True), (nib.Nifti2Image, False), (nib.Nifti2Image, True)])
def test_big_endian_and_nifti_2_are_answered_in_kind(tmp_path: Path, kind: Any, big: bool) -> None:
    source = write(tmp_path / "scan.nii", voxels(2, 3, 4), oriented("PIR"), kind=kind, big=big)
    volume = read_nifti(source)
    labels = voxels(2, 3, 4, dtype=np.uint8).T
    write_labels(tmp_path / "labels.nii", labels, volume)
    back, affine = read_labels(tmp_path / "labels.nii")
    assert np.array_equal(back, labels)
    assert np.array_equal(affine, volume.affine)
    assert type(nib.load(tmp_path / "labels.nii")) is kind
    check_same_place(tmp_path / "labels.nii", source)


def test_labels_of_up_to_65535_are_written(tmp_path: Path, scan: Path) -> None:
    labels = np.full((4, 3, 2), 65535, np.uint16)
    write_labels(tmp_path / "labels.nii", labels, read_nifti(scan))
    assert np.array_equal(read_labels(tmp_path / "labels.nii")[0], labels)


def test_labels_of_metres_and_of_no_orientation_lie_where_the_image_lies(tmp_path: Path) -> None:
    for name, how in {"metres": {"unit": "meter"}, "nowhere": {"sform": 0, "qform": 0}}.items():
        source = write(tmp_path / f"{name}.nii", voxels(2, 3, 4), np.diag([*XYZ_MM, 1]), **how)
        volume = read_nifti(source)
        write_labels(tmp_path / f"{name}_labels.nii", np.ones((4, 3, 2), np.uint8), volume)
        assert np.array_equal(read_labels(tmp_path / f"{name}_labels.nii")[1], volume.affine)
        check_same_place(tmp_path / f"{name}_labels.nii", source)


def test_another_reader_sees_image_and_labels_in_one_place(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    for code in ORIENTATIONS:
        source = write(tmp_path / f"{code}.nii", voxels(2, 3, 4), oriented(code))
        labels = np.arange(24, dtype=np.uint8).reshape(4, 3, 2)
        write_labels(tmp_path / f"{code}_labels.nii", labels, read_nifti(source))
        image, answer = sitk.ReadImage(str(source)), sitk.ReadImage(str(tmp_path / f"{code}_labels.nii"))
        assert answer.GetPixelIDTypeAsString() == "8-bit unsigned integer"
        assert np.array_equal(sitk.GetArrayFromImage(answer), labels)
        assert np.array_equal(sitk.GetArrayFromImage(image), read_nifti(source).array[0])
        for fact in ("GetOrigin", "GetSpacing", "GetDirection", "GetSize"):
            assert getattr(image, fact)() == getattr(answer, fact)(), (code, fact)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    xyz_mm=st.tuples(*[st.floats(0.25, 7)] * 3),
    origin=st.tuples(*[st.integers(-800, 800)] * 3),
    flip=st.booleans(),
    codes=st.sampled_from([(1, 0), (0, 1), (1, 1)]),
)
def test_an_oblique_scan_keeps_its_place(
    angles: tuple, xyz_mm: tuple, origin: tuple, flip: bool, codes: tuple[int, int]
) -> None:
    intended = np.eye(4)
    intended[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * xyz_mm
    intended[:3, 3] = np.array(origin) / 4
    intended[:3, 2] *= -1 if flip else 1
    with tempfile.TemporaryDirectory() as folder:
        source = write(Path(folder, "scan.nii"), voxels(2, 3, 4), intended, sform=codes[0], qform=codes[1])
        volume = read_nifti(source)
        labels = voxels(2, 3, 4, dtype=np.uint8).T
        write_labels(Path(folder, "labels.nii"), labels, volume)
        back, affine = read_labels(Path(folder, "labels.nii"))
        check_same_place(Path(folder, "labels.nii"), source)
    # A qform holds the turn as a quaternion in float32, a sform the matrix itself.
    np.testing.assert_allclose(volume.affine, zyx(intended), rtol=0, atol=1e-6 if codes[0] else 1e-5)
    assert affine.tobytes() == volume.affine.tobytes()
    assert np.array_equal(back, labels)
    assert volume.warnings == ()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    zyx_mm=st.tuples(*[st.floats(0.25, 7)] * 3),
    origin=st.tuples(*[st.integers(-800, 800)] * 3),
)
def test_labels_for_a_volume_without_a_nifti_header_lie_on_its_grid(angles: tuple, zyx_mm: tuple, origin: tuple) -> None:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * zyx_mm
    affine[:3, 3] = np.array(origin) / 4
    labels = voxels(4, 3, 2, dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "labels.nii.gz")
        write_labels(path, labels, Volume(np.ones((1, 4, 3, 2), np.float32), affine))
        back, place = read_labels(path)
        header = nib.load(path).header
    np.testing.assert_allclose(place, affine, rtol=0, atol=1e-6)
    np.testing.assert_allclose(header.get_qform(), zyx(affine), rtol=0, atol=1e-4)
    assert np.array_equal(back, labels)
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)
    assert header.get_xyzt_units()[0] == "mm"
    assert header.get_intent()[0] == "label"
    assert header.get_data_dtype() == np.uint8


SHEARED = RAS.copy()
SHEARED[1, 2] = 1.5  # slices 2 mm apart slide 1.5 mm to the front: steps of 2.5 mm (3-4-5)


def test_a_sheared_sform_survives(tmp_path: Path) -> None:
    image = image_of(voxels(2, 3, 4), RAS, qform=0)
    image.set_sform(SHEARED, 2)
    nib.save(image, tmp_path / "scan.nii")
    volume = read_nifti(tmp_path / "scan.nii")
    assert np.array_equal(volume.affine, zyx(SHEARED))
    assert volume.spacing_mm == (2.5, 0.75, 0.5)
    write_labels(tmp_path / "labels.nii", np.ones((4, 3, 2), np.uint8), volume)
    assert np.array_equal(read_labels(tmp_path / "labels.nii")[1], zyx(SHEARED))
    check_same_place(tmp_path / "labels.nii", tmp_path / "scan.nii")


def test_our_own_files_never_contradict_themselves(tmp_path: Path) -> None:
    """A qform cannot hold a shear, so a sheared volume must not be given one that counts as much as its sform."""
    volume = Volume(np.ones((1, 40, 30, 20), np.float32), zyx(SHEARED))  # the last slice is 58.5 mm further to the front
    write_image(tmp_path / "scan.nii", volume.array[0], volume)
    again = read_nifti(tmp_path / "scan.nii")
    assert np.array_equal(again.affine, volume.affine)
    assert again.warnings == ()


# Writing ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([0, -1024, 3071], "int16"),
        ([0, 0.5, 1], "float32"),
        ([0, 40_000, 1], "float32"),
        ([0, -32_768, 1], "float32"),
        ([0, np.nan, 1], "float32"),
    ],
)
def test_a_channel_is_written_in_the_smallest_type_that_holds_it(tmp_path: Path, values: list, dtype: str) -> None:
    channel = np.resize(np.array(values, np.float32), (4, 3, 2))
    volume = Volume(np.ones((1, 4, 3, 2), np.float32), zyx(oriented("PIR")))
    write_image(tmp_path / "scan.nii.gz", channel, volume)
    again = read_nifti(tmp_path / "scan.nii.gz")
    assert nib.load(tmp_path / "scan.nii.gz").get_data_dtype() == dtype
    assert np.array_equal(again.array[0], channel, equal_nan=True)
    assert np.array_equal(again.affine, volume.affine)
    assert again.spacing_mm == volume.spacing_mm


def test_a_full_disk_leaves_the_old_answer_and_no_half_one(tmp_path: Path, scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = read_nifti(scan)
    (tmp_path / "answers").mkdir()
    path = tmp_path / "answers" / "labels.nii.gz"

    def save_half(image: Any, where: Path) -> None:
        where.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    for written_before in (False, True):
        if written_before:
            write_labels(path, np.ones((4, 3, 2), np.uint8), volume)
        before = [(p.name, p.read_bytes()) for p in path.parent.iterdir()]
        with monkeypatch.context() as patched:
            patched.setattr(nib, "save", save_half)
            with pytest.raises(OutputError, match=r"labels\.nii\.gz cannot be written: .*No space left .* write permission\."):
                write_labels(path, np.zeros((4, 3, 2), np.uint8), volume)
        assert [(p.name, p.read_bytes()) for p in path.parent.iterdir()] == before


def test_a_rename_that_fails_leaves_nothing(tmp_path: Path, scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = read_nifti(scan)
    before = sorted(tmp_path.iterdir())

    def refuse(*_: Any) -> None:
        raise OSError("the file is open elsewhere")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", refuse)
        for save in (write_labels, write_image):
            with pytest.raises(OutputError, match="cannot be written: the file is open elsewhere"):
                save(tmp_path / "labels.nii.gz", np.ones((4, 3, 2), np.uint8), volume)
    assert sorted(tmp_path.iterdir()) == before


def test_who_interrupts_leaves_nothing(tmp_path: Path, scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = read_nifti(scan)
    before = sorted(tmp_path.iterdir())

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_labels(tmp_path / "labels.nii.gz", np.ones((4, 3, 2), np.uint8), volume)
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path, scan: Path) -> None:
    with pytest.raises(OutputError, match=r"none/labels\.nii cannot be written: .*No such file.* Choose a folder"):
        write_labels(tmp_path / "none" / "labels.nii", np.ones((4, 3, 2), np.uint8), read_nifti(scan))


@pytest.mark.parametrize("name", ["labels.mha", "labels.gz", "labels"])
def test_other_formats_are_not_written(tmp_path: Path, scan: Path, name: str) -> None:
    with pytest.raises(OutputError, match=rf"written as \.nii or \.nii\.gz, not as {name}"):
        write_labels(tmp_path / name, np.ones((4, 3, 2), np.uint8), read_nifti(scan))
    assert [path.name for path in tmp_path.iterdir()] == ["scan.nii"]


# Labels as input -------------------------------------------------------------------------------------------------------


def test_an_empty_label_map_is_a_valid_answer(tmp_path: Path) -> None:
    labels, affine = read_labels(write(tmp_path / "labels.nii", np.zeros((2, 3, 4), np.uint8)))
    assert labels.shape == (4, 3, 2)
    assert labels.dtype == np.int32
    assert not labels.any()
    assert np.array_equal(affine, zyx(RAS))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_labels_of_any_type_are_whole_numbers(tmp_path: Path, dtype: Any) -> None:
    labels, _ = read_labels(write(tmp_path / "labels.nii.gz", voxels(2, 3, 4, 1).astype(dtype)))
    assert np.array_equal(labels, voxels(2, 3, 4).T)


def test_large_label_values_are_read_as_stored(tmp_path: Path) -> None:
    array = voxels(2, 3, 4, dtype=np.int32) + 2**24  # 16777217 and on: every second one is not a float32
    assert np.array_equal(read_labels(write(tmp_path / "labels.nii", array))[0], array.T)


def test_a_label_value_beyond_32_bits_is_kept_or_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "labels.nii", np.full((2, 3, 4), 3e9, np.float64))
    with contextlib.suppress(FileFormatError):
        assert (read_labels(path)[0] == 3e9).all()


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf])
def test_values_that_are_not_whole_numbers_are_not_labels(tmp_path: Path, value: float) -> None:
    array = voxels(2, 3, 4, dtype=np.float32)
    array[0, 0, 0] = value
    with pytest.raises(FileFormatError, match=r"labels\.nii holds values that are not whole numbers"):
        read_labels(write(tmp_path / "labels.nii", array))


def test_a_label_map_has_one_channel(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"labels\.nii has 3 channels, a label map has one"):
        read_labels(write(tmp_path / "labels.nii", voxels(2, 3, 4, 3)))


# Damage ----------------------------------------------------------------------------------------------------------------


def check_refused(path: Path, error: type[ImageError], match: str) -> None:
    """Image and labels are refused alike."""
    for read in (read_nifti, read_labels):
        with pytest.raises(error, match=match):
            read(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    check_refused(tmp_path / "none.nii", FileFormatError, r"there is no file .*none\.nii")


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "scan.nii").mkdir()
    check_refused(tmp_path / "scan.nii", FileFormatError, r"scan\.nii is a folder, not a NIfTI file")


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("scan.nii", b"", r"scan\.nii is not NIfTI: it does not begin with a NIfTI header\. The file is empty\."),
        ("scan.nii", b"\x89PNG" * 200, "does not begin with a NIfTI header.* copy or export it again"),
        ("scan.nii", struct.pack("<i", 348), "does not begin with a NIfTI header"),
        ("scan.nii.gz", b"\x89PNG" * 200, r"scan\.nii\.gz cannot be read as gzip: .* cut off or renamed"),
        ("scan.nii.gz", gzip.compress(bytes(range(256)), mtime=0)[:60], r"scan\.nii\.gz cannot be read as gzip"),
        ("scan.nii.gz", gzip.compress(b"hello", mtime=0), "does not begin with a NIfTI header"),
        ("scan.nii.gz", b"", r"The file is empty\."),
    ],
    ids=["empty", "PNG", "header cut", "PNG as gzip", "gzip cut", "text in gzip", "empty gzip"],
)
def test_what_is_not_nifti_is_refused(tmp_path: Path, name: str, content: bytes, match: str) -> None:
    (tmp_path / name).write_bytes(content)
    check_refused(tmp_path / name, FileFormatError, match)


def test_a_file_that_may_not_be_read_is_refused(scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*_: Any, **__: Any) -> None:
        raise PermissionError("Permission denied")

    monkeypatch.setattr(Path, "open", forbid)  # root may read everything
    check_refused(scan, FileFormatError, r"scan\.nii cannot be read as a file: Permission denied")


@pytest.mark.parametrize("dim", [(0, 2, 3, 4), (8, 2, 3, 4), (-1, 2, 3, 4), (3, 2, -3, 4), (4, 2, 3, 4, 0)])
def test_damaged_dimensions_are_refused(scan: Path, dim: tuple[int, ...]) -> None:
    patch(scan, DIM, f"<{len(dim)}h", *dim)
    check_refused(scan, FileFormatError, rf"damaged header: its dimensions are \[{dim[0]}, 2, ")


@pytest.mark.parametrize("shape", [(24,), (4, 6), (4, 6, 1), (4, 6, 1, 1), (1, 4, 6), (4, 1, 6), (4, 6, 1, 3)])
def test_a_picture_is_not_a_volume(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = write(tmp_path / "scan.nii", voxels(*shape), np.eye(4))
    check_refused(path, GeometryError, r"scan\.nii is a 2-D image of .* Give the whole stack of slices as one file\.")


def test_an_unknown_type_of_voxel_is_refused(scan: Path) -> None:
    patch(scan, DATATYPE, "<h", 9999)
    check_refused(scan, FileFormatError, r"scan\.nii has a damaged header: .*9999")


@pytest.mark.parametrize("dtype", ["complex64", [("R", "u1"), ("G", "u1"), ("B", "u1")]])
def test_colours_and_complex_numbers_are_refused(tmp_path: Path, dtype: Any) -> None:
    path = write(tmp_path / "scan.nii", np.zeros((2, 3, 4), np.dtype(dtype)))
    check_refused(path, FileFormatError, r"scan\.nii stores .* voxels, an image must store whole or real numbers")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_header_that_claims_more_than_the_file_holds_is_refused_before_anything_is_allocated(
    tmp_path: Path, suffix: str
) -> None:
    path = patch(write(tmp_path / f"scan{suffix}", voxels(2, 3, 4)), DIM, "<4h", 3, 30_000, 30_000, 30_000)
    check_refused(path, FileFormatError, r"claims 30000 x 30000 x 30000 voxels \(5\.4e\+04 GB\), its \d+ bytes cannot hold")


@pytest.mark.parametrize("lost", [1, 40])
def test_a_file_that_lacks_its_last_bytes_is_refused_on_one_line(scan: Path, lost: int) -> None:
    scan.write_bytes(scan.read_bytes()[:-lost])
    check_refused(scan, FileFormatError, r"scan\.nii is truncated or damaged: .* copy or export it again")


def test_half_of_a_gzip_file_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    path = write(tmp_path / "scan.nii.gz", rng.integers(0, 1000, (20, 20, 20)).astype(np.int16))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    check_refused(path, FileFormatError, r"scan\.nii\.gz is truncated or damaged")


def test_a_voxel_that_contradicts_the_check_sum_of_a_gzip_file_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "source.nii", voxels(20, 20, 20))
    content = bytearray(gzip.compress(source.read_bytes(), compresslevel=0))  # stored as it is, so that one bit is one voxel
    content[-10] ^= 0b100  # the last 8 bytes are the check sum and the length
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(content)
    check_refused(path, FileFormatError, r"scan\.nii\.gz (is truncated or damaged|cannot be read as gzip): .*CRC")


def test_a_file_beyond_memory_is_refused(scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lack(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("uniseg_model.io.nifti._stored_planes", lack)
    check_refused(scan, FileFormatError, r"scan\.nii needs 9\.6e-08 GB of memory, which is not free")


@pytest.mark.parametrize("size", [0.0, float("nan"), float("inf")])
def test_an_unknown_voxel_size_is_refused_even_beside_a_good_sform(scan: Path, size: float) -> None:
    patch(scan, PIXDIM + 4, "<3f", 0.5, size, 2.0)
    match = rf"scan\.nii gives its voxel size as 0\.5 x {size:g} x 2 mm \(x, y, z\): .* \(pixdim\)"
    check_refused(scan, GeometryError, match)


@pytest.mark.parametrize("qform", [0, 1])
def test_a_singular_sform_is_refused(scan: Path, qform: int) -> None:
    patch(scan, 252, "<2h", qform, 1)
    patch(scan, 280, "<12f", *np.diag([1.0, 0, 1, 1])[:3].ravel())
    check_refused(scan, GeometryError, "the affine is singular")


@pytest.mark.parametrize("qform", [0, 1])
def test_a_sform_without_numbers_is_refused(scan: Path, qform: int) -> None:
    patch(scan, 252, "<2h", qform, 1)
    patch(scan, 280, "<f", float("nan"))
    check_refused(scan, GeometryError, "the affine must be 4 x 4 finite numbers")


def test_a_damaged_qform_is_refused_where_no_sform_stands_in(tmp_path: Path) -> None:
    beside = patch(write(tmp_path / "beside.nii", voxels(2, 3, 4)), QUATERN_B, "<3f", 1, 1, 1)  # a unit vector at most
    assert "beside.nii has a damaged qform; its sform counts" in read_nifti(beside).warnings
    alone = patch(write(tmp_path / "alone.nii", voxels(2, 3, 4), sform=0), QUATERN_B, "<3f", 1, 1, 1)
    check_refused(alone, ImageError, r"alone\.nii has a damaged (header or )?orientation.*: ")


@pytest.mark.parametrize("offset", range(0, VOXELS, 2))
def test_no_damage_to_a_header_escapes_as_a_foreign_error(scan: Path, offset: int) -> None:
    """Any two bytes of the header wrong: the file is read, or refused by name."""
    for low, high in ((0xFF, 0xFF), (0x00, 0x80), (0x07, 0x00)):
        patch(scan, offset, "<2B", low, high)
        for read in (read_nifti, read_labels):
            with contextlib.suppress(ImageError):
                read(scan)
        write(scan, voxels(2, 3, 4))


# Several files as channels ---------------------------------------------------------------------------------------------


def test_several_files_become_channels_in_the_order_given(tmp_path: Path) -> None:
    first = write(tmp_path / "t1.nii.gz", voxels(2, 3, 4))
    second = write(tmp_path / "t2.nii", 100 + voxels(2, 3, 4, dtype=np.float32))
    volume = read_volume([second, first])
    assert np.array_equal(volume.array, np.stack([100 + voxels(2, 3, 4).T, voxels(2, 3, 4).T]))
    assert volume.source.paths == (str(second), str(first))
    write_labels(tmp_path / "labels.nii", np.ones((4, 3, 2), np.uint8), volume)
    check_same_place(tmp_path / "labels.nii", second)


def test_one_file_is_read_from_a_path_a_string_or_a_list(scan: Path) -> None:
    for paths in (scan, str(scan), [scan], (str(scan),)):
        assert read_volume(paths).source.paths == (str(scan),)


def test_a_suffix_may_be_written_in_capitals(tmp_path: Path) -> None:
    for name in ("SCAN.NII", "SCAN.NII.GZ"):
        write(tmp_path / "scan.nii", voxels(2, 3, 4))
        content = (tmp_path / "scan.nii").read_bytes()
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("GZ") else content)
        assert read_volume(tmp_path / name).shape == (4, 3, 2)


def test_warnings_of_channels_are_told_once_and_nan_is_counted_anew(tmp_path: Path) -> None:
    array = voxels(2, 3, 4, dtype=np.float32)
    array[0, 0, 0] = np.nan
    paths = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        paths.append(write(tmp_path / folder / "scan.nii", array, np.diag([*XYZ_MM, 1]), sform=0, qform=0))
    orientation, nan = read_volume(paths).warnings
    assert "how the patient lies" in orientation
    assert nan == "2 of 48 voxels are NaN and are taken as 0"


def test_channels_a_header_s_rounding_apart_are_stacked(tmp_path: Path) -> None:
    moved = RAS.copy()
    moved[0, 3] += 0.02  # 5 % of the smallest edge would be 0.025 mm
    paths = [write(tmp_path / "a.nii", voxels(2, 3, 4)), write(tmp_path / "b.nii", voxels(2, 3, 4), moved)]
    assert np.array_equal(read_volume(paths).affine, zyx(RAS))


def test_channels_on_other_grids_are_refused(tmp_path: Path) -> None:
    moved = RAS.copy()
    moved[0, 3] += 0.03
    first = write(tmp_path / "a.nii", voxels(2, 3, 4))
    shorter, apart = write(tmp_path / "b.nii", voxels(2, 3, 3)), write(tmp_path / "c.nii", voxels(2, 3, 4), moved)
    with pytest.raises(GeometryError, match=r"image 2 has \(3, 3, 2\) voxels \(z, y, x\), image 1 has \(4, 3, 2\)"):
        read_volume([first, shorter])
    with pytest.raises(
        GeometryError,
        match=r"image 3 lies 0\.03 mm away from image 1, 0\.025 mm are allowed .* Resample the images onto one grid",
    ):
        read_volume([first, first, apart])


def test_nothing_is_not_an_image() -> None:
    with pytest.raises(FileFormatError, match="no image was given"):
        read_volume([])


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"there is no file or folder .*none\.nii"):
        read_volume(tmp_path / "none.nii")


def test_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scan.png").write_bytes(b"\x89PNG")
    with pytest.raises(FileFormatError, match=r"scan\.png is neither a NIfTI file .* all slices of a DICOM series"):
        read_volume(tmp_path / "scan.png")
