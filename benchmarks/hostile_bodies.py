"""Search for the worst body of every call of a real service, by the processor time that its answer takes.

    PYTHONPATH=. python benchmarks/hostile_bodies.py [--tries 120] [--seed 0] [--database postgresql]

Prints one JSON line for each call and kind of body: milliseconds of the service's processor for the worst body that was
found, and for one of half its size; wall time, how much more memory the service took than ever before, and the longest
time that `/healthz`, asked every 20 ms, took beside it. The knobs are in `tests/service/hostile_bodies.py`, and
`tests/service/stories/test_worst_bodies.py` is a short form of this.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import httpx2

from benchmarks.hostile import ROOT, Figures, Probe, Service, cpu_seconds, peak_mb, serving
from tests.service.hostile_bodies import Call, Tried, calls, search

N_ROUNDS = 5
"""How often each worst body is sent; the medians count, but of memory and waiting the worst."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tries", type=int, default=120, help="bodies of each kind and call")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--database", default="sqlite", choices=["sqlite", "postgresql"])
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(ROOT, options.database, Path(folder)) as service,
        httpx2.Client(base_url=f"http://127.0.0.1:{service.port}", timeout=60.0) as http,
    ):
        found, renew = calls(http)

        def send(call: Call, body: bytes) -> int:
            renew()
            status: int = http.request(call.method, call.path, content=body, headers=call.headers).status_code
            return status

        def cost(call: Call, body: bytes) -> float:
            began = cpu_seconds(service.pid)
            send(call, body)
            return cpu_seconds(service.pid) - began

        for name, call in found.items():
            for worst in search(call, cost, n_tries=options.tries, seed=options.seed):
                line = {"call": name, "database": options.database, "kind": worst.kind}
                print(json.dumps(line | measure(service, call, worst, send, cost)), flush=True)


def measure(
    service: Service,
    call: Call,
    worst: Tried,
    send: Callable[[Call, bytes], int],
    cost: Callable[[Call, bytes], float],
) -> Figures:
    """What the worst body of a call costs."""
    before = peak_mb(service.pid)
    whole = median(cost(call, worst.body(call)) for _ in range(N_ROUNDS))
    half = median(cost(call, worst.body(call, share=2 * worst.share)) for _ in range(N_ROUNDS))
    seconds, statuses = [], set()
    with Probe(lambda: service.call("GET", "/healthz")[0]) as health:
        for _ in range(N_ROUNDS):
            body = worst.body(call)
            began = time.perf_counter()
            statuses.add(send(call, body))
            seconds.append(time.perf_counter() - began)
    return {
        "bytes": worst.n_bytes,
        "cpu_ms": round(1e3 * whole),
        "half_cpu_ms": round(1e3 * half),
        "seconds": round(median(seconds), 3),
        "peak_mb": round(peak_mb(service.pid) - before, 1),
        "healthz_ms": health.figures()["worst_ms"],
        "statuses": sorted(statuses),
        "share": worst.share,
        "knobs": worst.knobs,
    }


if __name__ == "__main__":
    main()
