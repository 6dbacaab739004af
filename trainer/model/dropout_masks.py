"""Draws dropout masks that belong to an example, not to the batch that it happens to be in.

A number is kept or dropped by a hash of the trial and its optimizer step, the module that drops, the row of the
training data, the position in that row counted from its first token, and the feature; in attention of head, query and
key instead. No stream of random numbers is shared, so nothing that memory decides changes a mask: micro-batches,
padding, activations that are computed twice, blocks that come from a cache.

B = rows of a micro-batch, T = tokens of its longest row, N = positions (tokens, patches, or 1 of what was pooled),
M = what else there is of each example, such as heads, K = features or keys, W = words of 4 of them.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import create_position_bias_mask, repeat_kv, sdpa_attention_forward

from trainer.data.tokenised_split import Batch
from trainer.model.dropout import calls_dropout
from trainer.model.dropout_hash import (
    LANES,
    MOST_WORDS,
    OF_COLUMN,
    OF_ROW,
    drop_numbers,
    has_kernel,
    mix,
    position_keys,
)
from trainer.model.products import come_from_onednn

OF_DISTANCES = frozenset({"sin_dropout", "cos_dropout"})
"""Names of dropouts of a table of distances, Funnel's: up to twice as many as the batch has tokens, either way."""

SHARED = frozenset({"pos_dropout"}) | OF_DISTANCES
"""Names of dropouts of what all examples of a batch share, such as DeBERTa's relative embeddings."""

TOKENS_FIRST = frozenset({"xlnet"})
"""Architectures whose hidden states are ``[T, B, K]``, as are their embeddings of distances, ``[2 T, B, K]``."""

_MOST_KEYS_IN_STEPS = 256
"""Number of keys up to which fused attention is slow where products come from oneDNN."""


class DropoutMasks:
    """The dropout masks of one model: of which step they are, and of which rows the forward pass is."""

    def __init__(self, device: torch.device, *, of_functions: bool = False) -> None:
        """
        Args:
            of_functions: whether calls of ``functional.dropout`` drop by counters, too, which makes every other call of
                torch a little slower.
        """
        self._of_functions = of_functions
        # A tensor, so that a recorded step reads from it the number of the step that it is played for
        self._step = torch.zeros((), dtype=torch.int64, device=device)
        # A kernel is compiled and tried now, not while a step is recorded
        has_kernel(self._step.device)
        self._tables: dict[tuple[object, ...], torch.Tensor] = {}
        self._pass: _Pass | None = None

    def begin_step(self, seed: int) -> None:
        """Let the masks be those of an optimizer step from now on.

        Args:
            seed: 63 bits that tell this step of this trial from all others.
        """
        self._step.fill_(seed)

    @contextmanager
    def of(self, batch: Batch) -> Iterator[None]:
        """Let the masks be those of the rows of ``batch``, during its forward and backward pass.

        Outside of it dropouts draw from the device's stream.
        """
        examples_B = mix(self._step + batch.rows_B * OF_ROW)
        tokens = batch.inputs.get("input_ids")
        self._pass = _Pass(examples_B, batch.starts_B, None if tokens is None else tokens.shape[1])
        try:
            with self._functions():
                yield
        finally:
            self._pass = None

    def recomputation(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """Return the contexts in which ``torch.utils.checkpoint`` computes something, and computes it again: with the
        same masks."""
        calls = Counter(self._pass.calls) if self._pass else Counter[str]()
        return nullcontext(), self._again(calls)

    def drop(self, values: torch.Tensor, probability: float, site: "Site") -> torch.Tensor:
        """Return ``values`` with some set to 0 and the others scaled, so that their mean stays.

        Args:
            values: ``[B, K]``, ``[B, N, K]`` or ``[B, ..., N, K]``; at a site with tokens first ``[N, B, K]``. Where
                the first dimension is a multiple of B, each example has as many neighbours in it; where it is not, the
                mask depends on the micro-batch.
            probability: of being set to 0, rounded to 16 bits.
        """
        if self._pass is None:
            return functional.dropout(values, probability)
        if site.has_tokens_first and values.ndim == 3:
            by_row = values.transpose(0, 1)
            return drop_numbers(by_row, *self._words(self._pass, by_row.shape, site), probability).transpose(0, 1)
        return drop_numbers(values, *self._words(self._pass, values.shape, site), probability)

    def _words(
        self, now: "_Pass", shape: torch.Size, site: "Site"
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Return keys ``[B, N]`` and constants ``[M, W]`` of the next numbers of a site, and the column ``[B]`` of the
        first constant, if it is not 0."""
        *outer, n_columns = shape
        n_rows = len(now.examples_B)
        if site.is_shared:
            step_1, n_positions = self._step.view(1), math.prod(outer)
            is_two_way = site.is_of_distances and n_positions == 4 * (now.n_tokens or 0)
            # Distances are counted from the middle, so that padding moves none
            middle_1 = torch.full_like(step_1, n_positions // 2) if is_two_way else None
            keys_BN = position_keys(step_1, n_positions, middle_1)
        elif outer[0] % n_rows:
            keys_BN = position_keys(now.examples_B[:1], math.prod(outer))
        elif site.has_tokens_first and now.n_tokens is not None and outer[-1] == 2 * now.n_tokens:
            keys_BN = position_keys(now.examples_B, outer[-1], torch.full_like(now.examples_B, now.n_tokens))
        else:
            keys_BN = now.keys(outer[-1] if len(outer) > 1 else 1)
        n_others = math.prod(outer) // keys_BN.numel()
        columns_MW = self._columns(now, site, n_others, math.ceil(n_columns / LANES))
        is_attention = len(outer) > 2 and outer[-1] == n_columns == now.n_tokens
        return keys_BN, columns_MW, now.starts_B if is_attention else None

    def _columns(self, now: "_Pass", site: "Site", n_others: int, n_words: int) -> torch.Tensor:
        """Return the constants of a site for its next call in this pass, ``[M, W]``."""
        call = now.calls[site.name]
        now.calls[site.name] += 1
        key = (site.name, call, n_others, n_words)
        if key not in self._tables:
            device = self._step.device
            others_M1 = torch.arange(n_others, device=device)[:, None] * MOST_WORDS
            index_MW = others_M1 + torch.arange(n_words, device=device)
            self._tables[key] = mix(mix(index_MW * OF_COLUMN + call) + site.key)
        return self._tables[key]

    @contextmanager
    def _again(self, calls: Counter[str]) -> Iterator[None]:
        now = self._pass
        if now is None:
            yield
            return
        before, now.calls = now.calls, Counter(calls)
        try:
            with self._functions():  # the thread is another on a GPU
                yield
        finally:
            now.calls = before

    def _functions(self) -> AbstractContextManager[object]:
        return _Functions(Site(self, "functions")) if self._of_functions else nullcontext()


@dataclass(frozen=True)
class Site:
    """A place in a model that drops numbers."""

    masks: DropoutMasks
    """The masks of the whole model."""
    name: str
    """Name of the module."""
    has_tokens_first: bool = False
    """Whether hidden states have the tokens before the rows, here."""

    @property
    def key(self) -> int:
        """A number of 64 bits, with sign, that is this site's alone."""
        return int.from_bytes(hashlib.blake2b(self.name.encode(), digest_size=8).digest(), "little", signed=True)

    @property
    def is_shared(self) -> bool:
        """Whether what is dropped is shared by all examples of a batch."""
        return self.name.rpartition(".")[2] in SHARED

    @property
    def is_of_distances(self) -> bool:
        """Whether what is dropped is a table of distances, which all examples share."""
        return self.name.rpartition(".")[2] in OF_DISTANCES


class _Functions(TorchFunctionMode):
    """Lets dropouts that are functions drop as one site, which tells them apart by their order."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self._site = site

    def __torch_function__(self, called: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return (self._drop if called is functional.dropout else called)(*args, **(kwargs or {}))

    def _drop(self, values: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:
        return self._site.masks.drop(values, p, self._site) if training and p > 0 else values


class CountedPath(nn.Module):
    """Leaves out the whole path of some examples, which are those of its site (stochastic depth, Huang et al. 2016)."""

    def __init__(self, p: float, site: Site) -> None:
        super().__init__()
        self.drop_prob = p
        self.site = site

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Return the hidden states, in train mode with all of some examples set to 0."""
        if not self.training or not self.drop_prob:
            return hidden_states
        ones = hidden_states.new_ones(len(hidden_states), 1)
        kept = self.site.masks.drop(ones, self.drop_prob, self.site)
        return hidden_states * kept.view(-1, *[1] * (hidden_states.ndim - 1))


class CountedDropout(nn.Dropout):
    """A dropout whose masks are those of its site."""

    def __init__(self, p: float, site: Site) -> None:
        super().__init__(p)
        self.site = site

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return ``input``, in train mode with some of it set to 0."""
        return self.site.masks.drop(input, self.p, self.site) if self.training and self.p > 0 else input


def count_dropout(model: PreTrainedModel) -> DropoutMasks:
    """Let the dropouts of ``model`` draw their masks by counters, and return the masks.

    That is each ``nn.Dropout``, each path that transformers leaves out by a module of the name, what attention hands to
    ``scaled_dot_product_attention``, and calls of ``functional.dropout``. What a model draws in other ways still comes
    from the device's stream.
    """
    register_attention()
    masks = DropoutMasks(model.device, of_functions=calls_dropout(model))
    counted: dict[nn.Module, nn.Module] = {}
    for name, module in list(model.named_modules(remove_duplicate=False)):
        site = Site(masks, name, has_tokens_first=model.config.model_type in TOKENS_FIRST)
        if type(module) is nn.Dropout:
            model.set_submodule(name, counted.setdefault(module, CountedDropout(module.p, site)))
        elif type(module).__name__.endswith("DropPath"):
            probability: float = getattr(module, "drop_prob", None) or 0.0
            model.set_submodule(name, counted.setdefault(module, CountedPath(probability, site)))
        else:
            module.dropout_site = site
    return masks


def register_attention() -> None:
    """Let transformers' models attend by the function of this module from now on, whose models they may be."""
    AttentionInterface.register("sdpa", _attention)


def dropout_of(model: PreTrainedModel, batch: Batch) -> AbstractContextManager[None]:
    """Return a context for the forward and backward pass of ``batch``, in which ``model`` drops by counters, if it ever
    does."""
    site: Site | None = getattr(model, "dropout_site", None)
    return nullcontext() if site is None else site.masks.of(batch)


@dataclass
class _Pass:
    """What masks must know of the micro-batch that is in the model."""

    examples_B: torch.Tensor
    """A key of each example at this step."""
    starts_B: torch.Tensor | None
    """Where each row starts; ``None``: all at 0."""
    n_tokens: int | None
    """Positions that are counted from there; ``None``: it reads no tokens."""
    calls: Counter[str] = field(default_factory=Counter)
    """How often each site has dropped something: some modules are called more than once."""
    _keys: dict[int, torch.Tensor] = field(default_factory=dict)

    def keys(self, n_positions: int) -> torch.Tensor:
        """Return a key of each position of each example, ``[B, N]``."""
        if n_positions not in self._keys:
            starts_B = self.starts_B if n_positions == self.n_tokens else None
            self._keys[n_positions] = position_keys(self.examples_B, n_positions, starts_B)
        return self._keys[n_positions]


def _attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    position_bias: torch.Tensor | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attend as transformers' ``sdpa_attention_forward``, dropping weights by the counters of ``module``.

    Fused attention draws its own masks. So it is used where nothing is dropped, and else what it would compute is
    computed step by step, as it is on a CPU anyway; also where fused attention is slow (`_is_slow_when_fused`).

    Args:
        query: ``[B, heads, queries, features]``; ``key`` and ``value`` alike, of fewer heads where groups share them.

    Returns:
        What comes out, ``[B, queries, heads, features]``, and no weights.
    """
    site: Site | None = getattr(module, "dropout_site", None)
    is_fused = site is None if dropout else not _is_slow_when_fused(key)
    if is_fused or options.get("softcap") is not None:
        options |= {"dropout": dropout, "scaling": scaling, "is_causal": is_causal, "position_bias": position_bias}
        attend = _attend_in_fp32 if torch.is_autocast_enabled("cpu") else sdpa_attention_forward
        attended: tuple[torch.Tensor, None] = attend(module, query, key, value, attention_mask, **options)
        return attended
    n_groups = getattr(module, "num_key_value_groups", 1)
    key, value = repeat_kv(key, n_groups), repeat_kv(value, n_groups)
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    causal = causal and query.shape[2] > 1  # a single query, such as of a pooling head, reads all keys
    if position_bias is not None:
        attention_mask = create_position_bias_mask(position_bias, attention_mask, causal, query, key)
    elif attention_mask is None and causal:
        attention_mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=query.device).tril()
    scale = 1 / math.sqrt(query.shape[-1]) if scaling is None else scaling
    scores = (query * scale) @ key.transpose(2, 3)
    if attention_mask is not None and attention_mask.dtype == torch.bool:
        # Added, which takes a tenth of the time of filling in; and not minus infinity, since padding may have nothing
        # to attend to and must not become NaN
        attention_mask = torch.zeros_like(attention_mask, dtype=scores.dtype).masked_fill_(
            ~attention_mask, torch.finfo(scores.dtype).min
        )
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(-1)
    if dropout:
        assert site is not None
        weights = site.masks.drop(weights, dropout, site)
    hidden: torch.Tensor = weights.to(value.dtype) @ value
    return hidden.transpose(1, 2).contiguous(), None


def _is_slow_when_fused(key: torch.Tensor) -> bool:
    """Whether fused attention would take longer than its steps: products from oneDNN cost it some microseconds each,
    of which it makes many small ones.

    Forward and backward, 12 heads of 32 features, fused and in steps: 74 and 9 ms for 32 rows of 24 tokens, 162 and 46
    for 16 of 128, 170 and 295 for 4 of 512. With products from MKL 9 and 8, 44 and 60, 143 and 407.
    """
    return come_from_onednn(key.device) and key.shape[2] <= _MOST_KEYS_IN_STEPS


def _attend_in_fp32(module: nn.Module, *tensors: torch.Tensor | None, **options: Any) -> tuple[torch.Tensor, None]:
    """Attend as ``sdpa_attention_forward``, but in fp32: the backward pass of PyTorch's fused attention takes a CPU ten
    times as long in bf16 for rows of 24 tokens, and no less for 512."""

    def full(value: Any) -> Any:
        return value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value

    with torch.autocast("cpu", enabled=False):
        attended: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, *map(full, tensors), **{name: full(value) for name, value in options.items()}
        )
    return attended
