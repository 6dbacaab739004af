"""A service that needs keys, and clients that have some."""

from datetime import timedelta

from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.lifecycle.keys.create_key import create_key
from spezia.contract.key import Scope

URL = "http://127.0.0.1"


def client(app: FastAPI, key: str | None = None, **options: bool) -> TestClient:
    """A client that shows ``key``."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return TestClient(app, base_url=URL, headers=headers, **options)  # type: ignore[arg-type]


def make_key(app: FastAPI, name: str, *scopes: str, lasts: timedelta | None = None) -> str:
    return create_key(app.state.parts.store, name, map(Scope, scopes), lasts)


def client_of(app: FastAPI, name: str, *scopes: str) -> TestClient:
    """A client with a new key."""
    return client(app, make_key(app, name, *scopes))


def id_of(key: str) -> str:
    """Return the id of a key, by which it is named and revoked."""
    return key.split("_")[1]
