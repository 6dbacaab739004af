"""Checks that a model can read the images of a study, and can tell them apart.

C = channels, H = height, W = width.
"""

from collections.abc import Hashable, Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from trainer.data.image_split import ImageSplit
from trainer.errors import ConfigError, DataError
from trainer.model.device_memory import is_out_of_memory
from trainer.model.forward import forward


@torch.no_grad()
def check_images(inputs: Sequence[Hashable], split: ImageSplit, model: PreTrainedModel) -> None:
    """Check the training images.

    Args:
        inputs: the images before they were processed; those of the same content are equal.
        split: the same images as pixels.

    Raises:
        DataError: images that differ as files all have the same pixels, such as drawings that only their transparency
            shows, which is dropped.
        ConfigError: the model reads images of another size or number of channels than its image processor makes.
    """
    first_CHW = split.pixels_NCHW[split.order[0]]
    if len(set(inputs)) > 1 and all(np.array_equal(split.pixels_NCHW[place], first_CHW) for place in split.order[1:]):
        raise DataError(
            f"all {len(split)} training images have the same pixels once they are read as RGB, in which transparency "
            "is dropped, so nothing can be learnt from them; lay them on a background and save them without it"
        )
    try:
        forward(model.eval(), split.collate(np.zeros(1, dtype=np.int64), model.device), "fp32")
    except (ValueError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        shape = " x ".join(map(str, first_CHW.shape))
        raise ConfigError(
            f"model.name: it does not read the images of {shape} numbers (channels, height, width) that its image "
            f"processor makes ({error}); correct size, crop_size, do_resize or the channels in "
            "preprocessor_config.json, or take another model"
        ) from error
