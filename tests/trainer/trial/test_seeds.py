"""Random numbers that do not repeat each other."""

from itertools import product

from trainer.trial.seeds import derive_seed


def test_every_purpose_seed_number_and_epoch_has_its_own() -> None:
    seeds = [
        derive_seed(purpose, *parts)
        for purpose in ("split", "head", "dropout", "batches")
        for parts in product(range(3), range(4), range(5))
    ]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_seeds_stay_the_same_between_versions() -> None:
    assert derive_seed("batches", 0, 1, 2) == 1419556851746930036
