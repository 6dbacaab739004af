"""Where programs of this user keep what they can make again."""

import os
import sys
from pathlib import Path


def user_cache() -> Path:
    """Return ``~/.cache/spezia``, or ``spezia`` below ``XDG_CACHE_HOME``; on macOS ``~/Library/Caches/spezia``."""
    if "XDG_CACHE_HOME" in os.environ:
        return Path(os.environ["XDG_CACHE_HOME"]) / "spezia"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "spezia"
