"""Data sets that come to the server: below the operator's folders, or as a .zip; and nothing else is ever read."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

pytest.importorskip("gradio")

from uniseg_app.own_data import my_data_folder
from uniseg_app.web_demo.app import WebRequest, _places, serve
from uniseg_app.web_demo.training_places import DataPlaces
from uniseg_app.web_demo.training_zip import receive_data_set
from uniseg_model.errors import FileFormatError, OptionError, OutputError, UniSegError

SET = {"gall/imagesTr/a_0000.nii.gz": b"image", "gall/labelsTr/a.nii.gz": b"labels", "gall/dataset.json": b"{}"}


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def put(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def places(tmp_path: Path) -> DataPlaces:
    """An operator's folder with one data set, and a folder of our own that is not there yet."""
    put(tmp_path / "root", SET)
    (tmp_path / "visit").mkdir()
    return DataPlaces.of((tmp_path / "root",))


# Folders -----------------------------------------------------------------------------------------------------------------


def test_a_data_set_is_found_by_its_path_its_place_and_from_the_list(places: DataPlaces, tmp_path: Path) -> None:
    gall = tmp_path / "root" / "gall"
    assert places.sets() == [("root/gall", str(gall))]
    for text in (str(gall), "gall", " gall ", str(gall / ".." / "gall")):
        assert places.find(text, tmp_path / "visit") == gall
    assert (places.title(gall), places.title(places.own / "x")) == ("root/gall", "my data/x")


def test_what_lies_elsewhere_is_refused_and_not_looked_for(places: DataPlaces, tmp_path: Path) -> None:
    """A folder that is there and one that is not get the same answer, also through a link and through dots."""
    put(tmp_path / "secret", SET)
    (tmp_path / "root" / "link").symlink_to(tmp_path / "secret")
    outside = [str(tmp_path / "secret"), str(tmp_path / "none"), "/etc", "../secret", str(tmp_path / "root" / "link"), "", "a\0b", "x" * 5000]  # fmt: skip
    for text in outside:
        with pytest.raises(OptionError, match=r"is in no folder whose data sets may be used here.*--data-root"):
            places.find(text, tmp_path / "visit")
    assert [title for title, _ in places.sets()] == ["root/gall"]
    for text in ("liver", "link"):  # of our own there is none of that name
        with pytest.raises(FileFormatError, match=f"there is no folder {text}"):
            places.find(text, tmp_path / "visit")


def test_a_root_that_is_not_there_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"there is no folder .*none to take data sets from"):
        serve(WebRequest(data_roots=(tmp_path / "none",)), print)


def test_who_may_train(tmp_path: Path) -> None:
    """On this machine everybody; for others only where the operator says so."""
    shared = {"host": "0.0.0.0", "auth": tmp_path / "users"}
    assert WebRequest().may_train
    assert not WebRequest(**shared).may_train
    assert WebRequest(**shared, training=True).may_train
    assert WebRequest(**shared, data_roots=(tmp_path,)).may_train
    assert _places(WebRequest(training=False)) is None
    with pytest.raises(OptionError, match="--data-root is for training, which is not allowed here"):
        _places(WebRequest(training=False, data_roots=(tmp_path,)))


def test_what_a_visit_brought_is_kept_and_nothing_else_is_moved(places: DataPlaces, tmp_path: Path) -> None:
    dropped = put(tmp_path / "visit" / "1" / "gall", SET)
    kept = places.keep(dropped, "Gall bladder", tmp_path / "visit")
    assert kept == my_data_folder().resolve() / "gall_bladder"
    assert (dropped.exists(), files_in(kept)) == (False, files_in(tmp_path / "root"))
    assert kept.parent.stat().st_mode & 0o077 == 0
    assert places.new("Gall bladder").name == "gall_bladder_2"
    gall = tmp_path / "root" / "gall"
    assert places.keep(gall, "Gall bladder", tmp_path / "visit") == gall


# Archives ----------------------------------------------------------------------------------------------------------------


def drop(tmp_path: Path, files: dict[str, bytes], name: str = "my gall.zip") -> Path:
    (private := tmp_path / "private").mkdir(exist_ok=True)
    with zipfile.ZipFile(tmp_path / "sent", "w") as zipped:
        for member, content in files.items():
            zipped.writestr(member, content)
    try:
        return receive_data_set(tmp_path / "sent", name, private)
    except UniSegError:
        assert list(private.iterdir()) == [], "something was left behind"
        raise


def test_an_archive_is_unpacked_as_it_is_laid_out(tmp_path: Path) -> None:
    """Whatever lies around the data set; what is no part of it is left out."""
    more = {"gall/imagesTs/t_0000.nii.gz": b"test", "gall/readme.txt": b"hello", "__MACOSX/gall/._a.nii.gz": b"litter"}
    home = drop(tmp_path, {f"deep/er/{name}": content for name, content in {**SET, **more}.items()})
    assert home.name == "my_gall"
    assert files_in(home) == {name.removeprefix("gall/"): content for name, content in SET.items()}


def test_an_archive_of_paired_names_stays_flat(tmp_path: Path) -> None:
    files = {"a_ct.nii.gz": b"image", "a_seg.nii.gz": b"labels"}
    assert files_in(drop(tmp_path, files)) == files


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"gall/readme.txt": b"hello"}, "my gall.zip holds no NIfTI file"),
        ({**SET, "liver/labelsTr/b.nii.gz": b"other"}, "are of two data sets, one is taken at a time"),
        ({"imagesTr/a.dcm": b"\0" * 128 + b"DICM"}, "is DICOM, a data set has NIfTI files"),
        ({"../a.nii.gz": b"out"}, "points outside of it"),
        ({**SET, "inner.zip": b"PK\x03\x04"}, "is an archive within the archive"),
        ({**SET, "gall/dataset.json": b" " * (5 << 20)}, "dataset.json has 5.24 MB, at most 4.19 MB"),
        ({"a b/x.nii.gz": b"1", "a b/x .nii.gz": b"2", "a b/x_.nii.gz": b"3"}, "the archive cannot be unpacked: File exists"),
    ],
)
def test_what_is_no_data_set_or_unsafe_is_refused(tmp_path: Path, files: dict[str, bytes], told: str) -> None:
    with pytest.raises((FileFormatError, OutputError), match=told):
        drop(tmp_path, files)


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"a\.nii\.gz is no \.zip"):
        drop(tmp_path, SET, "a.nii.gz")
    (tmp_path / "sent").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(FileFormatError, match="the archive cannot be read"):
        receive_data_set(tmp_path / "sent", "a.zip", tmp_path)
