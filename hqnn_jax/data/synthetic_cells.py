"""Procedurally drawn stained blood cells in the eight classes of BloodMNIST.

The embedded default dataset: the first command needs no network. Shapes follow the morphology a
haematologist goes by (size of cell and nucleus, number of lobes, granules, colour of the
cytoplasm); colours follow Beer-Lambert's law, every structure adding its optical density for red,
green and blue light. Lengths are in units of half the image side, so a drawing does not depend on
the resolution. Nothing here is a measurement: figures on these images say nothing about patients.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import psutil
from jaxtyping import Float32, UInt8

from hqnn_jax.config import SyntheticConfig
from hqnn_jax.data.dataset import SPLIT_NAMES, ImageDataset, Split, make_dataset
from hqnn_jax.errors import ConfigurationError

Rgb = tuple[float, float, float]
Range = tuple[float, float]
Scalars = Float32[np.ndarray, "n 1 1"]
Plane = Float32[np.ndarray, "n h w"]

_NUCLEUS: Rgb = (0.75, 1.15, 0.42)
_RED_CELL: Rgb = (0.10, 0.38, 0.34)
# Images drawn at once: temporaries of this many pixels stay in the processor's cache.
_PIXELS_PER_CHUNK = 100_000


@dataclass(frozen=True)
class CellType:
    """Morphology of one class; ranges are drawn from uniformly, lengths are relative."""

    name: str
    radius: Range
    """Of the cell, in half image sides."""
    cytoplasm: Rgb
    """Optical density of the cytoplasm."""
    lobes: tuple[int, int] = (1, 1)
    """Fewest and most lobes of the nucleus; (0, 0): no nucleus."""
    lobe_radius: Range = (0.5, 0.6)
    """Of a lobe, as a share of the cell radius."""
    lobe_orbit: Range = (0.0, 0.1)
    """Distance of the lobes from the cell centre, as a share of the cell radius."""
    lobe_step: Range = (1.0, 1.3)
    """Angle between neighbouring lobes, in radians."""
    nucleus_density: Range = (0.85, 1.05)
    """Strength of the nuclear stain."""
    indentation: Range = (0.0, 0.0)
    """Radius of the bite out of the nucleus that makes it kidney-shaped, as a share."""
    granules: int = 0
    granule_radius: Range = (0.04, 0.06)
    granule_colour: Rgb = (0.0, 0.0, 0.0)
    """Optical density of a granule (negative: it clears the stain below it)."""


CELL_TYPES = (
    CellType(
        "basophil",
        radius=(0.46, 0.74),
        cytoplasm=(0.22, 0.34, 0.14),
        lobes=(2, 3),
        lobe_radius=(0.38, 0.48),
        lobe_orbit=(0.25, 0.38),
        lobe_step=(1.6, 2.4),
        nucleus_density=(0.45, 0.65),
        granules=18,
        granule_radius=(0.06, 0.09),
        granule_colour=(0.70, 0.80, 0.28),
    ),
    CellType(
        "eosinophil",
        radius=(0.50, 0.76),
        cytoplasm=(0.10, 0.32, 0.20),
        lobes=(2, 2),
        lobe_radius=(0.38, 0.46),
        lobe_orbit=(0.36, 0.46),
        lobe_step=(1.9, 2.7),
        granules=26,
        granule_radius=(0.05, 0.08),
        granule_colour=(0.03, 0.42, 0.38),
    ),
    CellType(
        "erythroblast",
        radius=(0.38, 0.62),
        cytoplasm=(0.27, 0.36, 0.22),
        lobe_radius=(0.50, 0.66),
        nucleus_density=(0.95, 1.30),
    ),
    CellType(
        "immature granulocytes",
        radius=(0.54, 0.84),
        cytoplasm=(0.29, 0.33, 0.13),
        lobe_radius=(0.60, 0.74),
        lobe_orbit=(0.14, 0.28),
        nucleus_density=(0.70, 1.00),
        granules=26,
        granule_radius=(0.04, 0.06),
        granule_colour=(0.24, 0.52, 0.16),
    ),
    CellType(
        "lymphocyte",
        radius=(0.42, 0.66),
        cytoplasm=(0.34, 0.32, 0.13),
        lobe_radius=(0.78, 0.90),
        lobe_orbit=(0.02, 0.12),
        nucleus_density=(0.80, 1.10),
    ),
    CellType(
        "monocyte",
        radius=(0.54, 0.84),
        cytoplasm=(0.28, 0.30, 0.14),
        lobe_radius=(0.60, 0.74),
        lobe_orbit=(0.06, 0.18),
        nucleus_density=(0.70, 1.00),
        indentation=(0.58, 0.72),
    ),
    CellType(
        "neutrophil",
        radius=(0.50, 0.76),
        cytoplasm=(0.09, 0.21, 0.13),
        lobes=(3, 5),
        lobe_radius=(0.27, 0.34),
        lobe_orbit=(0.42, 0.54),
        lobe_step=(0.85, 1.10),
        granules=16,
        granule_radius=(0.03, 0.05),
        granule_colour=(0.06, 0.14, 0.06),
    ),
    CellType(
        "platelet",
        radius=(0.14, 0.32),
        cytoplasm=(0.30, 0.42, 0.12),
        lobes=(0, 0),
        granules=6,
        granule_radius=(0.16, 0.26),
        granule_colour=(0.25, 0.40, 0.14),
    ),
)


def synthetic_cells(config: SyntheticConfig, resolution: int) -> ImageDataset:
    """Draw a dataset of stained blood cells; the same arguments give the same dataset.

    Args:
        config: number of images per split, strength of the pixel noise (standard deviation, as a
            share of white) and seed.
        resolution: side of the images in pixels.

    Returns:
        Eight classes, named as BloodMNIST's and equally frequent; uint8 RGB images.

    Raises:
        ConfigurationError: the images take more memory than is free.
    """
    sizes = (config.train_images, config.validation_images, config.test_images)
    _require_memory(sum(sizes), resolution)
    seeds = np.random.SeedSequence(config.seed).spawn(len(SPLIT_NAMES))
    return make_dataset(
        {
            name: _draw_split(seed, size, resolution, config.noise)
            for name, seed, size in zip(SPLIT_NAMES, seeds, sizes, strict=True)
        },
        name="synthetic_cells",
        class_names=tuple(kind.name for kind in CELL_TYPES),
        licence="drawn by hqnn_jax itself; no rights reserved, no patient involved",
        citation="synthetic cells drawn by hqnn_jax; not measurements, not for clinical claims",
        synthetic=True,
    )


def _require_memory(count: int, resolution: int) -> None:
    needed, free = count * resolution**2 * 3, psutil.virtual_memory().available
    if needed > free:
        raise ConfigurationError(
            f"dataset.synthetic: {count:,} images of {resolution} pixels take {needed / 1e9:,.1f} "
            f"GB of memory, {free / 1e9:,.1f} GB are free; ask for fewer images or a lower "
            "dataset.resolution"
        )


def _draw_split(seed: np.random.SeedSequence, size: int, resolution: int, noise: float) -> Split:
    order_seed, *class_seeds = seed.spawn(1 + len(CELL_TYPES))
    labels = np.arange(size, dtype=np.int32) % len(CELL_TYPES)
    order = np.random.default_rng(order_seed).permutation(size)
    images = np.empty((size, resolution, resolution, 3), np.uint8)
    per_chunk = max(1, _PIXELS_PER_CHUNK // resolution**2)

    def draw(kind: CellType, where: np.ndarray, chunk_seed: np.random.SeedSequence) -> None:
        rng = np.random.default_rng(chunk_seed)
        images[where] = draw_cells(rng, kind, len(where), resolution, noise)

    # A seed for every chunk makes the result independent of the order the threads finish in.
    with ThreadPoolExecutor() as pool:
        jobs = []
        for label, (kind, class_seed) in enumerate(zip(CELL_TYPES, class_seeds, strict=True)):
            members = order[labels == label]
            chunks = [members[i : i + per_chunk] for i in range(0, len(members), per_chunk)]
            for where, chunk_seed in zip(chunks, class_seed.spawn(len(chunks)), strict=True):
                jobs.append(pool.submit(draw, kind, where, chunk_seed))
        for job in jobs:
            job.result()
    shuffled = np.empty_like(labels)
    shuffled[order] = labels
    return Split(images, shuffled)


def draw_cells(
    rng: np.random.Generator, kind: CellType, count: int, resolution: int, noise: float
) -> UInt8[np.ndarray, "count resolution resolution 3"]:
    """Draw `count` independent images of one cell type.

    Args:
        rng: source of every random choice.
        kind: the morphology.
        count: number of images.
        resolution: side in pixels.
        noise: standard deviation of the pixel noise as a share of white.
    """
    canvas = _Canvas(rng, count, resolution)
    canvas.red_cells()
    centre_x, centre_y = canvas.uniform(-0.2, 0.2), canvas.uniform(-0.2, 0.2)
    radius = canvas.uniform(*kind.radius)
    canvas.cytoplasm(kind, centre_x, centre_y, radius)
    canvas.nucleus(kind, centre_x, centre_y, radius)
    canvas.granules(kind, centre_x, centre_y, radius)
    return canvas.photograph(noise)


class _Canvas:
    """Optical density of a batch of images while they are being drawn."""

    def __init__(self, rng: np.random.Generator, count: int, resolution: int) -> None:
        self.rng = rng
        self.count = count
        ticks = (np.arange(resolution, dtype=np.float32) + 0.5) / resolution * 2 - 1
        self.x = ticks[None, None, :]
        self.y = ticks[None, :, None]
        self.density = np.zeros((count, 3, resolution, resolution), np.float32)
        # Focus varies: every edge of an image is this soft, at least a pixel (anti-aliasing).
        self.softness = 2.0 / resolution + self.uniform(0.0, 0.10)

    def uniform(self, low: float, high: float) -> Scalars:
        """One random number per image."""
        drawn = self.rng.uniform(low, high, (self.count, 1, 1))
        return drawn.astype(np.float32)

    def coverage(self, inside: Plane) -> Plane:
        """Coverage in [0, 1] from the signed distance to an edge, positive inside."""
        share: Plane = np.clip(inside / self.softness + np.float32(0.5), 0, 1)
        return share

    def distance(self, x: Scalars, y: Scalars) -> Plane:
        """Distance of every pixel from one point per image."""
        result: Plane = np.sqrt((self.x - x) ** 2 + (self.y - y) ** 2)
        return result

    def add(self, coverage: Plane, colour: Rgb) -> None:
        """Add a structure's optical density."""
        for channel, density in enumerate(colour):
            self.density[:, channel] += coverage * np.float32(density)

    def red_cells(self) -> None:
        """Red cells around the image's centre, paler in their middle."""
        for turn in range(5):
            angle = self.uniform(turn * 1.2566, turn * 1.2566 + 1.2)
            orbit = self.uniform(0.85, 1.45)
            radius = self.uniform(0.30, 0.42)
            distance = self.distance(orbit * np.cos(angle), orbit * np.sin(angle))
            pallor = np.clip(distance / radius, 0.45, 1)
            self.add(self.coverage(radius - distance) * pallor, _RED_CELL)

    def cytoplasm(self, kind: CellType, x: Scalars, y: Scalars, radius: Scalars) -> None:
        """The cell's body with a slightly irregular outline; it hides the red cells below."""
        angle, strength = self.uniform(0.0, 6.2832), self.uniform(0.0, 0.10)
        dx, dy = self.x - x, self.y - y
        distance = self.distance(x, y)
        # cos 2θ and sin 2θ without an arctangent: an ellipse in a random direction.
        squared = np.maximum(distance**2, np.float32(1e-6))
        wave = ((dx**2 - dy**2) * np.cos(angle) + 2 * dx * dy * np.sin(angle)) / squared
        coverage = self.coverage(radius * (1 + strength * wave) - distance)
        self.density *= 1 - coverage[:, None]
        self.add(coverage * self.uniform(0.8, 1.2), kind.cytoplasm)

    def nucleus(self, kind: CellType, x: Scalars, y: Scalars, radius: Scalars) -> None:
        """Union of the lobes, less an indentation, with chromatin texture."""
        if kind.lobes[1] == 0:
            return
        start, step = self.uniform(0.0, 6.2832), self.uniform(*kind.lobe_step)
        orbit = self.uniform(*kind.lobe_orbit) * radius
        number = self.rng.integers(kind.lobes[0], kind.lobes[1] + 1, (self.count, 1, 1))
        inside: Plane = np.full((self.count, *self.density.shape[2:]), -9.0, np.float32)
        for lobe in range(kind.lobes[1]):
            angle = start + lobe * step
            size = np.where(lobe < number, self.uniform(*kind.lobe_radius) * radius, -9.0)
            size = size.astype(np.float32)
            distance = self.distance(x + orbit * np.cos(angle), y + orbit * np.sin(angle))
            np.maximum(inside, size - distance, out=inside)
        if kind.indentation[1] > 0:
            bite = self.uniform(*kind.indentation) * radius
            reach = radius * np.float32(0.78)
            distance = self.distance(x - reach * np.cos(start), y - reach * np.sin(start))
            np.minimum(inside, distance - bite, out=inside)
        strength = self.uniform(*kind.nucleus_density)
        self.add(self.coverage(inside) * strength * self._chromatin(), _NUCLEUS)

    def _chromatin(self) -> Plane:
        """Clumps: a product of two plane waves with random direction and phase."""
        angle, pitch = self.uniform(0.0, 3.1416), self.uniform(9.0, 16.0)
        along = np.cos(angle) * self.x + np.sin(angle) * self.y
        across = np.cos(angle) * self.y - np.sin(angle) * self.x
        clumps = np.sin(pitch * along + self.uniform(0.0, 6.2832)) * np.sin(
            pitch * across + self.uniform(0.0, 6.2832)
        )
        texture: Plane = 1 + np.float32(0.12) * clumps
        return texture

    def granules(self, kind: CellType, x: Scalars, y: Scalars, radius: Scalars) -> None:
        """Granules spread evenly over the cell; they may lie over the nucleus."""
        if kind.granules == 0:
            return
        grains: Plane = np.zeros((self.count, *self.density.shape[2:]), np.float32)
        for _ in range(kind.granules):
            angle = self.uniform(0.0, 6.2832)
            orbit = np.sqrt(self.uniform(0.0, 0.85)) * radius
            size = self.uniform(*kind.granule_radius) + self.softness / 4
            squared = (self.x - x - orbit * np.cos(angle)) ** 2
            squared = squared + (self.y - y - orbit * np.sin(angle)) ** 2
            np.maximum(grains, 1 - squared / size**2, out=grains)
        self.add(grains * self.uniform(0.8, 1.2), kind.granule_colour)

    def photograph(self, noise: float) -> UInt8[np.ndarray, "count resolution resolution 3"]:
        """Light through the stained smear, onto a sensor with noise."""
        rng = self.rng
        # Batches of stain differ in strength and tint, lamps in brightness, colour and evenness.
        stain = rng.uniform(0.7, 1.3, (self.count, 1, 1, 1)) * rng.uniform(
            0.84, 1.16, (self.count, 3, 1, 1)
        )
        white = np.array([0.93, 0.88, 0.84]).reshape(1, 3, 1, 1) * rng.uniform(
            0.88, 1.06, (self.count, 1, 1, 1)
        )
        white = white * rng.uniform(0.97, 1.03, (self.count, 3, 1, 1))
        slope = 1 + self.uniform(-0.06, 0.06) * self.x + self.uniform(-0.06, 0.06) * self.y
        light = np.exp(-self.density * stain.astype(np.float32))
        light *= white.astype(np.float32)
        light *= slope[:, None]
        light += np.float32(noise) * rng.standard_normal(light.shape, np.float32)
        pixels = np.clip(light * 255 + 0.5, 0, 255).astype(np.uint8)
        return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))
