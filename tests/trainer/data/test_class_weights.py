"""Weights of classes are those of scikit-learn, whatever a row's targets look like."""

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from tests.trainer import tiny
from tests.trainer.written_rows import SINGLE, TAGGED, PrepareRows
from trainer.data.class_weights import ClassWeights, balanced_weights
from trainer.data.tokenised_split import IGNORED

UNEQUAL = [*SINGLE, *({"text": f"word{n}", "label": "calm"} for n in range(8))]
TAGS = [
    *TAGGED,
    {"tokens": ["word1", "word2.word3", "word4"], "tags": ["O", "I-X", "O"]},
    {"tokens": ["word5"], "tags": ["O"]},
]


def test_balanced_weights_are_those_of_scikit_learn(prepare_rows: PrepareRows) -> None:
    train = prepare_rows("text-classification", UNEQUAL, SINGLE).train
    expected = compute_class_weight("balanced", classes=np.array([0, 1]), y=train.targets)
    assert balanced_weights(train, 2) == pytest.approx(expected)


def test_tags_are_counted_where_they_count(prepare_rows: PrepareRows) -> None:
    train = prepare_rows("token-classification", TAGS, TAGS).train
    counted = train.targets[train.targets != IGNORED]
    assert len(counted) == 16
    weights_C = balanced_weights(train, 3)
    assert weights_C == pytest.approx(compute_class_weight("balanced", classes=np.arange(3), y=counted))
    weights = ClassWeights.of(weights_C, train, tiny.CPU)
    b, i, o = weights_C.tolist()
    assert weights.of_rows_N == pytest.approx([*[b + o] * 6, i + 2 * o, o])


def test_a_class_that_does_not_occur_weighs_nothing(prepare_rows: PrepareRows) -> None:
    train = prepare_rows("text-classification", UNEQUAL, SINGLE).train
    assert balanced_weights(train, 4) == pytest.approx([*balanced_weights(train, 2), 0.0, 0.0])
