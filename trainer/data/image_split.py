"""The images of a study as pixels, once per study.

N = images of a split, B = images of a batch, C = channels, H = height, W = width.
"""

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.data.device_copies import to_device
from trainer.data.image_files import ImageFile
from trainer.data.rows import Rows
from trainer.data.tokenised_split import Batch
from trainer.errors import ConfigError, DataError

_CHUNK = 32
"""Number of images that are decoded at a time."""

_TOKEN_PIXELS = 256
"""Number of pixels that cost as much as a token: those of a patch of ViT-B/16."""


@dataclass(frozen=True, kw_only=True)
class ImageSplit:
    """Images of one split as the image processor leaves them, in a temporary file that the system pages in and out."""

    pixels_NCHW: NDArray[np.float32]
    """Pixels of all images that were processed together, of which the split may hold some."""
    targets: NDArray[Any]
    """Class ``[N]`` of each image of the split."""
    order: NDArray[np.int64]
    """Position ``[N]`` in ``pixels_NCHW`` of each image of the split."""
    sha256: str
    """SHA-256 over all encoded images, before they were processed."""
    truncated_rows: int = 0
    """Number of rows that were cut: none, since images are resized."""

    def __len__(self) -> int:
        return len(self.order)

    @cached_property
    def lengths_N(self) -> NDArray[np.int64]:
        """Cost of each image in tokens, the same for all, so that batches are a plain shuffle."""
        height, width = self.pixels_NCHW.shape[2:]
        return np.full(len(self), max(1, height * width // _TOKEN_PIXELS), dtype=np.int64)

    @cached_property
    def n_targets_N(self) -> NDArray[np.int64]:
        """Number of targets of each image, which is 1."""
        return np.ones(len(self), dtype=np.int64)

    @cached_property
    def inputs_sha256(self) -> str:
        """SHA-256 over the encoded images, their order and the size that they were brought to."""
        shape = str(self.pixels_NCHW.shape).encode()
        return hashlib.sha256(self.sha256.encode() + shape + self.order.tobytes()).hexdigest()

    def collate(self, rows_B: NDArray[np.int64], device: torch.device) -> Batch:
        """Put the images ``rows_B``, counted from 0, on ``device``."""
        pixels_BCHW = np.array(self.pixels_NCHW[self.order[rows_B]])  # a copy: torch wants no read-only memory
        return Batch(
            inputs={"pixel_values": to_device(torch.from_numpy(pixels_BCHW), device)},
            targets=to_device(torch.from_numpy(self.targets[rows_B]), device),
            rows_B=to_device(torch.from_numpy(rows_B), device),
        )

    def take(self, rows: Sequence[int]) -> Self:
        """Return a split of some of the images, counted from 0, in the order given."""
        chosen = np.asarray(rows)
        return replace(self, targets=self.targets[chosen], order=self.order[chosen])


def encode_images(rows: Rows[ImageFile, Any], targets_N: NDArray[np.int64], processor: Any) -> ImageSplit:
    """Decode and process every image once.

    Raises:
        DataError: an image cannot be read; the message names file and row.
        ConfigError: the processor gives images of different sizes.
    """
    digest = hashlib.sha256()
    shape: tuple[int, ...] | None = None
    # Written, not mapped for writing: a full disk is then an error and no signal
    with tempfile.TemporaryFile() as file:
        for start in range(0, len(rows), _CHUNK):
            images = [_open(rows, row) for row in range(start, min(start + _CHUNK, len(rows)))]
            for pixels_CHW in processor(images=images, return_tensors=None)["pixel_values"]:
                pixels = np.ascontiguousarray(pixels_CHW, dtype=np.float32)
                if pixels.shape != (shape or pixels.shape):
                    raise ConfigError(
                        f"model.name: its image processor gives images of {shape} and {pixels.shape}; take "
                        "a model whose processor resizes them all alike"
                    )
                shape = pixels.shape
                file.write(pixels.data)
        assert shape is not None
        file.flush()
        pixels_NCHW = np.memmap(file, dtype=np.float32, mode="r", shape=(len(rows), *shape))
    for image in rows.inputs:
        digest.update(image.sha256.encode())
    return ImageSplit(pixels_NCHW=pixels_NCHW, targets=targets_N, order=np.arange(len(rows)), sha256=digest.hexdigest())


def _open(rows: Rows[ImageFile, Any], row: int) -> Any:
    try:
        return rows.inputs[row].open()
    except DataError as error:
        raise DataError(f"{rows.place(row)}: {error}") from error
