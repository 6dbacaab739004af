"""Which call needs a key of which scope: one rule for all routes, so that a new one needs a key from its start."""

from spezia.contract.key import Scope

PUBLIC = frozenset({"/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", "/sign-in"})
"""Paths that need no key: for probes, and for whoever wants to know what there is to call. Metrics hold counts and no
names, and must be told while the database, which knows the keys, does not answer. Signing in takes a key by itself."""

STATIC = "/static/"
"""Where the files are that every page is made of, that to sign in too; they say nothing of anybody's studies."""


def needed_scopes(method: str, path: str) -> frozenset[Scope]:
    """Return the scopes one of which a call needs; none for a public one.

    Args:
        path: Path of a request, or of a route with its parameters in braces.
    """
    if path in PUBLIC or path.startswith(STATIC):
        return frozenset()
    if is_for_workers(method, path):
        return frozenset({Scope.WORKER})
    if path.startswith("/v1/webhooks") or path in ("/webhooks", "/keys"):
        return frozenset({Scope.ADMIN})  # they tell of everybody's studies
    if path.startswith("/v1/datasets/") and method in ("GET", "HEAD"):
        return frozenset({Scope.READ, Scope.WORKER})
    # checking a spec stores nothing, and whoever may sign in may sign out
    changes_something = method not in ("GET", "HEAD") and path not in ("/v1/studies:validate", "/sign-out")
    return frozenset({Scope.WRITE if changes_something else Scope.READ})


def is_for_workers(method: str, path: str) -> bool:
    """Whether this is a call of the protocol of workers, who serve the studies of all."""
    return path.startswith("/v1/leases/") or (path.startswith("/v1/workers") and method == "POST")
