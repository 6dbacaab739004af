"""`spezia serve` whose workers compute nothing.

python serve_with_fake_engine.py HOME SCRIPT N_WORKERS [--exit-with-parent]
"""

import shlex
import signal
import sys
from pathlib import Path

from service.launch.local import WORKER_PROGRAM
from service.serve import serve
from service.settings import Settings
from spezia.common.parent import end_with_parent
from tests import fake_engine

if __name__ == "__main__":
    home, script, n_workers, *more = sys.argv[1:]
    if more == ["--exit-with-parent"]:
        end_with_parent(signal.SIGTERM)
    engine = shlex.join([sys.executable, "-P", fake_engine.__file__, "--script", script])
    settings = Settings(home=Path(home), port=0, n_workers=int(n_workers))
    sys.exit(serve(settings, [*WORKER_PROGRAM, "--engine", engine]))
