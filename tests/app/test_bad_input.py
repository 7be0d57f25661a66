"""What the command line says to input that cannot work: one line that helps, exit code 1, and nothing left behind."""

from __future__ import annotations

import errno
import gzip
import json
import os
import pickle
import re
import signal
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from uniseg_app import cli
from uniseg_model.checkpoint import untrained
from uniseg_model.network.config import NetworkConfig

AFFINE = np.diag([1.5, 1.5, 3.0, 1.0])
SHAPE = (20, 24, 28)  # x, y, z
PIXDIM, QFORM_CODE, QUATERN_B, SROW_X, SROW_Z = 80, 252, 256, 280, 312  # byte offsets in a NIfTI-1 header
DIM, DATATYPE, VOX_OFFSET = 40, 70, 108

Make = Callable[[Path], Path | list[Path]]


@dataclass(frozen=True)
class Told:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines that report an error."""
        return [line for line in self.err.splitlines() if line.startswith("uniseg: error:")]


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained weights of a very narrow network."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    untrained(NetworkConfig(window=(32, 64, 64), features=(2, 4, 4, 4, 4, 4))).save(path)
    return path


@pytest.fixture(scope="session")
def ct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CT in name and range only, 20 x 24 x 28 voxels."""
    return save(tmp_path_factory.mktemp("image") / "ct.nii.gz", noise())


@pytest.fixture
def uniseg(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Told]:
    """The command line, in this process."""

    def run(*arguments: object) -> Told:
        monkeypatch.setattr(sys, "argv", ["uniseg", *map(str, arguments)])
        capsys.readouterr()
        code: Any = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        told = capsys.readouterr()
        return Told(code, told.out, told.err)

    return run


@pytest.fixture
def segment(uniseg: Callable[..., Told], weights: Path, tmp_path: Path) -> Callable[..., Told]:
    """``uniseg segment`` for the liver with tiny weights into ``tmp_path / "out"``; options given later win."""

    def run(*arguments: object) -> Told:
        return uniseg("segment", "--task", "liver", "--weights", weights, "-o", tmp_path / "out", *arguments)

    return run


@pytest.fixture
def refuses(tmp_path: Path) -> Callable[[Told, str], None]:
    """Checks exit code 1, one error line that matches, nothing on stdout and no ``tmp_path / "out"``."""

    def check(told: Told, match: str) -> None:
        assert told.code == 1, told.err
        assert len(told.errors) == 1, told.err
        assert "Traceback" not in told.err
        assert told.out == ""
        assert re.search(match, told.errors[0]), f"{told.errors[0]}\ndoes not match {match}"
        assert not (tmp_path / "out").exists(), "something was left behind"

    return check


def noise(low: float = -500, high: float = 500) -> np.ndarray:
    return np.random.default_rng(20230407).uniform(low, high, SHAPE).astype(np.float32).round()


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def voxels(array: np.ndarray) -> Make:
    return lambda folder: save(folder / "image.nii.gz", array)


def holding(value: float) -> Make:
    """Noise, one voxel of which has the value."""
    array = noise()
    array[3, 4, 5] = value
    return voxels(array)


def cut(keep: Callable[[int], int], suffix: str = ".nii.gz") -> Make:
    """A file of which only the first ``keep(size)`` bytes are there."""

    def make(folder: Path) -> Path:
        path = save(folder / f"cut{suffix}", noise())
        content = path.read_bytes()
        path.write_bytes(content[: keep(len(content))])
        return path

    return make


def flipped(at: int) -> Make:
    """A gzip file of which one byte is another."""

    def make(folder: Path) -> Path:
        path = save(folder / "flipped.nii.gz", noise())
        content = bytearray(path.read_bytes())
        content[at] ^= 0xFF
        path.write_bytes(content)
        return path

    return make


def content(name: str, data: bytes) -> Make:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return make


def header(*changes: tuple[int, str, tuple[float, ...]], suffix: str = ".nii") -> Make:
    """A file whose header was written over at (offset, struct format, values)."""

    def make(folder: Path) -> Path:
        path = save(folder / "header.nii", noise())
        data = bytearray(path.read_bytes())
        for offset, form, numbers in changes:
            struct.pack_into(f"<{form}", data, offset, *numbers)
        path.unlink()
        path = folder / f"header{suffix}"
        path.write_bytes(gzip.compress(data) if suffix == ".nii.gz" else data)
        return path

    return make


def forms(qform: int, sform: int) -> tuple[int, str, tuple[float, ...]]:
    return QFORM_CODE, "2h", (qform, sform)


def two(second: Make) -> Make:
    """Four channels, the second of which is another image."""

    def make(folder: Path) -> list[Path]:
        first = save(folder / "first.nii.gz", noise())
        other = second(folder)
        assert isinstance(other, Path)
        return [first, other, first, first]

    return make


def moved(folder: Path) -> Path:
    affine = AFFINE.copy()
    affine[0, 3] = 50
    return save(folder / "moved.nii.gz", noise(), affine)


def empty_folder(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def folder_of_text(folder: Path) -> Path:
    (empty_folder(folder) / "notes.txt").write_text("text " * 200)
    return folder / "empty"


ZERO_MM = (PIXDIM, "3f", (0, 0, 0))
RGB = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
UNKNOWN_SIZE = r"header\.nii gives its voxel size as .* the true size is unknown\. Write the right voxel size"

IMAGES: dict[str, tuple[Make, str]] = {
    "missing": (lambda folder: folder / "nope.nii.gz", r"there is no file or folder .*nope\.nii\.gz"),
    "gzip cut in its header": (cut(lambda n: 5), r"cut\.nii\.gz cannot be read as gzip: .*copy or export it again"),
    "gzip cut in the NIfTI header": (cut(lambda n: 100), r"cut\.nii\.gz cannot be read as gzip: .*export it again"),
    "gzip cut in the middle": (cut(lambda n: n // 2), r"cut\.nii\.gz is truncated or damaged: .*copy or export it again"),
    "gzip without its last 20 bytes": (cut(lambda n: n - 20), r"cut\.nii\.gz is truncated or damaged: .*export it again"),
    "gzip without its last 8 bytes": (cut(lambda n: n - 8), r"cut\.nii\.gz is truncated or damaged: .*export it again"),
    "gzip without its last byte": (cut(lambda n: n - 1), r"cut\.nii\.gz is truncated or damaged: .*export it again"),
    "gzip with a wrong checksum": (flipped(-6), r"flipped\.nii\.gz is truncated or damaged: .*copy or export it again"),
    "cut in the NIfTI header": (cut(lambda n: 200, ".nii"), r"cut\.nii is not NIfTI: .*copy or export it again"),
    "no voxels": (cut(lambda n: 352, ".nii"), r"cut\.nii claims 20 x 24 x 28 voxels .* 352 bytes cannot hold that"),
    "without the last voxel": (cut(lambda n: n - 1, ".nii"), r"cut\.nii is truncated or damaged: .*export it again"),
    "text named nii.gz": (content("t.nii.gz", b"hello\n" * 99), r"t\.nii\.gz cannot be read as gzip: .*renamed"),
    "text named nii": (content("t.nii", b"hello\n" * 99), r"t\.nii is not NIfTI: .*cut off or renamed"),
    "packed text": (content("t.nii.gz", gzip.compress(b"hello\n" * 99)), r"t\.nii\.gz is not NIfTI: .*renamed"),
    "empty nii.gz": (content("e.nii.gz", b""), r"e\.nii\.gz is not NIfTI: .*The file is empty"),
    "empty nii": (content("e.nii", b""), r"e\.nii is not NIfTI: .*The file is empty"),
    "another format": (content("photo.png", b"\x89PNG"), r"photo\.png is neither a NIfTI file .*Give a NIfTI file, or"),
    "two axes": (voxels(noise()[:, :, 0]), r"2-D image of 20 x 24 voxels, .* at least 2 .* Give the whole stack"),
    "one slice": (voxels(noise()[:, :, :1]), r"2-D image of 20 x 24 x 1 voxels, .* at least 2 .* Give the whole stack"),
    "three channels": (voxels(np.stack([noise()] * 3, -1)), r"'Liver and tumour' needs 1 channel \(CT\), the image has 3"),
    "all zero": (voxels(noise() * 0), r"every voxel is 0, so there is nothing to segment\. Is this the image"),
    "all NaN": (voxels(noise() * np.nan), r"every voxel is NaN, so there is nothing to segment\. Export"),
    "infinite": (holding(np.inf), r"1 of 13440 voxels are infinite, every voxel must be a number\. .*replace those voxels"),
    "minus infinite": (holding(-np.inf), r"1 of 13440 voxels are infinite"),
    "zero spacing beside a good sform": (header(forms(0, 2), ZERO_MM), UNKNOWN_SIZE),
    "zero spacing and only a qform": (header(forms(1, 0), ZERO_MM), UNKNOWN_SIZE),
    "zero spacing and no form": (header(forms(0, 0), ZERO_MM), UNKNOWN_SIZE),
    "NaN spacing": (header((PIXDIM, "3f", (1.5, np.nan, 3))), UNKNOWN_SIZE),
    "singular affine": (header(forms(0, 1), (SROW_Z, "4f", (0, 0, 0, 0))), r"affine is singular .*Repair the header"),
    "NaN affine": (header(forms(0, 1), (SROW_X, "f", (np.nan,))), r"affine must be 4 x 4 finite numbers.*Repair the header"),
    "impossible quaternion": (header(forms(1, 0), (QUATERN_B, "3f", (2, 2, 2))), r"header\.nii .*(orientation|quaternion)"),
    "32767 cubed voxels": (
        header((DIM, "4h", (3, 32767, 32767, 32767))),
        r"claims 32767 x 32767 x 32767 voxels .* bytes cannot hold that\. .*copy or export it again",
    ),
    "32767 cubed voxels, packed": (
        header((DIM, "4h", (3, 32767, 32767, 32767)), suffix=".nii.gz"),
        r"claims 32767 x 32767 x 32767 voxels .* bytes cannot hold that\. .*copy or export it again",
    ),
    "more voxels than were packed": (
        header((DIM, "4h", (3, 20, 24, 29)), suffix=".nii.gz"),
        r"is truncated or damaged: .*Expected \d+ bytes",
    ),
    "no axes": (header((DIM, "h", (0,))), r"damaged header: its dimensions are \[0, "),
    "minus five voxels": (header((DIM, "2h", (3, -5))), r"damaged header: its dimensions are \[3, -5, "),
    "voxels that begin at infinity": (header((VOX_OFFSET, "f", (np.inf,))), r"header\.nii .*(damaged|not a readable)"),
    "voxels that begin beyond the file": (header((VOX_OFFSET, "f", (1e9,))), r"header\.nii is truncated or damaged"),
    "a data type that does not exist": (header((DATATYPE, "h", (9999,))), r"header\.nii .*(damaged|stores).*9999"),
    "complex numbers": (voxels(noise().astype(np.complex64)), r"stores complex64 voxels, .* whole or real numbers"),
    "colours": (voxels(RGB), r"stores (RGB|colour).* voxels, an image must store whole or real numbers\. \w+"),
    "an empty folder": (empty_folder, r"empty holds no DICOM image\. Give the folder that holds the DICOM slices"),
    "a folder of text": (folder_of_text, r"empty holds no DICOM image\. Give the folder that holds the DICOM slices"),
    "a name beyond the system's limit": (lambda folder: folder / ("a" * 300 + ".nii.gz"), r"a{300}"),
}


@pytest.mark.parametrize("case", IMAGES)
def test_an_image_that_cannot_be_used_is_refused_in_one_line(
    case: str, segment: Callable[..., Told], refuses: Callable[..., None], tmp_path: Path
) -> None:
    make, match = IMAGES[case]
    refuses(segment(make(tmp_path)), match)


CHANNELS: dict[str, tuple[Make, str]] = {
    "one for four": (voxels(noise()), r"'Brain tumour' needs 4 channels \(T1, T1ce, T2, FLAIR\), the image has 1\. Give one"),
    "another shape": (
        two(voxels(noise()[:, :, :20])),
        r"image 2 has \(20, 24, 20\) voxels .* \(28, 24, 20\).* one grid\. Resample",
    ),
    "another place": (two(moved), r"image 2 lies 50 mm away from image 1, .* one grid\. Resample"),
    "an empty one": (two(voxels(noise() * 0)), r"image\.nii\.gz.*every voxel is 0|every voxel of .*image\.nii\.gz.* is 0"),
}


@pytest.mark.parametrize("case", CHANNELS)
def test_channels_that_do_not_belong_together_are_refused(
    case: str, segment: Callable[..., Told], refuses: Callable[..., None], tmp_path: Path
) -> None:
    make, match = CHANNELS[case]
    made = make(tmp_path)
    refuses(segment("--task", "brain", *(made if isinstance(made, list) else [made])), match)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--task", "livr"], r"no task 'livr'\. Did you mean 'liver'\? Known tasks: liver, kidney"),
        (["--task", "liver,brian"], r"no task 'brian'\. Did you mean 'brain'\?"),
        (["--task", ","], r"no task was asked for\. Choose from liver"),
        (["--spacing", "fine"], r"spacing must be three numbers in mm such as 3,1\.5,1\.5 \(z,y,x\), not 'fine'"),
        (["--spacing", "1,1"], r"spacing must be three numbers in mm .* not '1,1'"),
        (["--spacing", "0,1,1"], r"spacing must be three numbers between 0\.1 and 100 mm .* not \(0\.0, 1\.0, 1\.0\)"),
        (["--spacing", "-1,1,1"], r"between 0\.1 and 100 mm .* not \(-1\.0, 1\.0, 1\.0\)"),
        (["--spacing", "nan,1,1"], r"between 0\.1 and 100 mm .* not \(nan, 1\.0, 1\.0\)"),
        (["--axes", "sideways"], r"axes must be 'axial', 'stored' or three letters such as 'RAS', not 'sideways'"),
        (["--axes", "RLS"], r"axes must be .* not 'RLS'"),
        (["--axes", ""], r"axes must be .* not ''"),
        (["--step", "0"], r"step must be above 0 and at most 1, not 0"),
        (["--step", "2"], r"step must be above 0 and at most 1, not 2"),
        (["--step", "nan"], r"step must be above 0 and at most 1, not nan"),
        (["--preset", "quick"], r"preset must be exact, balanced, fast, not 'quick'"),
        (["--batch", "0"], r"batch must be at least 1 window, not 0"),
        (["--device", "cuda:99"], r"device 'cuda:99' is not here: .*Use --device cpu, or"),
        (["--device", "abacus"], r"device must be auto, cpu, cuda or cuda:N, not 'abacus'"),
        (["--device", "cpu", "--precision", "float16"], r"float16 needs a GPU, the device is cpu\. Use float32 or bfloat16"),
        (["--precision", "exact"], r"precision must be auto, float32, bfloat16,?( or)? float16, not 'exact'"),
        (["--engine", "steam"], r"engine must be auto, torch or openvino, not 'steam'"),
        (["--merge", "blend"], r"merge rule must be keep or original, not 'blend'"),
        (["--merge", "original", "--task", "liver,vertebrae"], r"one grid for all tasks, .*Add --spacing 3,1\.5,1\.5"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_an_option_outside_its_range_is_refused(
    options: list[str], match: str, segment: Callable[..., Told], refuses: Callable[..., None], ct: Path
) -> None:
    refuses(segment(ct, *options), match)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_here_is_not_replaced_by_the_cpu(
    segment: Callable[..., Told], refuses: Callable[..., None], ct: Path
) -> None:
    refuses(segment(ct, "--device", "cuda"), r"device 'cuda' is not here: torch .* sees 0 CUDA GPUs\. Use --device cpu, or")


def test_more_threads_than_a_machine_has_are_refused_before_torch_crashes(
    segment: Callable[..., Told], refuses: Callable[..., None], ct: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []  # torch itself ends in a segmentation fault with as many
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    try:
        refuses(segment(ct, "--threads", 100_000), r"threads must be .* not 100000")
    finally:
        assert asked == []


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["segmnt"],
        ["segment", "ct.nii.gz"],
        ["segment", "ct.nii.gz", "--task", "liver"],
        ["segment", "--task", "liver", "-o", "out"],
        ["segment", "ct.nii.gz", "--task", "liver", "-o", "out", "--sharpen"],
        ["segment", "ct.nii.gz", "--task", "liver", "-o", "out", "--step", "half"],
        ["segment", "ct.nii.gz", "--task", "liver", "-o", "out", "--threads", "0"],
        ["phantom", "--task", "liver", "-o", "out", "--count", "0"],
        ["weights"],
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2_and_shows_the_usage(
    arguments: list[str], uniseg: Callable[..., Told], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = uniseg(*arguments)
    assert told.code == 2
    assert "Usage:" in told.out + told.err
    assert not list(tmp_path.iterdir())


# Outputs


def place_under_a_file(folder: Path) -> Path:
    (folder / "file").write_bytes(b"x")
    return folder / "file" / "labels"


OUTPUTS: dict[str, tuple[Make, str]] = {
    "under a file": (place_under_a_file, r"can be written in .*file: .*Choose a folder with space and write permission"),
    "a file": (content("file", b"x"), r"the output .*file is a file\. Name a folder, or a file that ends in \.nii\.gz"),
    "in proc": (lambda _: Path("/proc/uniseg"), r"nothing can be written in /proc: .*Choose a folder"),
    "a name in proc": (lambda _: Path("/proc/labels.nii.gz"), r"nothing can be written in /proc: .*Choose a folder"),
    "a format that is not written": (lambda folder: folder / "labels.mha", r"labels\.mha.*\.nii\.gz"),
    "a name beyond the system's limit": (lambda folder: folder / ("b" * 300), r"b{300}.*Choose"),
}


@pytest.mark.parametrize("case", OUTPUTS)
def test_an_output_that_cannot_be_written_is_refused_before_the_work(
    case: str, segment: Callable[..., Told], refuses: Callable[..., None], ct: Path, tmp_path: Path
) -> None:
    if "proc" in case and not Path("/proc/self").exists():
        pytest.skip("there is no /proc on this system")
    make, match = OUTPUTS[case]
    told = segment(ct, "-o", make(tmp_path))
    refuses(told, match)
    assert "Segmenting" not in told.err
    assert {path.name for path in tmp_path.iterdir()} <= {"file"}


def test_a_folder_named_like_a_file_is_refused(
    segment: Callable[..., Told], refuses: Callable[..., None], ct: Path, tmp_path: Path
) -> None:
    (tmp_path / "labels.nii.gz").mkdir()
    refuses(segment(ct, "-o", tmp_path / "labels.nii.gz"), r"labels\.nii\.gz is a folder\. Name a file inside it")


@pytest.mark.parametrize("tasks", ["liver,spleen", "all"])
def test_several_tasks_need_a_folder(
    tasks: str, segment: Callable[..., Told], refuses: Callable[..., None], ct: Path, tmp_path: Path
) -> None:
    told = segment(ct, "--task", tasks, "-o", tmp_path / "labels.nii.gz")
    refuses(told, r"\d tasks need a folder, labels\.nii\.gz is one file\. Name a folder, or one task")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]], ids=["plainly", "with overwrite"])
@pytest.mark.parametrize("way", ["by name", "by link", "by folder", "as report"])
def test_the_input_is_never_written_over(
    way: str,
    overwrite: list[str],
    segment: Callable[..., Told],
    refuses: Callable[..., None],
    tmp_path: Path,
) -> None:
    image = save(tmp_path / "liver.nii.gz", noise())  # the name that the folder's own label file would get
    before = image.read_bytes()
    link = tmp_path / "link.nii.gz"
    link.symlink_to(image)
    out = {"by name": ["-o", image], "by link": ["-o", link], "by folder": ["-o", tmp_path], "as report": ["--report", image]}
    told = segment(image, *out[way], *overwrite)
    assert image.read_bytes() == before
    refuses(told, r"liver\.nii\.gz|link\.nii\.gz is the input")
    assert {path.name for path in tmp_path.iterdir()} == {"liver.nii.gz", "link.nii.gz"}


def test_labels_that_a_person_edited_are_kept_unless_overwriting_was_asked_for(
    segment: Callable[..., Told], ct: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "done" / "liver.nii.gz"
    assert segment(ct, "-o", labels.parent).code == 0
    assert segment(ct, "-o", labels.parent).code == 0  # what this program wrote may be written again
    save(labels, np.ones(SHAPE, np.uint8))
    before = {path: path.read_bytes() for path in labels.parent.iterdir()}
    told = segment(ct, "-o", labels.parent)
    assert told.code == 1
    assert len(told.errors) == 1
    assert "liver.nii.gz was edited" in told.errors[0]
    assert "--overwrite" in told.errors[0]
    assert {path: path.read_bytes() for path in labels.parent.iterdir()} == before
    assert segment(ct, "-o", labels.parent, "--overwrite").code == 0
    assert labels.read_bytes() != before[labels]


@pytest.mark.parametrize("name", ["liver.json", "run.json"])
def test_a_json_file_of_somebody_else_is_kept(
    name: str, segment: Callable[..., Told], refuses: Callable[..., None], ct: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_text('{"EchoTime": 0.1}')  # such as dcm2niix leaves beside an image
    told = segment(ct, "-o", tmp_path)
    assert json.loads((tmp_path / name).read_text()) == {"EchoTime": 0.1}
    refuses(told, rf"{name} .*not written by this program\. .*--overwrite")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_report_that_cannot_be_written_is_refused_before_the_work(
    segment: Callable[..., Told], refuses: Callable[..., None], ct: Path, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    told = segment(ct, "--report", tmp_path / "folder")
    refuses(told, r"report .*folder is a folder")
    assert "Segmenting" not in told.err


def test_a_full_disk_leaves_nothing_half_written(
    segment: Callable[..., Told],
    refuses: Callable[..., None],
    ct: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def save_the_beginning(image: Any, path: Path) -> None:
        Path(path).write_bytes(b"beginning")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(nib, "save", save_the_beginning)
    refuses(segment(ct), r"cannot be written: .*No space left on device\. Choose a folder with space")


def test_who_interrupts_is_told_that_nothing_was_written(
    segment: Callable[..., Told], ct: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("uniseg_model.run.sweep_windows", interrupt)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever starts tests in the background ignores it
    try:
        told = segment(ct)
    finally:
        signal.signal(signal.SIGINT, before)
    assert told.code == 130
    assert not (tmp_path / "out").exists()
    assert "Traceback" not in told.err
    assert "interrupted; no file is half-written" in told.err


# Images that work all the same, with a warning


def test_some_nan_are_taken_as_0_with_a_warning(segment: Callable[..., Told], tmp_path: Path) -> None:
    array = noise()
    array[3:5, 4, 5] = np.nan
    told = segment(save(tmp_path / "nan.nii.gz", array), "-o", tmp_path / "nan", "--device", "cpu")
    assert told.code == 0
    assert "2 of 13440 voxels are NaN and are taken as 0" in told.err
    assert "2 of 13440 voxels are NaN" in (tmp_path / "nan" / "run.json").read_text()
    segment(save(tmp_path / "zero.nii.gz", np.nan_to_num(array)), "-o", tmp_path / "zero", "--device", "cpu")
    with_nan, with_zero = (np.asarray(nib.load(tmp_path / name / "liver.nii.gz").dataobj) for name in ("nan", "zero"))
    assert np.array_equal(with_nan, with_zero)


def test_a_ct_that_is_not_in_hounsfield_units_is_segmented_with_a_warning(segment: Callable[..., Told], tmp_path: Path) -> None:
    told = segment(save(tmp_path / "unit.nii.gz", (noise() + 500) / 1000))
    assert told.code == 0
    assert "the values from 0 to 1 do not look like Hounsfield units" in told.err.replace("0.999", "1").replace("0.001", "0")
    assert (tmp_path / "out" / "liver.nii.gz").exists()


def test_json_is_one_document_and_stderr_stays_silent(
    segment: Callable[..., Told], uniseg: Callable[..., Told], ct: Path, weights: Path
) -> None:
    for told in (segment(ct, "--json"), uniseg("tasks", "--json"), uniseg("weights", "info", weights, "--json")):
        assert told.code == 0
        assert told.err == ""
        json.loads(told.out)


def test_json_prints_nothing_on_stdout_when_something_is_wrong(
    segment: Callable[..., Told], refuses: Callable[..., None], ct: Path
) -> None:
    refuses(segment(ct, "--json", "--task", "livr"), "no task 'livr'")


# Weights


def written(change: Callable[[dict[str, Any], dict[str, torch.Tensor]], object]) -> Callable[[Path, Path], Path]:
    """Weights of which the description or the tensors were changed."""

    def make(folder: Path, weights: Path) -> Path:
        with safe_open(weights, "pt") as file:
            facts = json.loads(file.metadata()["uniseg"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        change(facts, tensors)
        save_file(tensors, folder / "w.safetensors", {"uniseg": json.dumps(facts)})
        return folder / "w.safetensors"

    return make


def beginning(keep: Callable[[int], int]) -> Callable[[Path, Path], Path]:
    def make(folder: Path, weights: Path) -> Path:
        whole = weights.read_bytes()
        (folder / "w.safetensors").write_bytes(whole[: keep(len(whole))])
        return folder / "w.safetensors"

    return make


def foreign(folder: Path, _: Path) -> Path:
    save_file({"layer.weight": torch.zeros(3)}, folder / "foreign.safetensors")
    return folder / "foreign.safetensors"


def torch_file(folder: Path, _: Path) -> Path:
    torch.save({"state_dict": {"layer.weight": torch.zeros(3)}}, folder / "final.model")
    return folder / "final.model"


def text_file(folder: Path, _: Path) -> Path:
    (folder / "w.safetensors").write_text("hello\n" * 99)
    return folder / "w.safetensors"


DAMAGED = r"w\.safetensors is truncated or not a safetensors file: .*Copy or import it again"
WEIGHTS: dict[str, tuple[Callable[[Path, Path], Path], str]] = {
    "missing": (lambda folder, _: folder / "nope.safetensors", r"no weights file .*nope\.safetensors\. Import"),
    "a folder": (lambda folder, _: folder, r"is a folder, not a weights file\. Name the \.safetensors"),
    "empty": (beginning(lambda n: 0), DAMAGED),
    "cut in the header": (beginning(lambda n: 200), DAMAGED),
    "cut in the middle": (beginning(lambda n: n // 2), DAMAGED),
    "without the last byte": (beginning(lambda n: n - 1), DAMAGED),
    "text": (text_file, DAMAGED),
    "of another program": (foreign, r"foreign\.safetensors is a safetensors file of another program"),
    "the authors' own file": (torch_file, r"final\.model is a torch file, .* Import it first: uniseg weights import"),
    "of a newer version": (written(lambda f, _: f.update(format=9)), r"format 9, .* reads format 1\. Update"),
    "without tasks": (written(lambda f, _: f.update(tasks=[])), r"prompts for 11 tasks, the checkpoint names 0"),
    "without a tensor": (written(lambda _, t: t.pop("heads.0.weight")), r"the weights lack 'heads\.0\.weight'"),
    "with strides of 0": (written(lambda f, _: f["network"]["strides"][0].__setitem__(0, 0)), r"w\.safetensors .*wrongly"),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_weights_that_cannot_be_used_are_refused(
    case: str, segment: Callable[..., Told], refuses: Callable[..., None], ct: Path, weights: Path, tmp_path: Path
) -> None:
    make, match = WEIGHTS[case]
    refuses(segment(ct, "--weights", make(tmp_path, weights)), match)


def test_weights_that_were_changed_do_not_pass_verification(
    uniseg: Callable[..., Told], refuses: Callable[..., None], weights: Path, tmp_path: Path
) -> None:
    path = written(lambda _, t: t["heads.4.weight"].add_(1))(tmp_path, weights)
    refuses(uniseg("weights", "verify", path), r"w\.safetensors is damaged: its weights have SHA-256 \w{64}, written was")


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ("weights", r"settings file .* cannot be read: .*Mend it or remove it"),
        ("wieghts = 'w'", r"unknown entry 'wieghts'\. Known entries: weights"),
        ("weights = 5", r"settings file .*weights.*5"),
    ],
)
def test_settings_that_cannot_be_read_are_named(
    settings: str,
    match: str,
    uniseg: Callable[..., Told],
    refuses: Callable[..., None],
    ct: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "settings.toml").write_text(settings)
    monkeypatch.setenv("UNISEG_SETTINGS", str(tmp_path / "settings.toml"))
    refuses(uniseg("segment", ct, "--task", "liver", "-o", tmp_path / "out"), match)


class Command:
    """What a malicious pickle looks like."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch executed",)


def saved(content: Any, keep: Callable[[int], int] = lambda n: n) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        torch.save(content, path)
        whole = path.read_bytes()
        path.write_bytes(whole[: keep(len(whole))])

    return make


NOT_TORCH = r"official\.model is truncated or not a torch checkpoint\. Download it again"
OFFICIAL: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, r"there is no file .*official\.model"),
    "empty": (lambda path: path.write_bytes(b""), NOT_TORCH),
    "text": (lambda path: path.write_text("hello"), NOT_TORCH),
    "cut": (saved({"state_dict": {"a.weight": torch.zeros(99)}}, lambda n: n // 2), NOT_TORCH),
    "a bare pickle that runs a command": (lambda path: path.write_bytes(pickle.dumps(Command())), NOT_TORCH),
    "a command among the data": (
        saved({"state_dict": {}, "x": Command()}),
        r"was refused: reading it would run \w+\.system, .*Do not open it",
    ),
    "another architecture": (
        saved({"state_dict": {"layer1.weight": torch.zeros(3)}}),
        r"tensor 'layer1\.weight' does not belong to a UniSeg network\. Is this another model's checkpoint\?",
    ),
    "no state": (saved([1, 2]), r"holds no state_dict of tensors"),
    "an empty state": (saved({"state_dict": {}}), r"official\.model holds no (state_dict of )?tensors|no tensor"),
    "numbers for names": (saved({"state_dict": {1: torch.zeros(3)}}), r"tensor 1 does not belong|no state_dict of tensors"),
    "a part": (
        saved({"state_dict": {"intermedia_prompt": torch.zeros(1, 11, 2, 2, 2)}}),
        r"not those of a UniSeg network: '?encoder\S* is missing",
    ),
}


@pytest.mark.parametrize("case", OFFICIAL)
def test_a_file_that_is_not_the_authors_checkpoint_is_not_imported(
    case: str, uniseg: Callable[..., Told], refuses: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make, match = OFFICIAL[case]
    make(tmp_path / "official.model")
    refuses(uniseg("weights", "import", "official.model", "-o", "out/w.safetensors"), match)
    assert {path.name for path in tmp_path.iterdir()} <= {"official.model"}


def test_an_import_does_not_write_over_its_input(
    uniseg: Callable[..., Told], refuses: Callable[..., None], tmp_path: Path
) -> None:
    path = torch_file(tmp_path, tmp_path)
    before = path.read_bytes()
    refuses(uniseg("weights", "import", path, "-o", path), r"final\.model is the input\. Choose another name")
    assert path.read_bytes() == before


# DICOM-SEG


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--format", "dicom-seg"], r"refers to the slices of a DICOM series, ct\.nii\.gz is none\. .*leave out --format"),
        (["--format", "dicom"], r"format must be nifti or dicom-seg, not 'dicom'"),
        (["-o", "out.dcm"], r"as \.nii or \.nii\.gz, not as out\.dcm\. .*or add --format dicom-seg"),
    ],
)
def test_dicom_seg_of_an_image_that_is_not_dicom_is_refused_before_any_work(
    arguments: list[str],
    match: str,
    segment: Callable[..., Told],
    refuses: Callable[..., None],
    ct: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("uniseg_app.commands.read_volume", lambda *_, **__: pytest.fail("it was read all the same"))
    monkeypatch.chdir(tmp_path)
    refuses(segment(ct, *arguments), match)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["-o", "out.nii.gz"], r"as \.dcm, not as out\.nii\.gz\. .*ends in \.dcm, or add --format nifti"),
        (["-o", "out.png"], r"as \.dcm, not as out\.png\. Name a folder, or a file that ends in \.dcm\."),
        (["--merge", "original"], r"one map of all tasks, a DICOM-SEG holds one task\. Leave out"),
    ],
)
def test_names_and_options_that_do_not_fit_dicom_seg_are_refused_before_any_work(
    arguments: list[str],
    match: str,
    segment: Callable[..., Told],
    refuses: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("uniseg_app.commands.read_volume", lambda *_, **__: pytest.fail("it was read all the same"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "series").mkdir()
    refuses(segment("series", "--format", "dicom-seg", *arguments), match)


def test_series_that_dicom_seg_cannot_refer_to_is_refused_before_it_is_segmented(
    segment: Callable[..., Told], refuses: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dicom_series import write_series

    monkeypatch.setattr("uniseg_model.predictor.Session.segment", lambda *_: pytest.fail("it was segmented all the same"))
    write_series(tmp_path / "series")
    refuses(segment(tmp_path / "series", "--format", "dicom-seg"), r"no FrameOfReferenceUID, so a DICOM-SEG has nothing")


# The other commands


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["nope", "nope", "--task", "liver"], r"there is no folder nope\. Give two folders of label maps"),
        (["labels", "nope", "--task", "liver"], r"there is no folder nope\. Give two folders of label maps"),
        (["labels", "empty", "--task", "liver"], r"no label map in labels .* empty .*Name a prediction like its reference"),
        (["labels", "labels", "--task", "livr"], r"no task 'livr'\. Did you mean 'liver'\?"),
        (["labels", "labels", "--task", "liver", "--tolerance-mm", "-1"], r"tolerance must be .* 0 or more, not -1"),
    ],
)
def test_folders_that_cannot_be_compared_are_named(
    arguments: list[str],
    match: str,
    uniseg: Callable[..., Told],
    refuses: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("labels", "empty"):
        (tmp_path / name).mkdir()
    save(tmp_path / "labels" / "case.nii.gz", np.ones(SHAPE, np.uint8))
    monkeypatch.chdir(tmp_path)
    refuses(uniseg("evaluate", *arguments), match)


def test_a_phantom_of_an_unknown_task_names_its_nearest_neighbour(
    uniseg: Callable[..., Told], refuses: Callable[..., None], tmp_path: Path
) -> None:
    told = uniseg("phantom", "--task", "livr", "-o", tmp_path / "out")
    refuses(told, r"no task 'livr'\. Did you mean 'liver'\?")


def test_phantoms_into_a_file_are_refused_before_they_are_made(
    uniseg: Callable[..., Told], refuses: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uniseg_model.phantom.make_phantom", lambda *_: pytest.fail("it was made all the same"))
    (tmp_path / "file.nii.gz").write_bytes(b"x")
    refuses(uniseg("phantom", "--task", "liver", "-o", tmp_path / "file.nii.gz"), r"file\.nii\.gz is a file")
