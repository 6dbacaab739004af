"""What a study's own script may import: the exception that ends its trial."""


class TrialPruned(BaseException):
    """Raised inside a script's ``report`` when the trial is to end: it was pruned, or cancelled, or the worker ends.

    Let it pass, after cleaning up in ``finally``. It is no ``Exception``, so ``except Exception`` lets it pass.
    """
