"""How alike prompts are: a matrix of tasks, its clusters, and a plane on which alike prompts lie near each other.

Letters: T prompts; z, y, x their voxels, n of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from uniseg_model.errors import OptionError

_CONSTANT = 1e-6  # of a prompt's size: what is left of a constant prompt when its mean is taken away


def _cosine(rows: np.ndarray) -> np.ndarray:
    return _products(rows, np.linalg.norm(rows, axis=1))


def _correlation(rows: np.ndarray) -> np.ndarray:
    return _products(rows - rows.mean(axis=1, keepdims=True), np.linalg.norm(rows, axis=1))


def _products(rows: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Cosines between rows (T, n); a row that is negligible beside its ``sizes`` has no direction and counts as 0."""
    norms = np.linalg.norm(rows, axis=1)
    units = np.where((norms > _CONSTANT * sizes)[:, None], rows / np.maximum(norms, np.finfo(float).tiny)[:, None], 0.0)
    return np.asarray(units @ units.T)


SIMILARITIES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {"correlation": _correlation, "cosine": _cosine}
DEFAULT = "correlation"


def similarity(prompts: np.ndarray, kind: str = DEFAULT) -> np.ndarray:
    """How alike prompts (T, z, y, x) are: (T, T) float64 in [-1, 1], symmetric, with exactly 1 on the diagonal.

    kind: ``correlation`` compares patterns: the cosine after each prompt's own mean is taken away. It is the default because
        the prompts of an image come out of a LeakyReLU, which gives all of them a positive mean; that alone makes their
        cosines positive. ``cosine`` compares pattern and level together, as embeddings usually are; for learned prompts,
        whose means are small beside their spread, the two say much the same.
    A prompt without a direction (all zero, or for correlation constant) has similarity 0 with all others.

    Raises:
        OptionError: another kind.
    """
    if kind not in SIMILARITIES:
        raise OptionError(f"the similarity must be {' or '.join(SIMILARITIES)}, not {kind!r}")
    matrix = SIMILARITIES[kind](prompts.reshape(len(prompts), -1).astype(np.float64))
    matrix = np.asarray(np.clip((matrix + matrix.T) / 2, -1, 1))
    np.fill_diagonal(matrix, 1)
    return matrix


def chance(n: int) -> float:
    """Standard deviation of the correlation of two prompts of ``n`` voxels drawn at random: less than twice this says little."""
    return 1 / float(np.sqrt(max(n - 1, 1)))


@dataclass(frozen=True, eq=False)
class Tree:
    """Prompts joined step by step, the most alike first.

    order: of the leaves, so that neighbours are alike. linkage: (T - 1, 4), scipy's, with distance 1 - similarity.
    """

    order: tuple[int, ...]
    linkage: np.ndarray = field(repr=False)

    def branches(self) -> list[list[tuple[float, float]]]:
        """Polylines of a dendrogram: (place along the order, 0 for the first leaf; distance) for four corners each."""
        if not len(self.linkage):
            return []
        drawn = hierarchy.dendrogram(self.linkage, no_plot=True)
        corners = zip(drawn["icoord"], drawn["dcoord"], strict=True)
        return [[((i - 5) / 10, float(d)) for i, d in zip(places, heights, strict=True)] for places, heights in corners]


def cluster(matrix: np.ndarray) -> Tree:
    """Average linkage on 1 - similarity, leaves in the order with the most alike neighbours. matrix: (T, T)."""
    if len(matrix) < 2:
        return Tree(tuple(range(len(matrix))), np.zeros((0, 4)))
    distances = squareform(np.clip(1 - matrix, 0, 2), checks=False)
    linkage = hierarchy.linkage(distances, method="average", optimal_ordering=True)
    return Tree(tuple(int(leaf) for leaf in hierarchy.leaves_list(linkage)), linkage)


@dataclass(frozen=True, eq=False)
class Plane:
    """Prompts as points. points: (T, 2) float64, in the prompts' unit. shares: of their variance that each axis shows."""

    points: np.ndarray = field(repr=False)
    shares: tuple[float, float]


def project(prompts: np.ndarray) -> Plane:
    """The two directions in which prompts (T, z, y, x) differ most (principal components).

    Signs are fixed: the point farthest out along an axis is on its positive side. Two prompts have one direction only.
    """
    rows = prompts.reshape(len(prompts), -1).astype(np.float64)
    left, sizes, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    points = np.zeros((len(rows), 2))
    n = min(2, len(sizes))
    points[:, :n] = left[:, :n] * sizes[:n]
    farthest = points[np.abs(points).argmax(axis=0), [0, 1]]
    total = float((sizes**2).sum())
    shares = [float(size**2) / total if total else 0.0 for size in (*sizes[:2], 0.0, 0.0)]
    return Plane(points * np.where(farthest < 0, -1.0, 1.0), (shares[0], shares[1]))
