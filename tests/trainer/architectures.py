"""Tiny random models of many architectures, as pretrained bodies without a head."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import (
    AutoConfig,
    AutoModel,
    CanineTokenizer,
    PerceiverTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    ViTImageProcessorPil,
)

from tests.trainer import tiny
from trainer.model.freeze import batch_norms

_SIZES: dict[str, Any] = {
    "vocab_size": tiny.VOCABULARY_SIZE,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 66,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
}
_ENCODER_DECODER: dict[str, Any] = _SIZES | {
    "encoder_layers": 2,
    "decoder_layers": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "init_std": 0.2,
    "decoder_start_token_id": 3,
}
_T5: dict[str, Any] = _SIZES | {"d_kv": 16, "d_ff": 64, "num_layers": 2, "decoder_start_token_id": 0}
_DISENTANGLED: dict[str, Any] = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}
_NARROW_EMBEDDING = {"embedding_size": 16}
_SHARED_HEADS = {"num_key_value_heads": 1, "head_dim": 16}

_ENCODERS: dict[str, dict[str, Any]] = {
    "albert": _NARROW_EMBEDDING,
    "bart": _ENCODER_DECODER,
    "bert": {},
    "big_bird": {"attention_type": "block_sparse", "block_size": 4, "num_random_blocks": 1},
    "bigbird_pegasus": _ENCODER_DECODER | {"attention_type": "original_full"},
    "biogpt": {},
    "camembert": {},
    "canine": {"max_position_embeddings": 256, "num_hash_functions": 4, "num_hash_buckets": 64},
    "convbert": _NARROW_EMBEDDING,
    "data2vec-text": {},
    "deberta": _DISENTANGLED,
    "deberta-v2": _DISENTANGLED | {"position_biased_input": False, "position_buckets": 16, "share_att_key": True},
    "distilbert": {"hidden_dim": 64},
    "electra": _NARROW_EMBEDDING,
    "ernie": {},
    "esm": {"mask_token_id": 1},
    "flaubert": {"n_langs": 1, "pad_index": 0},
    "fnet": {},
    "funnel": {"d_head": 16, "d_inner": 64, "block_sizes": [1, 1], "architectures": ["FunnelBaseModel"]},
    "ibert": {},
    "layoutlm": {},
    "led": _ENCODER_DECODER | {"max_encoder_position_embeddings": 66, "max_decoder_position_embeddings": 66},
    "longformer": {"attention_window": 8, "max_position_embeddings": 130},
    "luke": {"entity_vocab_size": 10, "entity_emb_size": 16},
    "mbart": _ENCODER_DECODER,
    "megatron-bert": {},
    "mobilebert": {"embedding_size": 32, "intra_bottleneck_size": 16, "true_hidden_size": 16},
    "modernbert": {"local_attention": 16, "global_attn_every_n_layers": 2},
    "mpnet": {},
    "mra": {},
    "mt5": _T5,
    "mvp": _ENCODER_DECODER,
    "nystromformer": {"conv_kernel_size": 5},
    "perceiver": {
        "vocab_size": 262,
        "d_model": 32,
        "d_latents": 32,
        "num_latents": 8,
        "num_self_attends_per_block": 1,
        "num_self_attention_heads": 2,
        "num_cross_attention_heads": 2,
    },
    "plbart": _ENCODER_DECODER,
    "rembert": {"input_embedding_size": 16, "output_embedding_size": 16},
    "roberta": {},
    "roberta-prelayernorm": {},
    "roformer": {"embedding_size": 32},
    "squeezebert": {"embedding_size": 32},
    "t5": _T5,
    "umt5": _T5,
    "xlm": {"n_langs": 1, "pad_index": 0},
    "xlm-roberta": {},
    "xlm-roberta-xl": {},
    "xlnet": {"d_model": 32, "n_head": 2, "d_inner": 64},
    "yoso": {},
}
_DECODERS: dict[str, dict[str, Any]] = {
    "bloom": {},
    "ctrl": {"dff": 64},
    "falcon": {},
    "gemma": _SHARED_HEADS,
    "gemma2": _SHARED_HEADS,
    "gemma3_text": _SHARED_HEADS,
    "gpt2": {},
    "gpt_bigcode": {},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "gpt_neox": {},
    "gptj": {"rotary_dim": 8},
    "llama": _SHARED_HEADS,
    "mistral": _SHARED_HEADS,
    "olmo2": _SHARED_HEADS,
    "openai-gpt": {},
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 32},
    "persimmon": {},
    "phi": {},
    "phi3": {"num_key_value_heads": 1},
    "qwen3": _SHARED_HEADS,
    "smollm3": _SHARED_HEADS,
    "stablelm": {"num_key_value_heads": 1},
    "starcoder2": _SHARED_HEADS,
}
_IMAGE_MODELS: dict[str, dict[str, Any]] = {
    "convnext": {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]},
    "efficientnet": {"width_coefficient": 0.1, "depth_coefficient": 0.1, "hidden_dim": 128},
    "levit": {
        "hidden_sizes": [16, 24, 32],
        "num_attention_heads": [1, 2, 2],
        "depths": [1, 1, 1],
        "key_dim": [8, 8, 8],
    },
    "mobilenet_v2": {"depth_multiplier": 0.1, "finegrained_output": False},
    "regnet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "groups_width": 8},
    "resnet": {"embedding_size": 8, "hidden_sizes": [16, 16], "depths": [1, 1]},
    "swin": {"embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "window_size": 2},
    "vit": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "patch_size": 16,
        "initializer_range": 0.2,
    },
}
IMAGE_SIZE = 32
"""Pixels of a side of what the models read that read images."""
_NOT_SET = {
    "canine": ("vocab_size",),
    "funnel": ("num_hidden_layers",),
    "perceiver": ("pad_token_id",),
    "xlnet": ("max_position_embeddings",),
}
"""What a configuration refuses or has not."""
ARCHITECTURES = {
    "text-classification": tuple(sorted(_ENCODERS | _DECODERS)),
    "causal-lm": (*_DECODERS, "bart", "bert", "biogpt", "xlnet"),
    "image-classification": tuple(_IMAGE_MODELS),
}
"""By task, the names that transformers gives to architectures (``model_type``)."""


def make_model(architecture: str, auto_class: Any = AutoModel, **overrides: Any) -> PreTrainedModel:
    """A random model of ``architecture`` without a head, or another, as ``auto_class`` makes it."""
    if architecture in _IMAGE_MODELS:
        values = {"image_size": IMAGE_SIZE} | _IMAGE_MODELS[architecture]
    else:
        values = _SIZES | _ENCODERS.get(architecture, {}) | _DECODERS.get(architecture, {})
    for name in _NOT_SET.get(architecture, ()):
        del values[name]
    torch.manual_seed(0)
    model: PreTrainedModel = auto_class.from_config(AutoConfig.for_model(architecture, **values | overrides))
    for norm in batch_norms(model).values():
        torch.nn.init.normal_(norm.running_mean, std=0.1)
        torch.nn.init.uniform_(norm.running_var, 0.5, 1.5)
    return model


def save_model(directory: Path, architecture: str, auto_class: Any = AutoModel, **overrides: Any) -> None:
    """Save a random model of ``architecture`` without a head, and a tokenizer or image processor whose output it
    reads; or another model, as ``auto_class`` makes it."""
    make_model(architecture, auto_class, **overrides).save_pretrained(directory)
    processor = _image_processor() if architecture in _IMAGE_MODELS else _tokenizer(architecture)
    processor.save_pretrained(directory)


def write_texts(root: Path, *, train: int, validation: int) -> dict[str, Any]:
    """Write so many rows, and return the ``data`` of their study for ``tiny.make_spec``."""
    for seed, (split, n_rows) in enumerate((("train", train), ("validation", validation)), start=1):
        tiny.write_csv(root / f"{split}.csv", tiny.make_examples(n_rows, seed=seed))
    return {"test": None, "max_length": None}


def write_images(root: Path, *, train: int, validation: int) -> dict[str, Any]:
    """Write so many images, and return the ``data`` of their study for ``tiny.make_spec``."""
    generator = np.random.default_rng(0)
    for split, n_rows in (("train", train), ("validation", validation)):
        for row in range(n_rows):
            file = root / split / tiny.CLASSES[row % len(tiny.CLASSES)] / f"{row}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(generator.integers(0, 256, (IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)).save(file)
    return {"train": "train", "validation": "validation", "test": None}


def _image_processor() -> ViTImageProcessorPil:
    return ViTImageProcessorPil(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE})


def _tokenizer(architecture: str) -> PreTrainedTokenizerBase:
    if architecture == "canine":
        return CanineTokenizer()
    if architecture == "perceiver":
        return PerceiverTokenizer()
    return tiny.make_decoder_tokenizer() if architecture in _DECODERS else tiny.make_tokenizer()
