"""Linear models on given features: those of scikit-learn, without loading it (decision 0046).

K = examples, H = features, C = classes.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

_MAX_ITERATIONS = 200
"""Of L-BFGS: a model that is nearly there is good enough."""

_TOLERANCE = 1e-4
"""Largest gradient, of the mean loss of an example, at which a model is there; scikit-learn's."""

Features = NDArray[np.float32]


def predict_classes(seen_KH: Features, classes_K: NDArray[np.generic], new_KH: Features) -> NDArray[np.generic]:
    """Return the class of each new example by logistic regression with an L2 penalty of 1, as
    ``sklearn.linear_model.LogisticRegression`` states it."""
    names, indices_K = np.unique(classes_K, return_inverse=True)
    targets_K = torch.from_numpy(indices_K)
    if len(names) == 2:  # one logit for both, so that the penalty is that of one vector of weights
        logits_K1 = _logits(seen_KH, new_KH, 1, lambda logits: _yes_or_no(logits, targets_K[:, None]))
        chosen_K = logits_K1[:, 0] > 0
    else:
        chosen_K = _logits(
            seen_KH, new_KH, len(names), lambda logits: functional.cross_entropy(logits, targets_K)
        ).argmax(1)
    predicted_K: NDArray[np.generic] = names[chosen_K.numpy().astype(np.int64)]
    return predicted_K


def predict_yes_or_no(seen_KH: Features, is_yes_KC: NDArray[np.generic], new_KH: Features) -> NDArray[np.int64]:
    """Return 0 or 1 for each class of each new example, ``[K, C]``, by a logistic regression for each class."""
    targets_KC = torch.from_numpy(is_yes_KC.astype(np.int64))
    logits_KC = _logits(seen_KH, new_KH, targets_KC.shape[1], lambda logits: _yes_or_no(logits, targets_KC))
    return (logits_KC > 0).numpy().astype(np.int64)


def predict_numbers(seen_KH: Features, numbers_K: NDArray[np.generic], new_KH: Features) -> NDArray[np.float64]:
    """Return the number of each new example by a ridge regression with an L2 penalty of 1."""
    seen, new = (examples.astype(np.float64) for examples in _scaled(seen_KH, new_KH))
    numbers = numbers_K.astype(np.float64)
    weights_H = np.linalg.solve(seen.T @ seen + np.eye(seen.shape[1]), seen.T @ (numbers - numbers.mean()))
    predicted_K: NDArray[np.float64] = new @ weights_H + numbers.mean()
    return predicted_K


def _scaled(seen_KH: Features, new_KH: Features) -> tuple[Features, Features]:
    """Give each feature the mean 0 and the standard deviation 1, by those that were seen."""
    mean_H, deviation_H = seen_KH.mean(axis=0, dtype=np.float64), seen_KH.std(axis=0, dtype=np.float64)
    is_constant_H = deviation_H <= np.finfo(np.float32).eps * np.abs(mean_H)  # or what tells nothing would be magnified
    deviation_H[is_constant_H] = 1
    mean_H, deviation_H = mean_H.astype(np.float32), deviation_H.astype(np.float32)
    return (seen_KH - mean_H) / deviation_H, (new_KH - mean_H) / deviation_H


def _yes_or_no(logits_KC: torch.Tensor, targets_KC: torch.Tensor) -> torch.Tensor:
    """Return the mean loss of an example, which has one for each class."""
    losses_KC = functional.binary_cross_entropy_with_logits(logits_KC, targets_KC.float(), reduction="none")
    return losses_KC.sum(dim=1).mean()


def _logits(
    seen_KH: Features, new_KH: Features, n_logits: int, loss_of: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Return the logits of new examples by weights that minimise the mean loss of those that were seen, and a penalty.

    Args:
        loss_of: returns that loss for logits ``[K, n_logits]``.
    """
    seen, new = (torch.from_numpy(examples) for examples in _scaled(seen_KH, new_KH))
    weights = torch.zeros(seen.shape[1], n_logits, requires_grad=True)
    bias = torch.zeros(n_logits, requires_grad=True)
    solver = torch.optim.LBFGS(
        [weights, bias],
        max_iter=_MAX_ITERATIONS,
        tolerance_grad=_TOLERANCE,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    def loss() -> torch.Tensor:
        solver.zero_grad()
        value = loss_of(seen @ weights + bias) + weights.square().sum() / (2 * len(seen))
        value.backward()  # type: ignore[no-untyped-call]
        return value

    solver.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        return new @ weights + bias
