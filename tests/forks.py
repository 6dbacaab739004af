"""Processes forked in milliseconds from one that has imported all that they need."""

import multiprocessing

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "service.serve",
        "service.http_server",
        "trainer.supervisor.supervisor",
        "tests.faults.processes",
        "tests.service.lifecycle.database.test_interrupted_copy",
        "tests.service.store.sql.test_migrate",
    ]
)
"""Starts processes; what it imports before is imported once for all of them."""
