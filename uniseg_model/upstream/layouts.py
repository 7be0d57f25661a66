"""The thirteen public data sets: how their files are named, what their labels mean, how many cases they have.

A layout is a regular expression for the end of an image's path, and templates (as in ``re.Match.expand``) for what
belongs to it. Folders above do not matter, so a download is found wherever it was unpacked. Several layouts of one set
are the forms in which people hold it.

Decisions:

- Cases get the names that the authors of UniSeg gave them, so that their split files fit.
- Kidney: KiTS19 publishes 300 scans and labels of the first 210; the others are not looked for.
- Whole body: a patient's studies are counted in name order. The authors counted them in the order of their disk, so
  for patients with several studies ``_0`` and ``_1`` may be exchanged; ``sources.json`` says which study is which.
- Prostate: cases are counted through the sites in name order; each site begins at its number in the full set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from uniseg_model.upstream.splits import BTCV, BY_SITE, EVERY_FIFTH, EVERY_FIFTH_NUMBER, SHUFFLED, SHUFFLED_OWN, SITES, Rule


@dataclass(frozen=True)
class Layout:
    """One form of a data set.

    image: regular expression of the end of the first channel's path, with ``/``. example: such a path, for people.
    label: templates of where the labels are; the first that exists counts. others: templates of further channels.
    name: template of the case's name. In templates ``above`` is the folder in which the expression begins.
    """

    image: str
    example: str
    label: tuple[str, ...]
    name: str
    others: tuple[str, ...] = ()

    def match(self, path: str) -> re.Match[str] | None:
        """The match of a first channel's path, written with ``/``; None for any other file."""
        return re.fullmatch(rf"(?P<above>(?:.*/)?){self.image}", path)


@dataclass(frozen=True)
class DataSet:
    """A public data set.

    key: of its task, and the name of its folder. n_train, n_val: in the authors' split.
    values: from stored label values to ours; a value that is not here is refused. split: the rule without a split file.
    numbering: what is counted to make names unique: nothing, a patient's ``study``, or the cases of all sites.
    axes: images are turned to these when they are imported. lesions_only: cases without any label are left out.
    labels_on_image: labels count as lying on their image whatever their own header says, if the shapes agree.
    """

    key: str
    layouts: tuple[Layout, ...]
    values: Mapping[int, int]
    n_train: int
    n_val: int
    split: Rule
    numbering: str = ""
    axes: str = ""
    lesions_only: bool = False
    labels_on_image: bool = False
    source: str = field(default="", kw_only=True)

    @property
    def n_cases(self) -> int:
        """Number of cases in the full set."""
        return self.n_train + self.n_val


def names_of(data_set: DataSet, found: Sequence[tuple[Layout, re.Match[str]]]) -> list[str]:
    """The cases' names, in the order given, which must be the order of the paths."""
    counts: dict[str, int] = {}
    names = []
    for layout, match in found:
        name = match.expand(layout.name)
        if data_set.numbering:
            group = name if data_set.numbering == "study" else match["site"]
            first = SITES[match["site"]].start if data_set.numbering == "site" else 0
            number = first + counts.get(group, 0)
            counts[group] = counts.get(group, 0) + 1
            name = f"{name}_{number}"
        names.append(name)
    return names


def _identity(n_labels: int) -> dict[int, int]:
    return {value: value for value in range(n_labels + 1)}


def _all_as_one(largest: int) -> dict[int, int]:
    return {value: min(value, 1) for value in range(largest + 1)}


def _decathlon(prefix: str, folder: str) -> Layout:
    """The Medical Segmentation Decathlon, DoDNet's folders of it, and nnU-Net's."""
    return Layout(
        rf"imagesTr/(?P<case>{prefix}_\d+)(?:_0000)?\.nii\.gz",
        f"{folder}/imagesTr/{prefix}_1.nii.gz",
        (r"\g<above>labelsTr/\g<case>.nii.gz",),
        r"\g<case>",
    )


_LITS = Layout(
    r"volume-(?P<n>\d+)\.nii(?P<gz>\.gz)?",
    "Training Batch 1/volume-0.nii",
    (r"\g<above>segmentation-\g<n>.nii\g<gz>",),
    r"liver_\g<n>",
)
_KITS = Layout(
    r"(?P<folder>case_(?=00(?:[01]\d\d|20\d)/)0*(?P<n>\d+))/imaging\.nii\.gz",
    "1Kidney/origin/case_00000/imaging.nii.gz",
    (r"\g<above>\g<folder>/segmentation.nii.gz",),
    r"kidney_\g<n>",
)
_VERSE = Layout(
    r"rawdata/(?P<subject>sub-[^/]+)/(?P<scan>[^/]+)_ct\.nii\.gz",
    "dataset-01training/rawdata/sub-verse500/sub-verse500_dir-ax_ct.nii.gz",
    (r"\g<above>derivatives/\g<subject>/\g<scan>_seg-vert_msk.nii.gz",),
    r"\g<subject>",
)
_SAML = Layout(
    rf"(?P<site>{'|'.join(SITES)})/(?P<case>Case\d+)\.nii\.gz",
    "BIDMC/Case00.nii.gz",
    (r"\g<above>\g<site>/\g<case>_segmentation.nii.gz", r"\g<above>\g<site>/\g<case>_Segmentation.nii.gz"),
    "prostate",
)
_BRATS = Layout(
    r"(?P<case>BraTS2021_\d+)/(?P=case)_t1\.nii\.gz",
    "BraTS2021_00000/BraTS2021_00000_t1.nii.gz",
    (r"\g<above>\g<case>/\g<case>_seg.nii.gz",),
    r"\g<case>",
    tuple(rf"\g<above>\g<case>/\g<case>_{channel}.nii.gz" for channel in ("t1ce", "t2", "flair")),
)
_AUTOPET = Layout(
    r"(?P<patient>PETCT_[0-9A-Za-z]+)/(?P<study>[^/]+)/CTres\.nii\.gz",
    "FDG-PET-CT-Lesions/PETCT_0011f3deaf/03-23-2003-.../CTres.nii.gz",
    (r"\g<above>\g<patient>/\g<study>/SEG.nii.gz",),
    r"\g<patient>",
    (r"\g<above>\g<patient>/\g<study>/SUV.nii.gz",),
)
_BTCV = Layout(
    r"img/img(?P<id>(?=00(?:[0-3]\d|40)\.)0*(?P<n>\d+))\.nii\.gz",
    "RawData/Training/img/img0001.nii.gz",
    (r"\g<above>label/label\g<id>.nii.gz",),
    r"bcv_\g<n>",
)
_VS = Layout(
    r"(?P<case>[^/]+)/vs_gk_t1_refT1\.nii\.gz",
    "VS-SEG-001/vs_gk_t1_refT1.nii.gz",
    (r"\g<above>\g<case>/vs_gk_seg_refT1.nii.gz",),
    r"\g<case>",
)

_MSD = "the Medical Segmentation Decathlon, folders as in DoDNet"
_SETS = (
    DataSet("liver", (_decathlon("liver", "0Liver"), _LITS), _identity(2), 104, 27, EVERY_FIFTH, source=f"LiTS, or {_MSD}"),
    DataSet("kidney", (_KITS, _decathlon("kidney", "1Kidney")), _identity(2), 168, 42, EVERY_FIFTH_NUMBER, source="KiTS19"),
    DataSet("hepatic_vessel", (_decathlon("hepaticvessel", "2HepaticVessel"),), _identity(2), 242, 61, EVERY_FIFTH, source=_MSD),
    DataSet("pancreas", (_decathlon("pancreas", "3Pancreas"),), _identity(2), 224, 57, EVERY_FIFTH, source=_MSD),
    DataSet("colon", (_decathlon("colon", "4Colon"),), _identity(1), 100, 26, EVERY_FIFTH, source=_MSD),
    DataSet("lung", (_decathlon("lung", "5Lung"),), _identity(1), 50, 13, EVERY_FIFTH, source=_MSD),
    DataSet("spleen", (_decathlon("spleen", "6Spleen"),), _identity(1), 32, 9, EVERY_FIFTH, source=_MSD),
    DataSet("vertebrae", (_VERSE,), _all_as_one(28), 171, 43, SHUFFLED_OWN, axes="RAS", source="VerSe20, subject-based"),
    DataSet("prostate", (_SAML,), _all_as_one(255), 91, 25, BY_SITE, "site", labels_on_image=True, source="Multi-site prostate MR (SAML)"),
    DataSet("brain", (_BRATS,), {0: 0, 2: 1, 1: 2, 4: 3}, 1000, 251, SHUFFLED, source="BraTS 2021"),
    DataSet("whole_body", (_AUTOPET,), _identity(1), 400, 101, SHUFFLED, "study", lesions_only=True, source="AutoPET 2022 as NIfTI"),
    DataSet("btcv", (_BTCV,), _identity(13), 21, 9, BTCV, source="BTCV abdomen (Synapse syn3193805)"),
    DataSet("vs", (_VS,), _identity(1), 193, 49, SHUFFLED, source="Vestibular-Schwannoma-SEG as NIfTI by the VS_Seg scripts"),
)  # fmt: skip

UPSTREAM: Mapping[str, DataSet] = MappingProxyType({data_set.key: data_set for data_set in _SETS})
