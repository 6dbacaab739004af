"""What a study has not had to spend, thanks to pruning, early stopping and the trunk cache."""

from spezia.contract.wire import Reply


class SavedSeconds(Reply):
    """Device seconds that a study's trials have not spent. They follow from what the trials' workers have measured of
    these very trials; null where none has measured anything."""

    pruning: float | None = None
    """Epochs that pruned trials did not train, each counted with the seconds that the trial took for an epoch before:
    an estimate by the trial's own speed."""
    early_stopping: float | None = None
    """Epochs that trials did not train because early stopping ended them, estimated likewise."""
    trunk_cache: float | None = None
    """Rows that came from the trunk cache, each counted with the seconds that frozen blocks took for a row when it was
    computed, less the seconds in which trials have filled the cache. Negative while filling it has not yet paid."""
