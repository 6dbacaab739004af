"""A dropout mask belongs to an example and to nothing that memory decides, and masks know nothing of each other."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import (
    AttentionInterface,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    PreTrainedModel,
)
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from tests.trainer import tiny
from tests.trainer.architectures import ARCHITECTURES, IMAGE_SIZE, save_model
from tests.trainer.model.test_dropout import FAMILIES, make
from trainer.data.tokenised_split import Batch
from trainer.model.dropout import set_dropout
from trainer.model.dropout_masks import (
    SHARED,
    CountedDropout,
    CountedPath,
    DropoutMasks,
    Site,
    count_dropout,
    dropout_of,
)
from trainer.model.freeze import batch_norms
from trainer.train.prepare import Prepared
from trainer.train.train_step import accumulate_gradients

N_ROWS, WIDTH = 8, 12
LENGTHS = [12, 5, 9, 12, 3, 7, 10, 6]
HIDDEN, HEADS = 20, 3
"""Neither is a multiple of the numbers that a word decides about, nor is any length but one."""


def make_batch(rows: list[int], *, padding: int = 0, left: bool = False) -> Batch:
    """Some of eight rows of different lengths, padded to the longest of them and ``padding`` further."""
    lengths = [LENGTHS[row] for row in rows]
    width = max(lengths) + padding
    ids = torch.zeros(len(rows), width, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    starts = torch.tensor([width - length if left else 0 for length in lengths])
    for place, (row, length, start) in enumerate(zip(rows, lengths, starts.tolist(), strict=True)):
        ids[place, start : start + length] = 5 + (row + torch.arange(length)) % 30
        mask[place, start : start + length] = 1
    return Batch(
        inputs={"input_ids": ids, "attention_mask": mask},
        targets=torch.tensor(rows) % 2,
        rows_B=torch.tensor(rows),
        starts_B=starts if left else None,
    )


def dropped(shape: tuple[int, ...], p: float, *, site: str = "site", seed: int = 1, rows: Any = None) -> torch.Tensor:
    """Where ones of ``shape`` are dropped."""
    masks = DropoutMasks(tiny.CPU)
    masks.begin_step(seed)
    rows_B = torch.arange(shape[0]) if rows is None else torch.tensor(rows)
    with masks.of(Batch(inputs={}, targets=rows_B, rows_B=rows_B)):
        return masks.drop(torch.ones(shape), p, Site(masks, site)) == 0


def standardised(mask: torch.Tensor, p: float) -> torch.Tensor:
    """The mask as numbers of mean 0 and variance 1."""
    return (mask.double() - p) / (p * (1 - p)) ** 0.5


@pytest.mark.parametrize("p", [0.01, 0.1, 0.3, 0.5, 0.9])
def test_the_share_that_is_dropped_is_the_probability_for_each_feature(p: float) -> None:
    mask = dropped((512, 64, 24), p)
    deviations = standardised(mask, p).sum((0, 1)) / (512 * 64) ** 0.5
    assert float((deviations**2).mean()) == pytest.approx(1, abs=4 * (2 / 24) ** 0.5)  # chi-square of 24 features
    assert abs(float(standardised(mask, p).mean())) < 4 / mask.numel() ** 0.5


@pytest.mark.parametrize("p", [0.1, 0.3])
def test_what_is_kept_is_scaled_so_that_the_mean_stays(p: float) -> None:
    masks = DropoutMasks(tiny.CPU)
    rows_B = torch.arange(512)
    with masks.of(Batch(inputs={}, targets=rows_B, rows_B=rows_B)):
        values = masks.drop(torch.ones(512, 64, 24), p, Site(masks, "site"))
    assert values.unique().tolist() == [0.0, pytest.approx(1 / (1 - p), rel=1e-4)]
    assert float(values.mean()) == pytest.approx(1, abs=4 * (p / (1 - p) / values.numel()) ** 0.5)


HIDDEN_STATES = (256, 32, 64)
ATTENTION = (64, 4, 24, 24)


def shifted(mask: torch.Tensor, dimension: int, by: int) -> tuple[torch.Tensor, torch.Tensor]:
    size = mask.shape[dimension] - by
    return mask.narrow(dimension, 0, size), mask.narrow(dimension, by, size)


PAIRS: dict[str, Callable[[float], tuple[torch.Tensor, torch.Tensor]]] = {
    "sites": lambda p: (dropped(HIDDEN_STATES, p), dropped(HIDDEN_STATES, p, site="other")),
    "seeds": lambda p: (dropped(HIDDEN_STATES, p), dropped(HIDDEN_STATES, p, seed=2)),
    "far seeds": lambda p: (dropped(HIDDEN_STATES, p), dropped(HIDDEN_STATES, p, seed=1 + 2**62)),
    "sites of attention": lambda p: (dropped(ATTENTION, p), dropped(ATTENTION, p, site="other")),
    "attention and hidden states": lambda p: (
        dropped((256, 64, 64), p),
        dropped((256, 1, 64, 64), p, site="other")[:, 0],
    ),
    "rows": lambda p: shifted(dropped(HIDDEN_STATES, p), 0, 1),
    "rows far apart": lambda p: (dropped(HIDDEN_STATES, p), dropped(HIDDEN_STATES, p, rows=range(2**20, 2**20 + 256))),
    "positions": lambda p: shifted(dropped(HIDDEN_STATES, p), 1, 1),
    "heads": lambda p: shifted(dropped(ATTENTION, p), 1, 1),
    "queries": lambda p: shifted(dropped(ATTENTION, p), 2, 1),
    "queries and keys": lambda p: (dropped(ATTENTION, p), dropped(ATTENTION, p).transpose(2, 3)),
} | {
    f"features {by} apart": partial(lambda by, p: shifted(dropped(HIDDEN_STATES, p), 2, by), by)
    for by in (1, 2, 3, 4, 8)
}


@pytest.mark.parametrize("p", [0.1, 0.5])
@pytest.mark.parametrize("pair", PAIRS)
def test_masks_know_nothing_of_each_other(pair: str, p: float) -> None:
    one, other = (standardised(mask, p) for mask in PAIRS[pair](p))
    product = one * other
    if pair == "queries and keys":
        product = product.triu(1)[..., *torch.triu_indices(24, 24, 1)]
    assert abs(float(product.sum())) < 4 * product.numel() ** 0.5
    columns = product.flatten(0, -2).sum(0) / product.flatten(0, -2).shape[0] ** 0.5
    # of each feature by itself, since a relation may have another sign in each
    assert float((columns**2).mean()) < 1 + 5 * (2 / len(columns)) ** 0.5


@pytest.mark.parametrize("p", [0.1, 0.5])
@pytest.mark.parametrize(("positions", "features"), [(1, 1), (1, 4), (3, 8), (16, 32)])
def test_rectangles_of_a_mask_are_no_more_alike_than_chance(positions: int, features: int, p: float) -> None:
    """Each word is made of a row's key and a column's constant: of four corners the fourth must not follow."""
    values = standardised(dropped(HIDDEN_STATES, p), p)
    halves = [half for side in shifted(values, 1, positions) for half in shifted(side, 2, features)]
    product = halves[0] * halves[1] * halves[2] * halves[3]
    # the fourth power of a rare event has heavy tails, but its terms are still uncorrelated and of variance 1
    assert abs(float(product.sum())) < 4 * product.numel() ** 0.5


@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
@pytest.mark.parametrize("rows", [[4], [1, 4], [7, 6, 5, 4], [0, 4]])
def test_a_mask_depends_on_no_other_row_and_no_padding(rows: list[int], left: bool) -> None:
    masks = DropoutMasks(tiny.CPU)
    masks.begin_step(3)
    hidden, attention = Site(masks, "hidden"), Site(masks, "attention")

    def masks_of_row_4(batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        n_rows, width = batch.inputs["input_ids"].shape
        place = batch.rows_B.tolist().index(4)
        start = 0 if batch.starts_B is None else int(batch.starts_B[place])
        tokens = slice(start, start + LENGTHS[4])
        with masks.of(batch):
            of_hidden = masks.drop(torch.ones(n_rows, width, HIDDEN), 0.3, hidden)[place, tokens]
            of_weights = masks.drop(torch.ones(n_rows, HEADS, width, width), 0.3, attention)[place, :, tokens, tokens]
            of_pooled = masks.drop(torch.ones(n_rows, HIDDEN), 0.3, Site(masks, "pooled"))[place]
        return of_hidden, of_weights, of_pooled

    expected = masks_of_row_4(make_batch(list(range(N_ROWS))))
    for padding in (0, 1, 5):
        found = masks_of_row_4(make_batch(rows, padding=padding, left=left))
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one, other)
    assert all(0.05 < float((mask == 0).double().mean()) < 0.6 for mask in expected)


def test_a_module_that_is_called_twice_drops_otherwise_and_again_the_same() -> None:
    masks = DropoutMasks(tiny.CPU)
    dropout = CountedDropout(0.5, Site(masks, "twice")).train()
    seen: list[torch.Tensor] = []

    def block(values: torch.Tensor) -> torch.Tensor:
        first = dropout(values)
        second = dropout(torch.ones_like(values))
        seen.extend((first.detach(), second.detach()))
        return first * second

    values = torch.ones(4, 6, 16, requires_grad=True)
    rows_B = torch.arange(4)
    with masks.of(Batch(inputs={}, targets=rows_B, rows_B=rows_B)):
        before = dropout(torch.ones_like(values))
        again = checkpoint(block, values, use_reentrant=False, context_fn=masks.recomputation)
        after = dropout(torch.ones_like(values))
        again.sum().backward()
        last = dropout(torch.ones_like(values))
    assert len(seen) == 4
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[1], seen[3])
    masks_in_order = [before, seen[0], seen[1], after.detach(), last]
    assert not any(torch.equal(one, other) for i, one in enumerate(masks_in_order) for other in masks_in_order[:i])
    assert torch.equal(values.grad, seen[0] * seen[1])


def test_what_all_examples_share_is_dropped_alike_in_each_micro_batch() -> None:
    masks = DropoutMasks(tiny.CPU)
    found = {}
    for name in (*SHARED, "own"):
        for rows in ([0, 1], [2, 3]):
            with masks.of(make_batch(rows)):
                found[name, rows[0]] = masks.drop(torch.ones(7, HIDDEN), 0.5, Site(masks, f"block.{name}"))
    for name in SHARED:
        assert torch.equal(found[name, 0], found[name, 2])
    assert not torch.equal(found["own", 0], found["own", 2])  # not to be told by example, so by micro-batch


def test_a_path_is_left_out_whole_for_as_many_examples_as_its_probability_says() -> None:
    masks = DropoutMasks(tiny.CPU)
    path = CountedPath(0.25, Site(masks, "path"))
    rows_B = torch.arange(4_000)
    with masks.of(Batch(inputs={}, targets=rows_B, rows_B=rows_B)):
        left = path.train()(torch.ones(4_000, 3, 2))
    assert left.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert torch.equal(left, left[:, :1, :1].expand_as(left))
    assert float((left == 0).float().mean()) == pytest.approx(0.25, abs=0.03)
    assert torch.equal(path.eval()(left), left)


def test_outside_of_a_batch_dropouts_draw_from_the_stream() -> None:
    model = count(make("bert"), 0.5)
    assert not torch.equal(*(logits_of(model, make_batch([0, 1])) for _ in range(2)))
    with dropout_of(model, make_batch([0, 1])):
        pass
    assert not torch.equal(*(logits_of(model, make_batch([0, 1])) for _ in range(2)))


def count(model: PreTrainedModel, p: float) -> PreTrainedModel:
    set_dropout(model, p)
    count_dropout(model).begin_step(5)
    return model.train()


def logits_of(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    logits: torch.Tensor = model(**batch.inputs).logits.detach()
    return logits


def family_batch(family: str, rows: list[int], padding: int = 0) -> Batch:
    batch = make_batch(rows, padding=padding)
    if family != "vit":
        return batch
    pixels = torch.stack([torch.full((3, tiny.IMAGE_SIZE, tiny.IMAGE_SIZE), (1 + row) / 8) for row in rows])
    return Batch(inputs={"pixel_values": pixels}, targets=batch.targets, rows_B=batch.rows_B)


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(one, marks=() if one in ("bert", "deberta-v2", "llama", "vit") else pytest.mark.slow)
        for one in FAMILIES
    ],
)
def test_every_family_drops_the_same_for_a_row_in_whatever_batch_it_is(family: str) -> None:
    model = count(make(family), 0.3)

    def counted(rows: list[int], padding: int = 0) -> torch.Tensor:
        torch.manual_seed(len(rows))  # a stream would give something else
        batch = family_batch(family, rows, padding)
        with dropout_of(model, batch):
            return logits_of(model, batch)

    whole = counted(list(range(N_ROWS)))
    halves = torch.cat([counted([0, 1, 2, 3], padding=3), counted([4, 5, 6, 7])])
    alone = torch.cat([counted([row]) for row in range(N_ROWS)])
    torch.testing.assert_close(halves, whole, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(alone, whole, atol=1e-5, rtol=1e-5)
    plain = logits_of(copy.deepcopy(model).eval(), family_batch(family, list(range(N_ROWS))))
    assert float((whole - plain).abs().max()) > 1e-3


ODD = ("funnel", "swin", "xlnet")
"""Architectures that share a table as long as the batch, leave out paths, and put tokens before rows."""
READ_PADDING = ("convbert", "fnet", "nystromformer", "yoso")
"""Architectures that are refused where rows differ in length."""
CLASSIFIERS = [
    (task, architecture)
    for task in ("text-classification", "image-classification")
    for architecture in ARCHITECTURES[task]
    if architecture not in ("canine", "efficientnet", "led", "levit", "mobilenet_v2")
]
"""Those that are small enough to read a short text or image, and have a classifier."""


@pytest.mark.parametrize(
    ("task", "architecture"),
    [pytest.param(*one, marks=() if one[1] in ODD else pytest.mark.slow) for one in CLASSIFIERS],
)
def test_masks_of_no_architecture_depend_on_the_micro_batch(tmp_path: Path, task: str, architecture: str) -> None:
    reads_images = task == "image-classification"
    auto_class = AutoModelForImageClassification if reads_images else AutoModelForSequenceClassification
    save_model(tmp_path, architecture, auto_class)
    model = auto_class.from_pretrained(tmp_path)
    model.config.pad_token_id = 0

    def batch_of(rows: list[int]) -> Batch:
        pads_left = architecture == "xlnet"
        batch = make_batch(rows, left=pads_left)
        ends = batch.inputs["attention_mask"].sum(1) - 1 if not pads_left else -1
        batch.inputs["input_ids"][torch.arange(len(rows)), ends] = 3  # BART's kin reads the end of a text
        if reads_images:
            pixels = torch.stack([torch.full((3, IMAGE_SIZE, IMAGE_SIZE), (1 + row) / 8) for row in rows])
            batch = replace(batch, inputs={"pixel_values": pixels})
        return batch

    # BigBird makes other attention modules for short texts when it first meets one, which is when a study is prepared
    logits_of(model.eval(), batch_of([0]))
    count_dropout(model).begin_step(5)
    model.train()
    for norm in batch_norms(model).values():
        norm.eval()

    def counted(rows: list[int]) -> torch.Tensor:
        batch = batch_of(rows)
        torch.manual_seed(len(rows))
        with dropout_of(model, batch):
            return logits_of(model, batch)

    whole = counted([0, 1, 2, 3, 4, 6])
    # 0 and 3 are as long as 1 and 2 are padded to in the whole batch
    parts = [[0, 1, 2], [3, 4, 6]] if architecture in READ_PADDING else [[0], [1, 2], [3, 4, 6]]
    cut = torch.cat([counted(part) for part in parts])
    assert float((cut - whole).abs().max() / whole.abs().max()) < 1e-4


def attention_cases() -> Iterator[Any]:
    generator = torch.Generator().manual_seed(0)
    bias = torch.randn(1, 4, 6, 6, generator=generator)
    allowed = torch.ones(2, 1, 6, 6, dtype=torch.bool)
    allowed[0, ..., 4:] = False
    added = torch.zeros(2, 1, 6, 6).masked_fill(~allowed, torch.finfo(torch.float32).min)
    causal = allowed.tril()
    yield pytest.param({"attention_mask": allowed}, 1, id="padding")
    yield pytest.param({"attention_mask": causal, "scaling": 0.3}, 2, id="causal mask, shared heads")
    yield pytest.param({"attention_mask": None, "is_causal": True}, 1, id="causal")
    yield pytest.param({"attention_mask": None, "is_causal": False, "scaling": 1.0}, 1, id="everything")
    yield pytest.param({"attention_mask": added}, 2, id="added mask")
    yield pytest.param({"attention_mask": allowed, "position_bias": bias}, 1, id="bias of positions")
    yield pytest.param({"attention_mask": None, "position_bias": bias, "is_causal": True}, 1, id="causal, with bias")


@pytest.mark.parametrize(("options", "n_groups"), list(attention_cases()))
def test_attention_that_drops_nothing_is_that_of_torch(options: dict[str, Any], n_groups: int) -> None:
    check_attention(options, n_groups)


@pytest.mark.parametrize("n_queries", [1, 3])
def test_fewer_queries_than_keys_attend_as_in_torch(n_queries: int) -> None:
    check_attention({"attention_mask": None}, 1, n_queries)


def check_attention(options: dict[str, Any], n_groups: int, n_queries: int = 6) -> None:
    model = count(make("llama"), 0.0)
    module = nn.Module()
    module.dropout_site = model.model.layers[0].self_attn.dropout_site
    module.num_key_value_groups = n_groups
    generator = torch.Generator().manual_seed(1)
    query = torch.randn(2, 4, n_queries, 8, generator=generator)
    key, value = torch.randn(2, 2, 4 // n_groups, 6, 8, generator=generator)
    attend = AttentionInterface().get_interface("sdpa", sdpa_attention_forward)
    assert attend is not sdpa_attention_forward
    with dropout_of(model, make_batch([0, 1])):
        found, _ = attend(module, query, key, value, dropout=1e-9, **options)
    expected, _ = sdpa_attention_forward(module, query, key, value, dropout=0.0, **options)
    torch.testing.assert_close(found, expected)


def test_a_token_that_may_attend_to_nothing_does_not_become_nan() -> None:
    model = count(make("llama"), 0.3)
    batch = make_batch([0, 4], left=True)
    with dropout_of(model, batch):
        assert logits_of(model, batch).isfinite().all()


def test_gradients_at_p_0_3_are_those_of_any_micro_batch(prepared: Prepared) -> None:
    model = count(prepared.pretrained.new_model(seed=0, number=0), 0.3)
    rows_B = np.arange(11)
    found = []
    for micro_batch_size in (11, 4, 1):
        model.zero_grad()
        torch.manual_seed(micro_batch_size)
        loss = accumulate_gradients(
            model, prepared.task, prepared.train, rows_B, "fp32", micro_batch_size=micro_batch_size
        )
        found.append([loss, *(parameter.grad.clone() for parameter in model.parameters())])
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], atol=1e-6, rtol=1e-4)
