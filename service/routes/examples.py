"""Example bodies for `/docs`, of a study of customer feedback and of the worker that runs its first trial."""

from typing import Any

from fastapi import Body

_LEASE = {"lease_id": "5b0c5d3f8a0e4f0c9a1b2c3d4e5f6071", "token": "0f1e2d3c4b5a69788796a5b4c3d2e1f0"}


def body(**examples: dict[str, Any]) -> Any:
    """Declare a JSON body with these examples, each under its name."""
    return Body(openapi_examples={name: {"value": value} for name, value in examples.items()})


STUDY = {
    "name": "customer-feedback",
    "task": "text-classification",
    "model": {"name": "sentence-transformers/all-MiniLM-L6-v2"},
    "data": {"train": "examples/feedback/train.csv", "columns": {"text": "text", "label": "label"}},
    "search_space": {
        "learning_rate": {"type": "float", "low": 1e-6, "high": 1e-3, "log": True},
        "batch_size": {"type": "categorical", "choices": [8, 16, 32]},
        "epochs": {"type": "int", "low": 1, "high": 5},
    },
    "pruner": {"name": "median"},
    "n_trials": 20,
}
LIMITS = {"n_trials": 40, "timeout_seconds": 7200.0}
CLONE = {"name": "customer-feedback-2", "changes": [{"field": "search_space.epochs.high", "value": 6}]}
ENQUEUED = {"params": {"learning_rate": 5e-5, "batch_size": 16, "epochs": 3}}
WORKER = {
    "worker_id": "7f4a2c1d9b8e4f6a8c0d1e2f3a4b5c6d",
    "host": "gpu-01",
    "device": {"kind": "cuda", "name": "NVIDIA A10", "memory_bytes": 24_000_000_000, "bf16": True},
    "versions": {"torch": "2.13.0", "transformers": "5.23.0"},
    "protocol": 1,
}
DISPATCH = {"slots": 1, "wait_seconds": 30.0}
HEARTBEAT = {"leases": [_LEASE]}
REPORT = {
    "reports": [
        {
            **_LEASE,
            "step": 1,
            "epoch": 1.0,
            "optimizer_steps": 39,
            "value": 0.412,
            "metrics": {"validation_loss": 0.412, "train_loss": 0.377, "accuracy": 0.86},
            "final": False,
        }
    ]
}
COMPLETE = {"kind": "trial", "state": "COMPLETE", "device_seconds": 61.5}
FAIL = {
    "kind": "trial",
    "state": "FAIL",
    "failure": {"failure_class": "out_of_memory", "message": "a micro-batch of 1 does not fit"},
    "device_seconds": 4.2,
}
SCORE = {"kind": "score", "metrics": {"test_loss": 0.43, "test_accuracy": 0.85}, "device_seconds": 1.3}
RELEASE = {"reason": "preempted"}
HEAD = {"head": {"lines": '{"text": "what a film", "label": "good"}', "n_columns": 2, "n_rows": 1}}
NO_HEAD = {"problem": "is not a readable Parquet file: its footer is broken; write it again"}
WEBHOOK = {
    "url": "https://hooks.example.com/spezia",
    "events": ["study.changed", "best.improved"],
    "study": None,
}
ENABLED = {"state": "enabled"}
