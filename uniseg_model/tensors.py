"""What does not care whether numbers lie in an array or in a tensor, and a name for sets of tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Values = TypeVar("Values", bound="np.ndarray | Tensor")  # what comes out is what went in


def library_of(values: np.ndarray | Tensor) -> Any:
    """numpy or torch, whichever the values belong to: what is done voxel by voxel has the same names in both."""
    if isinstance(values, np.ndarray):
        return np
    import torch

    return torch


def zeros(shape: Sequence[int], values: np.ndarray | Tensor) -> Any:
    """Zeros of the kind and type of ``values``, and where these lie."""
    return np.zeros(shape, values.dtype) if isinstance(values, np.ndarray) else values.new_zeros(tuple(shape))


def in_memory(values: np.ndarray | Tensor) -> np.ndarray:
    """The values as an array; a tensor's are copied only where they lie on a GPU."""
    return values if isinstance(values, np.ndarray) else values.cpu().numpy()


def as_bytes(values: np.ndarray | Tensor) -> np.ndarray:
    """Whole numbers from 0 to 255 as an array of uint8: of a tensor on a GPU nothing larger is copied."""
    return values.astype(np.uint8, copy=False) if isinstance(values, np.ndarray) else in_memory(values.byte())


def sha256_of(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes, 64 hexadecimal digits: it names the tensors and not a file."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
