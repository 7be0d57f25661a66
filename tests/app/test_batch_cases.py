"""Which cases a folder or a list holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from uniseg_app.batch.cases import Case, find_cases
from uniseg_app.batch.manifest import read_manifest
from uniseg_model.errors import FileFormatError, OptionError


def laid(root: Path, *names: str) -> Path:
    """Files of no content, but for the mark of a DICOM file in those without a suffix."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"" if Path(name).suffix else bytes(128) + b"DICM")
    return root


@pytest.mark.parametrize(
    ("files", "cases"),
    [
        (["b.nii.gz", "a.nii", ".hidden.nii.gz", "notes.txt"], {"a": ["a.nii"], "b": ["b.nii.gz"]}),
        (["p_0000.nii.gz", "p_0001.nii.gz", "q_0000.nii.gz"], {"p": ["p_0000.nii.gz", "p_0001.nii.gz"], "q": ["q_0000.nii.gz"]}),
        (["scan_2019.nii.gz", "scan_2020.nii.gz"], {"scan_2019": ["scan_2019.nii.gz"], "scan_2020": ["scan_2020.nii.gz"]}),
        (["p_0000.nii.gz", "other.nii.gz"], {"other": ["other.nii.gz"], "p": ["p_0000.nii.gz"]}),
        (["ann/1.dcm", "ann/2.dcm", "bob/ct/IM1", "bob/mr/IM1", "empty/notes.txt"], {"ann": ["ann"], "bob_ct": ["bob/ct"], "bob_mr": ["bob/mr"]}),
        (["ann/1.dcm", "ann/sub/2.dcm"], {"ann": ["ann"]}),
        (["1.dcm", "2.dcm"], {"in": ["."]}),
        (["a.nii.gz", "out/b/1.dcm", ".old/1.dcm"], {"a": ["a.nii.gz"]}),
    ],
)  # fmt: skip
def test_cases_of_a_folder(tmp_path: Path, files: list[str], cases: dict[str, list[str]]) -> None:
    root = laid(tmp_path / "in", *files)
    assert find_cases(root, root / "out") == [Case(n, tuple(root / image for image in images)) for n, images in cases.items()]


@pytest.mark.parametrize(
    ("files", "match"),
    [
        (["notes.txt"], r"in holds no NIfTI file .* and no folder with DICOM files\. Name the folder"),
        (["a.nii", "a.nii.gz"], "two cases are named 'a'"),
        (["A.nii", "a.nii"], "two cases are named 'a' and 'A', which some systems take for one folder"),
        (["p_0000.nii.gz", "p_0002.nii.gz"], "'p' has p_0002.nii.gz and no p_0001"),
        (["p_0000.nii.gz", "q_0001.nii.gz"], "'q' has q_0001.nii.gz and no q_0000"),
        (["p_0000.nii.gz", "p_0000.nii"], "are the same channel of one case"),
        (["what?.nii.gz"], r"'what\?' cannot be the name of a case"),
    ],
)  # fmt: skip
def test_folders_without_clear_cases(tmp_path: Path, files: list[str], match: str) -> None:
    root = laid(tmp_path / "in", *files)
    with pytest.raises((FileFormatError, OptionError), match=match):
        find_cases(root, tmp_path / "out")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="nothere cannot be read: No such file"):
        find_cases(tmp_path / "nothere", tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.csv", '\ufeffcase,age,images,task\nann,61,"a b.nii.gz",\nbob,9,t1.nii;t2.nii,"brain, prostate"\n'),
        ("list.jsonl", '{"case": "ann", "images": "a b.nii.gz"}\n\n{"case": "bob", "images": ["t1.nii", "t2.nii"], "task": "brain;prostate"}\n'),
    ],
)  # fmt: skip
def test_cases_of_a_list(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_manifest(tmp_path / name) == [
        Case("ann", (tmp_path / "a b.nii.gz",)),
        Case("bob", (tmp_path / "t1.nii", tmp_path / "t2.nii"), ("brain", "prostate")),
    ]


def test_a_list_chooses_a_series(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("case,images,series\nann,/data/ann,3\n")
    assert read_manifest(tmp_path / "list.csv") == [Case("ann", (Path("/data/ann"),), (), "3")]


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("l.csv", "", "line 1 has no column 'case', it has nothing. A CSV begins with"),
        ("l.csv", "case,images\n", "lists no case"),
        ("l.csv", "name,images\na,b\n", "has no column 'case', it has name, images"),
        ("l.csv", "case;images\na;b\n", "has no column 'case', it has case;images"),
        ("l.csv", "case,image\na,b\n", r"has a column 'image'\. Did you mean images\?"),
        ("l.csv", "case,images,tasks\na,b,liver\n", r"has a column 'tasks'\. Did you mean task\?"),
        ("l.csv", "case,images\na,\n", "line 2 has no images"),
        ("l.csv", "case,images\n,b\n", "line 2 has no case"),
        ("l.csv", "case,images\na,b,c\n", "line 2 has more fields than columns"),
        ("l.csv", "case,images\na,b\na,c\n", "two cases are named 'a'"),
        ("l.csv", "case,images\n../a,b\n", r"'\.\./a' cannot be the name of a case"),
        ("l.csv", "case,images\nsummary.csv,b\n", "'summary.csv' cannot be the name of a case"),
        ("l.jsonl", '{"case": "a", "images": "b"}\n{"case"\n', "line 2 is not JSON"),
        ("l.jsonl", "[1]\n", "line 1 is no JSON object"),
        ("l.jsonl", '{"case": "a"}\n', "line 1 has no column 'images'"),
        ("l.jsonl", '{"case": "a", "images": []}\n', "line 1 has no images"),
    ],
)
def test_lists_that_are_wrong(tmp_path: Path, name: str, text: str, match: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises((FileFormatError, OptionError), match=match):
        read_manifest(tmp_path / name)


def test_a_list_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_bytes(b"case,images\n\xff\xfe,b\n")
    with pytest.raises(FileFormatError, match="cannot be read as UTF-8 text"):
        read_manifest(tmp_path / "l.csv")
