"""What people, and people with bad intentions, drop into the page: it is taken in, or refused in a sentence that helps."""

from __future__ import annotations

import gzip
import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from uniseg_app.web_demo.kinds import Kind, kind_of, safe_name
from uniseg_app.web_demo.unzip import Limits
from uniseg_app.web_demo.uploads import Received, Uploaded, check_size, receive
from uniseg_model.errors import FileFormatError, ImageError, OutputError, UniSegError
from uniseg_model.io import read_size, read_volume
from uniseg_model.progress import Cancelled, Progress

SHAPE = (6, 5, 4)  # x, y, z
UID = "1.2.826.0.1.3680043.8.498."
Given = dict[str, bytes]


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Callable[..., Received]]:
    """Drops files, by name, into the page. Whatever happens, nothing may appear outside of the private folder."""
    (private := tmp_path / "private").mkdir(mode=0o700)
    (sent := tmp_path / "sent").mkdir()

    def drop(files: Given, **options: Any) -> Received:
        uploads = [Uploaded(sent / f"{k}", name) for k, name in enumerate(files)]
        for upload, content in zip(uploads, files.values(), strict=True):
            upload.path.write_bytes(content)
        try:
            return receive(uploads, private, **options)
        except (UniSegError, Cancelled):
            assert list(private.iterdir()) == [], "something was left behind"
            raise

    yield drop
    assert sorted(p.name for p in tmp_path.iterdir()) == ["private", "sent"], "something was made outside"


def nifti(value: int = 1, shape: tuple[int, ...] = SHAPE, suffix: str = ".nii.gz") -> bytes:
    image = nib.Nifti1Image(np.full(shape, value, np.int16), np.diag([1.0, 1.0, 2.0, 1.0]))
    content = image.to_bytes()
    return content if suffix == ".nii" else gzip.compress(content)


def slice_of(k: int, series: str = "1", **tags: Any) -> bytes:
    """A CT slice of 3 rows of 5; it lies 2.5 k mm up."""
    pydicom = pytest.importorskip("pydicom", reason="DICOM needs the package pydicom")
    ds = pydicom.Dataset()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = pydicom.uid.CTImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = pydicom.uid.generate_uid()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    ds.Modality, ds.SeriesDescription, ds.SeriesNumber, ds.SeriesInstanceUID = "CT", f"Body {series}", series, UID + series
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [0, 0, 2.5 * k], [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.Rows, ds.Columns = [0.5, 0.75], 3, 5
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    ds.PixelData = np.full((3, 5), 100 + k, np.uint16).tobytes()
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    file = io.BytesIO()
    ds.save_as(file, enforce_file_format=True)
    return file.getvalue()


def zipped(files: Given, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(_entry(name, method), content)
    return file.getvalue()


def _entry(name: str, method: int = zipfile.ZIP_DEFLATED) -> zipfile.ZipInfo:
    """A member of exactly this name, which ``writestr`` alone would tidy."""
    entry = zipfile.ZipInfo("x")
    entry.filename, entry.compress_type = name, method
    return entry


def special(mode: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        entry = zipfile.ZipInfo("ct.nii.gz")
        entry.create_system, entry.external_attr = 3, mode << 16
        archive.writestr(entry, "/etc/passwd")
    return file.getvalue()


def rewritten(content: bytes, offset: int, form: str, value: int) -> bytes:
    """An archive of one member with a field of its local header and of its directory changed (offset: in the directory)."""
    data = bytearray(content)
    struct.pack_into(form, data, data.index(b"PK\x01\x02") + offset, value)
    struct.pack_into(form, data, offset - 2, value)  # the local header lacks "version made by"
    return bytes(data)


def test_one_nifti_file_comes_in_and_can_be_read(page: Callable[..., Received]) -> None:
    received = page({"Scan of somebody.nii.gz": nifti(7)})
    assert received.names == ("Scan of somebody.nii.gz",)
    assert read_volume(received.paths).array.max() == 7
    assert received.series == received.passed_over == ()


@pytest.mark.parametrize("wrap", [lambda files: files, lambda files: {"case.zip": zipped(files)}], ids=["loose", "zip"])
def test_channel_numbers_decide_the_order(page: Callable[..., Received], wrap: Callable[[Given], Given]) -> None:
    received = page(wrap({"b.nii.gz": nifti(9), "case_0001.nii.gz": nifti(1), "case_0000.nii.gz": nifti(5)}))
    assert received.names == ("case_0000.nii.gz", "case_0001.nii.gz", "b.nii.gz")
    assert read_volume(received.paths).array[:, 0, 0, 0].tolist() == [5, 1, 9]


def test_loose_channels_stand_as_they_were_given_and_zipped_ones_by_name(page: Callable[..., Received]) -> None:
    files = {"t10.nii.gz": nifti(10), "t2.nii.gz": nifti(2)}
    assert page(files).names == ("t10.nii.gz", "t2.nii.gz")
    assert page({"case.zip": zipped(files)}).names == ("t2.nii.gz", "t10.nii.gz")


@pytest.mark.parametrize("suffix", ["", ".dcm"])
@pytest.mark.parametrize("is_zip", [False, True], ids=["folder", "zip"])
def test_a_dicom_series_comes_in_with_or_without_suffix(page: Callable[..., Received], suffix: str, is_zip: bool) -> None:
    files = {f"CD/IM{k}{suffix}": slice_of(k) for k in range(3)}
    received = page({"cd.zip": zipped(files)} if is_zip else files)
    (series,) = received.series
    assert (series.uid, series.description, series.n_slices, series.modality) == (UID + "1", "Body 1", 3, "CT")
    assert read_volume(received.paths).array[0, :, 0, 0].tolist() == [100, 101, 102]


def test_several_series_are_offered_and_one_is_read(page: Callable[..., Received]) -> None:
    same_names = {f"s{s}/IM{k}": slice_of(k + 10 * s, series=str(s)) for s in (1, 2) for k in range(2)}
    received = page({"cd.zip": zipped(same_names)})
    assert [series.n_slices for series in received.series] == [2, 2]
    assert read_volume(received.paths, series=received.series[1].uid).array[0, :, 0, 0].tolist() == [120, 121]


def test_what_systems_and_viewers_leave_in_a_zip_is_passed_over(page: Callable[..., Received]) -> None:
    litter = {"DICOMDIR": slice_of(0), "__MACOSX/._ct.nii.gz": b"?", ".DS_Store": b"?", "a/.hidden.dcm": b"?"}
    others = {"README.txt": b"read me", "viewer.exe": b"MZ", "preview.jpg": b"\xff\xd8"}
    received = page({"x.zip": zipped({**litter, **others, "ct.nii.gz": nifti()})})
    assert received.names == ("ct.nii.gz",)
    assert sorted(received.passed_over) == sorted(others)
    assert len([p for p in received.folder.rglob("*") if p.is_file()]) == 1


REFUSED = {
    "no file at all": ({}, "no file was given; accepted are NIfTI .*Drop a scan"),
    "picture": ({"liver.png": b"\x89PNG"}, r"liver.png is a 2-D picture; accepted are NIfTI \(.nii, .nii.gz\), DICOM .* Give the scan"),
    "photograph": ({"a.zip": zipped({"IMG.JPG": b"?"})}, "IMG.JPG is a 2-D picture; accepted are .* all its slices"),
    "document": ({"report.pdf": b"%PDF"}, "report.pdf is a document; accepted are"),
    "FreeSurfer": ({"brain.mgz": b"\x1f\x8b"}, "brain.mgz is a FreeSurfer volume; .* mri_convert"),
    "NRRD": ({"ct.nrrd": b"NRRD0004"}, "ct.nrrd is an NRRD volume; .* Convert it to .nii.gz"),
    "MetaImage beside NIfTI": ({"a.nii.gz": nifti(), "b.mha": b"?"}, "b.mha is a MetaImage volume; .* Convert it"),
    "MetaImage in a zip": ({"a.zip": zipped({"b.mha": b"?"})}, "b.mha is a MetaImage volume"),
    "half a pair": ({"a.hdr": b"?", "a.img": b"?"}, "a.hdr is one half of a header/image pair; .* Convert the pair"),
    "unknown": ({"notes.xyz": b"?"}, "notes.xyz is of a kind that is not known here; accepted are"),
    "broken slice": ({"1.dcm": b"\0" * 200}, "1.dcm is no DICOM file: the mark DICM .* Copy or export"),
    "both formats": ({"a.nii": nifti(suffix=".nii"), "1": b"\0" * 128 + b"DICM"}, "NIfTI and DICOM files were given together"),
    "one channel twice": ({"a_0000.nii": b"", "b_0000.nii": b""}, "a_0000.nii and b_0000.nii are both channel 0000"),
    "zip and more": ({"a.zip": zipped({}), "b.nii": b""}, "a.zip is one of 2 files that were given, an archive must come alone"),
    "7-Zip": ({"a.7z": b"7z\xbc\xaf\x27\x1c"}, "a.7z is an archive that cannot be opened here; .* Unpack it"),
    "tar": ({"a.tar.gz": b"\x1f\x8b"}, "a.tar.gz is an archive that cannot be opened here"),
    "nothing in a zip": ({"a.zip": zipped({})}, "there is no image in what was given; .* all slices"),
    "only litter": ({"DICOMDIR": b"?", ".DS_Store": b"?"}, "there is no image in what was given"),
    "cut zip": ({"a.zip": zipped({"a.nii": nifti()})[:-30]}, "the archive cannot be read: File is not a zip file.* make it anew"),
    "garbage as zip": ({"a.zip": b"PK\x03\x04" + b"?" * 99}, "the archive cannot be read"),
    "absolute": ({"a.zip": zipped({"/etc/a.nii": b"?"})}, "member '/etc/a.nii', whose name points outside of it.* anew"),
    "upwards": ({"a.zip": zipped({"a/../../b.nii": b"?"})}, "member 'a/../../b.nii', whose name points outside"),
    "upwards on Windows": ({"a.zip": zipped({"a\\..\\..\\b.nii": b"?"})}, r"whose name points outside"),
    "share on Windows": ({"a.zip": zipped({"\\\\host\\b.nii": b"?"})}, r"whose name points outside"),
    "drive letter": ({"a.zip": zipped({"C:b.nii": b"?"})}, "member 'C:b.nii', whose name points outside"),
    "upwards as litter": ({"a.zip": zipped({"../.DS_Store": b"?"})}, "whose name points outside"),
    "link": ({"a.zip": special(stat.S_IFLNK | 0o777)}, "'ct.nii.gz' is a link or a device, only plain files"),
    "device": ({"a.zip": special(stat.S_IFBLK | 0o666)}, "'ct.nii.gz' is a link or a device"),
    "encrypted": ({"a.zip": rewritten(zipped({"ct.nii": b"?"}), 8, "<H", 1)}, "'ct.nii' is encrypted. .* without a password"),
    "odd method": ({"a.zip": zipped({"ct.nii": b"?"}, zipfile.ZIP_LZMA)}, r"packed by method 14, only 0 and 8 \(deflate\)"),
    "zip in zip": ({"a.zip": zipped({"b.zip": zipped({})})}, "b.zip is an archive within the archive, .* Unpack it"),
    "hidden zip in zip": ({"a.zip": zipped({"IM0001": zipped({"x": b""})})}, "IM0001 is an archive within the archive"),
    "gzip in zip": ({"a.zip": zipped({"b.tar.gz": b""})}, "b.tar.gz is an archive within the archive"),
    "damaged member": ({"a.zip": rewritten(zipped({"ct.nii": b"?" * 99}), 16, "<I", 1)}, "cannot be read: Bad CRC-32"),
}  # fmt: skip


@pytest.mark.parametrize(("files", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_used_is_refused_and_leaves_nothing(page: Callable[..., Received], files: Given, message: str) -> None:
    with pytest.raises(FileFormatError, match=f"(?s){message}"):
        page(files)


def test_too_many_members_are_refused(page: Callable[..., Received]) -> None:
    with pytest.raises(FileFormatError, match=r"the archive has 4 members, at most 3 are taken. Give a .zip of one scan"):
        page({"a.zip": zipped({f"{k}.dcm": b"" for k in range(4)})}, limits=Limits(most_members=3))


def test_a_directory_that_would_fill_the_memory_is_not_read(page: Callable[..., Received]) -> None:
    many = zipped({f"{k:0200}.txt": b"" for k in range(5000)}, zipfile.ZIP_STORED)
    with pytest.raises(FileFormatError, match=r"cannot be read: its directory is too large"):
        page({"a.zip": many}, limits=Limits(most_members=10))


def test_a_bomb_that_says_its_size_is_refused_before_anything_is_written(page: Callable[..., Received]) -> None:
    bomb = zipped({"zeros.nii": bytes(40 << 20)})
    with pytest.raises(FileFormatError, match=r"says that it unpacks to 41.9 MB, at most 33.6 MB are taken"):
        page({"a.zip": bomb})
    with pytest.raises(FileFormatError, match=r"unpacks to 41.9 MB, at most 1 MB are taken"):
        page({"a.zip": bomb}, limits=Limits(most_bytes=10**6, most_ratio=1e9))


@pytest.mark.parametrize("claimed", [0, 1000])
def test_a_bomb_that_lies_about_its_size_stops_early(page: Callable[..., Received], claimed: int) -> None:
    """10 MB of zeros behind a header that claims little: not more than is claimed is ever written."""
    bomb = rewritten(zipped({"zeros.nii": bytes(10 << 20)}), 24, "<I", claimed)
    seen: list[Progress] = []
    with pytest.raises(FileFormatError, match=r"cannot be read: Bad CRC-32"):
        page({"a.zip": bomb}, progress=seen.append)
    assert sum(p.done for p in seen) <= 1000


def test_a_bomb_with_a_checksum_for_its_lie_gives_no_more_than_it_claims(page: Callable[..., Received]) -> None:
    bomb = rewritten(zipped({"zeros.nii": bytes(10 << 20)}), 24, "<I", 1000)
    received = page({"a.zip": rewritten(bomb, 16, "<I", zlib.crc32(bytes(1000)))})
    assert [p.stat().st_size for p in received.paths] == [1000]
    with pytest.raises(FileFormatError, match=r"zeros.nii is not NIfTI"):
        check_size(received.paths)


def test_a_member_that_holds_less_than_it_says_is_refused(page: Callable[..., Received]) -> None:
    with pytest.raises(FileFormatError, match=r"cannot be read|says that it has 5000 bytes, it holds 99"):
        page({"a.zip": rewritten(zipped({"ct.nii": b"?" * 99}), 24, "<I", 5000)})


def test_a_full_disk_is_named(page: Callable[..., Received], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("usage", (), {"free": 10**6}))
    with pytest.raises(OutputError, match=r"the archive needs .* of disk, 1 MB are free. Free some"):
        page({"a.zip": zipped({"ct.nii.gz": nifti()})})


def test_cancelling_while_unpacking_leaves_nothing(page: Callable[..., Received]) -> None:
    def stop(progress: Progress) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        page({"a.zip": zipped({"ct.nii.gz": nifti()})}, progress=stop)


def test_a_link_in_place_of_an_upload_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.nii").write_bytes(nifti(suffix=".nii"))
    try:
        (tmp_path / "sent.nii").symlink_to(tmp_path / "secret.nii")
    except OSError:
        pytest.skip("this system lets nobody make links")
    with pytest.raises(FileFormatError, match=r"sent.nii is not there any more. Drop the files again"):
        receive([Uploaded(tmp_path / "sent.nii")], tmp_path)


def test_everything_lies_in_folders_that_others_cannot_enter(page: Callable[..., Received]) -> None:
    if os.name != "posix":
        pytest.skip("only POSIX systems have such modes")
    received = page({"a.zip": zipped({"ct.nii.gz": nifti()})})
    assert {stat.S_IMODE(p.stat().st_mode) for p in [received.folder, received.paths[0].parent]} == {0o700}


def test_messages_do_not_tell_where_the_private_folder_is(page: Callable[..., Received], tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"what was given holds no DICOM image") as caught:
        page({"1": slice_of(1, Modality="SEG")})
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../etc/ct.nii.gz", "ct.nii.gz"),
        ("C:\\Users\\ct 1.nii", "ct_1.nii"),
        ("...", "file"),
        ("a\0\n$(rm).nii", "a____rm_.nii"),
        ("CON.nii", "_CON.nii"),
        ("Kopf-Müller.nii.gz", "Kopf-Müller.nii.gz"),
        ("x" * 300 + ".nii.gz", "x" * 53 + ".nii.gz"),
    ],
)
def test_names_on_disk_are_harmless(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_what_a_file_is_follows_from_content_where_the_name_says_nothing() -> None:
    dicom = b"\0" * 128 + b"DICM"
    assert kind_of("IM0001", dicom) is kind_of("a.b/1.2.840", dicom) is kind_of("x.dcm", dicom) is Kind.DICOM
    assert kind_of("scan", b"PK\x03\x04") is Kind.ARCHIVE
    assert kind_of("CD/dicomdir", dicom) is kind_of(".git/x.nii", b"") is Kind.LITTER


def test_the_size_is_known_without_reading_voxels(page: Callable[..., Received]) -> None:
    (path,) = page({"four.nii.gz": nifti(shape=(6, 5, 4, 3))}).paths
    size = read_size(path)
    assert (size.shape, size.dtype, size.n_voxels) == ((3, 4, 5, 6), np.int16, 360)
    dicom = page({f"{k}": slice_of(k) for k in range(3)}).paths[0]
    assert read_size(dicom).shape == read_volume(dicom).array.shape == (1, 3, 3, 5)
    assert read_size(dicom).dtype == np.uint16


def test_more_voxels_than_the_limit_are_refused_in_all_channels_together(page: Callable[..., Received]) -> None:
    paths = page({"a.nii.gz": nifti(), "b.nii.gz": nifti()}).paths
    check_size(paths, 240)
    with pytest.raises(ImageError, match=r"has 1 x 4 x 5 x 6 and 1 x 4 x 5 x 6 voxels .* at most 0.000239 millions .* Crop it"):
        check_size(paths, 239)


def test_a_header_that_claims_the_moon_is_refused_before_anything_is_allocated(page: Callable[..., Received]) -> None:
    many = {f"{k}": slice_of(k, Rows=65535, Columns=65535) for k in range(2)}
    received = page(many)
    with pytest.raises(
        ImageError, match=r"has 1 x 2 x 65535 x 65535 voxels .* 8590 millions, at most 600 millions are taken here"
    ):
        check_size(received.paths, series=received.series[0].uid)


def test_gzip_that_goes_on_behind_the_last_voxel_is_not_read_for_ever(page: Callable[..., Received]) -> None:
    endless = gzip.compress(nifti(suffix=".nii") + bytes(70 << 20))
    (path,) = page({"endless.nii.gz": endless}).paths
    with pytest.raises(
        FileFormatError, match=r"endless.nii.gz is truncated or damaged: more than 6.71e\+04 kB follow its last voxel"
    ):
        read_volume(path)


def test_voxels_that_begin_far_away_are_not_looked_for(page: Callable[..., Received]) -> None:
    content = bytearray(nifti(suffix=".nii"))
    struct.pack_into("<f", content, 108, 1e9)  # vox_offset
    (path,) = page({"far.nii.gz": gzip.compress(bytes(content))}).paths
    with pytest.raises(
        FileFormatError, match=r"far.nii.gz is truncated or damaged: its voxels begin after 1e\+09 bytes, at most"
    ):
        check_size([path])
