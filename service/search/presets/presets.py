"""The table of presets: for each task, method and size of data where a search starts and how far it goes.

Every line names its source. "ours" marks a judgement that no source settles, and "ours, measured" what
`benchmarks/README.md` shows of MiniLM. Ranges are kept few, so that the 20
trials of a study by default suffice (`space_size.trials_advised`); what a preset fixes, a study may search by
naming it. Named in the sources:

BEiT           Bao et al. 2022, BEiT: BERT pre-training of image transformers
BERT           Devlin et al. 2019, BERT: pre-training of deep bidirectional transformers
ELECTRA        Clark et al. 2020, ELECTRA: pre-training text encoders as discriminators
Howard 2018    Howard & Ruder 2018, Universal language model fine-tuning (ULMFiT)
Kumar 2022     Kumar et al. 2022, Fine-tuning can distort pretrained features
Lee 2019       Lee, Tang & Lin 2019, What would Elsa do? Freezing layers during transformer fine-tuning
LoRA           Hu et al. 2022, LoRA: low-rank adaptation of large language models
Mosbach 2021   Mosbach et al. 2021, On the stability of fine-tuning BERT
Peters 2019    Peters et al. 2019, To tune or not to tune? Adapting pretrained representations to diverse tasks
Playbook       Godbole et al. 2023, Deep learning tuning playbook
QLoRA          Dettmers et al. 2023, QLoRA: efficient finetuning of quantized LLMs
RoBERTa        Liu et al. 2019, RoBERTa: a robustly optimized BERT pretraining approach
Schulman 2025  Schulman & Thinking Machines Lab 2025, LoRA without regret
SmolLM2        Hugging Face alignment-handbook, recipes/smollm2/sft (the 135M and 360M models)
TRL            Hugging Face TRL, defaults of SFTConfig
Turc 2019      Turc et al. 2019, Well-read students learn better (rates of the small BERT models)
ViT            Dosovitskiy et al. 2021, An image is worth 16x16 words
ViT guide      Hugging Face transformers, guide to image classification
"""

from spezia.contract.hyperparameters import ParamValue
from spezia.contract.preset import Preset, PresetParameter
from spezia.contract.ranges import Choices, Condition, Distribution, FloatRange, IntRange
from spezia.contract.study_spec import StudySpec
from spezia.contract.tasks import Task

_TEXT: list[Task] = ["text-classification", "text-regression"]
_CLASSIFIERS: list[Task] = [*_TEXT, "token-classification", "image-classification"]


def _fixed(value: ParamValue, source: str) -> PresetParameter:
    return PresetParameter(default=value, distribution=None, source=source)


def _searched(
    default: ParamValue | None, distribution: Distribution | list[Distribution], source: str
) -> PresetParameter:
    return PresetParameter(default=default, distribution=distribution, source=source)


def _log(low: float, high: float, when: dict[str, Condition] | None = None) -> FloatRange:
    return FloatRange(type="float", low=low, high=high, log=True, when=when or {})


def _float(low: float, high: float, step: float | None = None) -> FloatRange:
    return FloatRange(type="float", low=low, high=high, step=step)


def _int(low: int, high: int) -> IntRange:
    return IntRange(type="int", low=low, high=high)


def _one_of(*choices: ParamValue, when: dict[str, Condition] | None = None) -> Choices:
    return Choices(type="categorical", choices=list(choices), when=when or {})


_FULL = _fixed("full", "BERT, RoBERTa: every weight is fine-tuned")
_ENCODER_RATE = _searched(
    2e-5,
    _log(5e-6, 3e-4),
    "BERT 2e-5, 3e-5, 5e-5; RoBERTa 1e-5 to 3e-5; Mosbach 2021 2e-5; Turc 2019 up to 3e-4 for small encoders",
)
_ENCODER_DECAY = _searched(0.01, _one_of(0.0, 0.01, 0.1), "BERT 0.01; RoBERTa 0.1; 0 switches it off")
_BATCH = _fixed(16, "BERT, RoBERTa: 16 or 32; Playbook: the batch sets the speed, another one asks for another rate")
_LINEAR = _fixed("linear", "BERT, RoBERTa, Mosbach 2021: linear decay after warm-up")
_LONG_WARMUP = _searched(0.1, _float(0.0, 0.2), "Mosbach 2021 and ELECTRA 0.1; RoBERTa 0.06")
_FEW_FROZEN_OR_MANY = _searched(
    0.0, _float(0.0, 0.75, 0.25), "Lee 2019: training the upper quarter keeps about 90 % of the quality"
)
_LORA = _fixed("lora", "LoRA")
_ALL_LINEAR = _fixed("all-linear", "QLoRA and Schulman 2025: adapters on attention alone are worse")

_ALL = (
    Preset(
        name="encoder-small-data",
        tasks=_TEXT,
        summary="a text encoder (BERT, RoBERTa, MiniLM, …) and fewer than about 5,000 training rows",
        parameters={
            "method": _FULL,
            "learning_rate": _ENCODER_RATE,
            "epochs": _searched(10, _int(3, 20), "Mosbach 2021: 20 on small data; early stopping ends most before"),
            "batch_size": _BATCH,
            "weight_decay": _ENCODER_DECAY,
            "warmup_ratio": _LONG_WARMUP,
            "lr_schedule": _LINEAR,
            "frozen_fraction": _FEW_FROZEN_OR_MANY,
        },
    ),
    Preset(
        name="small-encoder-small-data",
        tasks=["text-classification"],
        summary="a text encoder of MiniLM's size (some 20 million parameters) and a few hundred training rows",
        parameters={
            "method": _FULL,
            "learning_rate": _searched(1.2e-4, _log(3e-5, 1e-3), "ours, measured; Turc 2019 up to 3e-4"),
            "epochs": _searched(20, _int(5, 20), "ours, measured; Mosbach 2021: 20 on small data"),
            "batch_size": _BATCH,
            "weight_decay": _ENCODER_DECAY,
            "warmup_ratio": _LONG_WARMUP,
            "lr_schedule": _LINEAR,
            "frozen_fraction": _FEW_FROZEN_OR_MANY,
        },
        enqueue=[
            {"learning_rate": 4.8e-4, "weight_decay": 0.01, "warmup_ratio": 0.1, "frozen_fraction": 0.5},
            {"learning_rate": 1.2e-4, "weight_decay": 0.01, "warmup_ratio": 0.1, "frozen_fraction": 0.5},
            {"learning_rate": 2.4e-4, "weight_decay": 0.01, "warmup_ratio": 0.1, "frozen_fraction": 0.0},
        ],
        enqueue_source="with the default the four of nine that together were best on six data sets of 128 to 160 rows",
    ),
    Preset(
        name="encoder-large-data",
        tasks=_TEXT,
        summary="a text encoder and about 5,000 training rows or more",
        parameters={
            "method": _FULL,
            "learning_rate": _ENCODER_RATE,
            "epochs": _searched(3, _int(2, 5), "BERT 2 to 4; RoBERTa up to 10 with early stopping"),
            "batch_size": _fixed(32, "BERT, RoBERTa: 16 or 32; the larger one is faster where steps are many"),
            "weight_decay": _ENCODER_DECAY,
            "warmup_ratio": _searched(0.06, _float(0.0, 0.2), "RoBERTa 0.06; BERT and ELECTRA 0.1"),
            "lr_schedule": _searched(
                "linear", _one_of("linear", "cosine", "constant_with_warmup"), "BERT, RoBERTa: linear; others: ours"
            ),
            "layer_lr_decay": _searched(1.0, _float(0.8, 1.0), "ELECTRA 0.8 base, 0.9 large; Howard 2018; 1: off"),
        },
    ),
    Preset(
        name="encoder-lora",
        tasks=_TEXT,
        summary="a text encoder with low-rank adapters: a small model file, and less memory for large encoders",
        parameters={
            "method": _LORA,
            "learning_rate": _searched(3e-4, _log(5e-5, 1e-3), "LoRA: 4e-4 to 5e-4 for RoBERTa-base"),
            "epochs": _searched(10, _int(3, 20), "LoRA trains 25 epochs and more on GLUE; a third of it: ours"),
            "batch_size": _BATCH,
            "weight_decay": _fixed(0.01, "BERT 0.01; it acts on the adapters and the head"),
            "warmup_ratio": _fixed(0.06, "LoRA, RoBERTa: 0.06"),
            "lr_schedule": _LINEAR,
            "lora_rank": _searched(8, _one_of(4, 8, 16, 32), "LoRA: 8 for RoBERTa, and little change from 1 to 64"),
            "lora_alpha_ratio": _fixed(1.0, "LoRA: alpha 8 at rank 8; it trades off with the rate, so fixed"),
            "lora_dropout": _searched(0.0, _one_of(0.0, 0.05, 0.1), "QLoRA: 0.05 and 0.1"),
            "lora_targets": _ALL_LINEAR,
        },
    ),
    Preset(
        name="encoder-methods",
        tasks=_TEXT,
        summary="which method suits: every weight, low-rank adapters or the head alone, each with rates of its own",
        parameters={
            "method": _searched("full", _one_of("full", "lora", "head_only"), "a comparison: ours"),
            "learning_rate": _searched(
                None,
                [
                    _log(5e-6, 3e-4, {"method": "full"}),
                    _log(5e-5, 1e-3, {"method": "lora"}),
                    _log(1e-4, 1e-2, {"method": "head_only"}),
                ],
                "full: BERT, RoBERTa, Turc 2019; lora: LoRA 4e-4 to 5e-4; head_only: ours",
            ),
            "epochs": _searched(5, _int(2, 15), "BERT 2 to 4; LoRA and a new head need more: ours"),
            "batch_size": _BATCH,
            "weight_decay": _fixed(0.01, "BERT 0.01"),
            "warmup_ratio": _fixed(0.06, "LoRA, RoBERTa: 0.06"),
            "lr_schedule": _LINEAR,
            "lora_rank": _searched(8, _one_of(4, 8, 16, when={"method": "lora"}), "LoRA: 8 for RoBERTa"),
            "lora_alpha_ratio": _fixed(1.0, "LoRA: alpha 8 at rank 8; it trades off with the rate, so fixed"),
            "lora_targets": _ALL_LINEAR,
        },
    ),
    Preset(
        name="head-only",
        tasks=_CLASSIFIERS,
        summary="only the classifier trains on a frozen body: minutes, a floor for what fine-tuning has to beat",
        parameters={
            "method": _fixed("head_only", "Kumar 2022: a linear probe"),
            "learning_rate": _searched(
                1e-3, _log(1e-4, 1e-2), "ours: a new head takes far higher rates than pretrained weights"
            ),
            "epochs": _searched(20, _int(5, 50), "ours: an epoch is cheap, and early stopping ends most before"),
            "batch_size": _BATCH,
            "weight_decay": _ENCODER_DECAY,
            "warmup_ratio": _fixed(0.0, "ours: nothing pretrained moves, so nothing needs protection"),
            "lr_schedule": _LINEAR,
        },
    ),
    Preset(
        name="token-classification",
        tasks=["token-classification"],
        summary="labels on words (names, parts of speech) with a text encoder",
        parameters={
            "method": _FULL,
            "learning_rate": _ENCODER_RATE,
            "epochs": _searched(4, _int(2, 10), "BERT 2 to 4; longer on small data as Mosbach 2021"),
            "batch_size": _BATCH,
            "weight_decay": _ENCODER_DECAY,
            "warmup_ratio": _LONG_WARMUP,
            "lr_schedule": _LINEAR,
            "frozen_fraction": _FEW_FROZEN_OR_MANY,
        },
    ),
    Preset(
        name="image-classification",
        tasks=["image-classification"],
        summary="any image classifier of the hub; no parameter needs a model that splits into blocks",
        parameters={
            "method": _FULL,
            "learning_rate": _searched(5e-5, _log(1e-5, 1e-3), "ViT guide 5e-5; BEiT reaches into 1e-3"),
            "epochs": _searched(5, _int(3, 20), "ViT guide 3; longer on small data: ours"),
            "batch_size": _fixed(32, "ViT guide 64; half of it for some thousand images: ours"),
            "weight_decay": _searched(0.01, _one_of(0.0, 0.01, 0.05), "ViT 0 when fine-tuning; BEiT 0.05"),
            "warmup_ratio": _fixed(0.1, "ViT guide 0.1"),
            "lr_schedule": _fixed("cosine", "ViT, BEiT: cosine"),
            "label_smoothing": _searched(0.0, _one_of(0.0, 0.1), "BEiT 0.1; the validation loss is without it"),
        },
    ),
    Preset(
        name="causal-lm-lora",
        tasks=["causal-lm"],
        summary="a causal language model with low-rank adapters: the first choice for prompt and completion",
        parameters={
            "method": _LORA,
            "learning_rate": _searched(
                2e-4, _log(5e-5, 1e-3), "QLoRA 2e-4 at 7B; Schulman 2025: ten times the rate of full, at any rank"
            ),
            "epochs": _searched(3, _int(1, 5), "SmolLM2 2; more than 3 overfits small sets: ours"),
            "batch_size": _fixed(16, "QLoRA 16; Schulman 2025: adapters lose more than full at large batches"),
            "weight_decay": _fixed(0.01, "as for encoders: BERT 0.01; it acts on the adapters alone"),
            "warmup_ratio": _fixed(0.03, "QLoRA 0.03"),
            "lr_schedule": _fixed("cosine", "SmolLM2: cosine"),
            "lora_rank": _searched(16, _one_of(8, 16, 32, 64), "TRL 16; QLoRA 64; Schulman 2025: as the data needs"),
            "lora_alpha_ratio": _fixed(2.0, "TRL: alpha 32 at rank 16; it trades off with the rate, so fixed"),
            "lora_dropout": _searched(0.0, _one_of(0.0, 0.05, 0.1), "QLoRA: 0.1 up to 13B, 0.05 above"),
            "lora_targets": _ALL_LINEAR,
        },
    ),
    Preset(
        name="causal-lm-full",
        tasks=["causal-lm"],
        summary="every weight of a small causal language model (up to about 1B)",
        parameters={
            "method": _fixed("full", "SmolLM2, TRL: every weight is fine-tuned"),
            "learning_rate": _searched(2e-5, _log(5e-6, 1e-3), "TRL 2e-5; SmolLM2 1e-3 at batch 128"),
            "epochs": _searched(2, _int(1, 4), "SmolLM2 2"),
            "batch_size": _fixed(16, "as for adapters; SmolLM2 128, on a far larger set"),
            "weight_decay": _ENCODER_DECAY,
            "warmup_ratio": _searched(0.03, _float(0.0, 0.1), "QLoRA 0.03; SmolLM2 0.1"),
            "lr_schedule": _fixed("cosine", "SmolLM2: cosine"),
        },
    ),
    Preset(
        name="similar-task",
        tasks=_CLASSIFIERS,
        summary="data and labels close to what the model was pretrained for: most layers frozen, small rates",
        parameters={
            "method": _FULL,
            "frozen_fraction": _searched(
                0.75, _float(0.5, 1.0, 0.25), "Lee 2019: the upper quarter does; Peters 2019: frozen suits near tasks"
            ),
            "learning_rate": _searched(2e-5, _log(5e-6, 1e-4), "BERT 2e-5 to 5e-5; Kumar 2022: big updates distort"),
            "epochs": _searched(5, _int(2, 10), "ours: BERT 2 to 4, more where little trains"),
            "batch_size": _BATCH,
            "weight_decay": _ENCODER_DECAY,
            "warmup_ratio": _fixed(0.06, "RoBERTa 0.06"),
            "lr_schedule": _LINEAR,
        },
    ),
    Preset(
        name="different-task",
        tasks=_CLASSIFIERS,
        summary="data unlike the pretraining (another domain, kind of label or language): few frozen, moderate rates",
        parameters={
            "method": _FULL,
            "frozen_fraction": _searched(
                0.0, _float(0.0, 0.25, 0.25), "Peters 2019: distant tasks need the whole model to adapt"
            ),
            "unfreeze": _searched("none", _one_of("none", "gradual"), "Howard 2018: from the top, block by block"),
            "learning_rate": _searched(5e-5, _log(1e-5, 5e-4), "BERT up to 5e-5; Turc 2019 up to 3e-4; above: ours"),
            "epochs": _searched(8, _int(3, 20), "Mosbach 2021: train longer when unsure"),
            "batch_size": _BATCH,
            "weight_decay": _ENCODER_DECAY,
            "warmup_ratio": _fixed(0.1, "Mosbach 2021 and ELECTRA 0.1"),
            "lr_schedule": _LINEAR,
        },
    ),
)

PRESETS = {preset.name: preset for preset in _ALL}
"""All presets by name."""


def preset_default(spec: StudySpec, name: str) -> ParamValue | None:
    """Return where the preset of a study starts the parameter ``name``; ``None``: the parameter's own default holds."""
    line = PRESETS[spec.preset].parameters.get(name) if spec.preset in PRESETS else None
    return None if line is None else line.default
