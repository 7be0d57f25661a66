"""Import of the authors' checkpoint (``model_final_checkpoint.model``), without ever running what a pickle asks for.

The file is a torch zip whose pickle holds more than tensors: loss curves as numpy scalars, and optimiser state tagged
with a GPU. torch's weights-only reader is told of exactly those harmless types; a file that wants anything else is
refused and the wanted names are said. The companion ``.model.pkl`` is not needed; when it lies beside the file it is
read with an allow-list of its own and compared.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy._core.multiarray as multiarray
import torch
from torch import Tensor

from uniseg_model.checkpoint import About, Checkpoint, check_state
from uniseg_model.errors import WeightsError
from uniseg_model.files import file_sha256
from uniseg_model.network.config import NetworkConfig
from uniseg_model.tasks import builtin_tasks

LICENCE = (
    "UniSeg weights by Ye et al. (https://github.com/yeerwen/UniSeg): the authors' licence allows non-commercial use only; "
    "a commercial licence must be asked for by e-mail. They are your own copy: do not pass them on."
)

# From the authors' names to ours. Their decoder is "localization", their encoder "context".
_NAMES = (
    (r"intermedia_prompt", r"universal_prompt"),
    (r"fusion_layer\.blocks\.(\d+)", r"fusion.\1"),
    (r"conv_blocks_context\.(\d+)\.blocks\.(\d+)", r"encoder.\1.\2"),
    (r"conv_blocks_context\.(\d+)\.(\d+)\.blocks\.0", r"encoder.\1.\2"),
    (r"conv_blocks_localization\.(\d+)\.(\d+)\.blocks\.0", r"decoder.\1.\2"),
    (r"tu\.(\d+)", r"upsample.\1"),
    (r"seg_outputs\.(\d+)", r"heads.\1"),
)
_PARTS = {"conv": "conv", "conv_1": "convs.1", "conv_2": "convs.2", "conv_4": "convs.4", "instnorm": "norm"}

_SCALAR_DTYPES = [
    np.dtypes.Float64DType,
    np.dtypes.Float32DType,
    np.dtypes.Int64DType,
    np.dtypes.Int32DType,
    np.dtypes.BoolDType,
]


def import_official(path: Path) -> Checkpoint:
    """The authors' checkpoint as ours. Its network configuration is inferred from the tensors' shapes.

    Raises:
        WeightsError: missing, truncated, another architecture, or a pickle that wants more than data.
    """
    content = _load(path)
    state = content.get("state_dict") if isinstance(content, Mapping) else None
    if (
        not isinstance(state, Mapping)
        or not state
        or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items())
    ):
        raise WeightsError(f"{path.name} holds no state_dict of tensors, so it is not a checkpoint of the UniSeg trainer")
    weights = {our_name(name): tensor.float() for name, tensor in state.items()}
    config = infer_config(weights)
    check_state(config, weights)
    companion = path.with_name(path.name + ".pkl")
    if companion.exists():
        _compare(read_companion(companion), config, companion)
    history = {"file": path.name, "file_sha256": file_sha256(path), "epoch": _whole(content.get("epoch"))}
    return Checkpoint(config, builtin_tasks(), weights, About("UniSeg (authors)", "official", LICENCE, history))


def our_name(name: str) -> str:
    """Our name of a tensor, from the authors'; ``module.`` in front is dropped.

    Raises:
        WeightsError: the authors' network has no such tensor.
    """
    bare = name.removeprefix("module.")
    for theirs, ours in _NAMES:
        if match := re.fullmatch(rf"{theirs}(?:\.(?P<part>{'|'.join(_PARTS)}))?(?:\.(?P<kind>weight|bias))?", bare):
            part = _PARTS[match["part"]] if match["part"] else None
            return ".".join(filter(None, (match.expand(ours), part, match["kind"])))
    raise WeightsError(f"the tensor {name!r} does not belong to a UniSeg network", hint="Is this another model's checkpoint?")


def infer_config(weights: Mapping[str, Tensor]) -> NetworkConfig:
    """The network that tensors with our names belong to; the window is the prompt's grid times the total stride.

    Raises:
        WeightsError: tensors that the inference stands on are missing.
    """
    encoder = [name for name in weights if name.startswith("encoder.")]
    if not encoder:
        raise WeightsError("the tensors are not those of a UniSeg network: encoder is missing")
    try:
        n_stages = 1 + max(int(name.split(".")[1]) for name in encoder)
        stems = sorted(int(name.split(".")[4]) for name in weights if re.fullmatch(r"encoder\.0\.0\.convs\.\d+\.weight", name))
        firsts = [weights[f"encoder.0.0.convs.{stems[0]}.weight"]] + [
            weights[f"encoder.{s}.0.conv.weight"] for s in range(1, n_stages)
        ]
        strides = [tuple(weights[f"upsample.{i}.weight"].shape[2:]) for i in reversed(range(n_stages - 1))]
        _, n_tasks, *grid = weights["universal_prompt"].shape
        n_classes = weights["heads.0.weight"].shape[0]
    except (KeyError, ValueError, IndexError) as exc:
        raise WeightsError(f"the tensors are not those of a UniSeg network: {exc} is missing") from exc
    window = tuple(int(np.prod([side, *steps])) for side, steps in zip(grid, zip(*strides, strict=True), strict=True))
    return NetworkConfig(
        n_tasks=n_tasks,
        n_classes=n_classes,
        window=window,  # type: ignore[arg-type]
        features=tuple(tensor.shape[0] for tensor in firsts),
        strides=tuple(strides),  # type: ignore[arg-type]
        kernels=tuple(tuple(tensor.shape[2:]) for tensor in firsts),  # type: ignore[misc]
        stems=tuple(stems),
    )


def _load(path: Path) -> Any:
    if path.suffix == ".safetensors":
        raise WeightsError(f"{path.name} is not the authors' format", hint="If it was imported already, use it with --weights.")
    if not path.is_file():
        raise WeightsError(f"there is no file {path}", hint="Give the authors' file, whose name ends in .model.")
    if not _is_torch_zip(path):
        raise WeightsError(
            f"{path.name} is truncated or not a torch checkpoint",
            hint="Download it again and give the file that ends in .model.",
        )
    with _harmless_types():
        try:
            if wanted := torch.serialization.get_unsafe_globals_in_checkpoint(path):
                raise WeightsError(f"{path.name} was refused: reading it would run {', '.join(sorted(wanted))}, a checkpoint holds only data",
                                   hint="Do not open it with other programs; download it again from the authors.")  # fmt: skip
            return torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, OSError, EOFError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile) as exc:
            reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
            raise WeightsError(f"{path.name} is truncated or damaged: {reason}", hint="Download it again.") from exc


def _is_torch_zip(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/data.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


@contextmanager
def _harmless_types() -> Iterator[None]:
    """Let the weights-only reader make numpy scalars and arrays; numpy 1 and 2 spell their module differently."""
    spelled = [
        (maker, f"{module}.multiarray.{maker.__name__}")
        for maker in (multiarray.scalar, multiarray._reconstruct)
        for module in ("numpy.core", "numpy._core")
    ]
    with torch.serialization.safe_globals([*spelled, np.ndarray, np.dtype, *_SCALAR_DTYPES]):
        yield


class _PlainUnpickler(pickle.Unpickler):
    """Reads numpy data, ordered dicts and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """The harmless thing of that name.

        Raises:
            WeightsError: anything else.
        """
        allowed: dict[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("_codecs", "encode"): _latin1,
        }
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name in ("scalar", "_reconstruct"):
            return getattr(multiarray, name)
        if (module, name) not in allowed:
            raise WeightsError(f"the companion file wants to run {module}.{name}, it may hold only data",
                               hint="Do not open it with other programs; download it again from the authors.")  # fmt: skip
        return allowed[module, name]


def _latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise WeightsError(f"the companion file uses the encoding {encoding!r}, only latin1 is expected")
    return text.encode("latin1")


def read_companion(path: Path) -> Mapping[str, Any]:
    """The plain content of a ``.model.pkl``.

    Raises:
        WeightsError: truncated, or it wants to run something.
    """
    try:
        with path.open("rb") as file:
            content = _PlainUnpickler(file).load()
    except WeightsError:
        raise
    except Exception as exc:  # a damaged pickle can raise anything; nothing of it has run
        raise WeightsError(
            f"{path.name} is truncated or damaged: {exc}", hint="Remove it: the .model file alone is enough."
        ) from exc
    if not isinstance(content, Mapping):
        raise WeightsError(
            f"{path.name} is not the companion of a checkpoint", hint="Remove it: the .model file alone is enough."
        )
    return content


def _compare(companion: Mapping[str, Any], config: NetworkConfig, path: Path) -> None:
    """Refuse a companion that belongs to another network."""
    stage = companion.get("plans", {}).get("plans_per_stage", {}).get(0, {})
    window = tuple(int(side) for side in stage.get("patch_size", config.window))
    if window != config.window:
        raise WeightsError(f"{path.name} plans windows of {window}, the weights are for {config.window}: they do not belong together",
                           hint="Remove it: the .model file alone is enough.")  # fmt: skip


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) else None
