"""What a scanner adds to the truth: blur, noise, texture, and the uneven coil of an MR machine."""

from __future__ import annotations

import numpy as np

from uniseg_model.phantom.canvas import Grid


def blurred(channel: np.ndarray, sigma_mm: float, grid: Grid) -> np.ndarray:
    """(Z, Y, X) as seen through a Gaussian of ``sigma_mm``; next to nothing where that is far below a voxel."""
    from scipy import ndimage  # here, so that importing the package stays cheap

    sigma = [sigma_mm / step for step in grid.spacing_mm]
    return np.asarray(ndimage.gaussian_filter(channel, sigma, mode="nearest", truncate=3))


def grain(rng: np.random.Generator, grid: Grid, sigma_mm: float) -> np.ndarray:
    """Noise (Z, Y, X) of mean 0 and deviation 1 with grains of about ``sigma_mm``."""
    noise = blurred(rng.standard_normal(grid.shape, dtype=np.float32), sigma_mm, grid)
    return np.asarray(noise / max(float(noise.std()), 1e-6))


def ct(truth_hu: np.ndarray, grid: Grid, rng: np.random.Generator) -> np.ndarray:
    """A CT in whole HU from the true densities (Z, Y, X)."""
    sharp = blurred(truth_hu, float(rng.uniform(0.8, 1.5)), grid)
    noise = float(rng.uniform(7, 14)) * grain(rng, grid, float(rng.uniform(0.9, 1.6)))
    texture = 3.0 * grain(rng, grid, 7.0)
    tissue = np.clip((sharp + 1000) / 900, 0.25, 1)  # air and lung are quieter
    return np.asarray(np.clip(np.round(sharp + tissue * (noise + texture)), -1024, 3071), dtype=np.float32)


def pet(truth_suv: np.ndarray, grid: Grid, rng: np.random.Generator) -> np.ndarray:
    """A PET in SUV from the true uptake (Z, Y, X): some 6 mm of blur, and noise that grows with the signal."""
    seen = blurred(truth_suv, float(rng.uniform(2.2, 3.2)), grid)
    noise = grain(rng, grid, 3.5)
    return np.asarray(np.maximum(seen + float(rng.uniform(0.05, 0.12)) * np.sqrt(seen + 0.02) * noise, 0), dtype=np.float32)


def mr(truth: np.ndarray, grid: Grid, rng: np.random.Generator, *, bias: float, noise: float, blur_mm: float) -> np.ndarray:
    """One MR channel (Z, Y, X), never negative: blurred, shaded by up to about ``bias``, with Rician noise.

    noise: its deviation as a share of the brightest tissue.
    """
    level = noise * float(np.percentile(truth, 99))
    texture = 1 + 0.025 * grain(rng, grid, 2.0)
    shaded = blurred(truth, blur_mm, grid) * texture * np.exp(bias * _shading(grid, rng))
    real, imaginary = (level * rng.standard_normal(grid.shape, dtype=np.float32) for _ in range(2))
    return np.asarray(np.hypot(shaded + real, imaginary), dtype=np.float32)


def _shading(grid: Grid, rng: np.random.Generator) -> np.ndarray:
    """A smooth field (Z, Y, X) within about -1 to 1: a product of slow waves, one an axis."""
    field = np.ones((1, 1, 1), np.float32)
    for axis, n in enumerate(grid.shape):
        wave = np.cos(np.linspace(0, rng.uniform(0.5, 1.1) * np.pi, n) + rng.uniform(-0.6, 0.6))
        field = field * (0.55 + 0.45 * wave).astype(np.float32).reshape([-1 if i == axis else 1 for i in range(3)])
    return np.asarray(2 * field - field.max())
