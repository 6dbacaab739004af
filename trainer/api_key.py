"""Where a worker takes its API key from; the engine gets none."""

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from spezia.common.address_and_key import check_key
from spezia.contract.key import KEY_PATTERN, KEY_VARIABLE

_OTHERS = stat.S_IRWXO | stat.S_IWGRP
"""What a key file must not allow. Its group may read it, as Kubernetes hands a secret to a user who is not root."""


class BadKeyFile(ValueError):
    """A file holds no key that can be used; the message says why, and never what is in it."""


def find_api_key(key_file: Path | None, environment: Mapping[str, str]) -> str | None:
    """Return the API key in ``key_file``, else the one in the environment, else that of the file which it names.

    Raises:
        BadKeyFile: A file that is named cannot be used.
        BadKey: The one in the environment can be none.
    """
    if key_file is not None:
        return _read(key_file)
    if key := environment.get(KEY_VARIABLE):
        check_key(key)
        return key
    named = environment.get(f"{KEY_VARIABLE}_FILE")
    return _read(Path(named)) if named else None


def _read(path: Path) -> str:
    try:
        with path.open() as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(1000).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise BadKeyFile(f"the key file {path} cannot be read: {reason}") from None
    if mode & _OTHERS:
        raise BadKeyFile(f"the key file {path} is open to others (mode {mode:04o}); chmod 600 it")
    if not re.fullmatch(KEY_PATTERN, content):
        raise BadKeyFile(
            f"the key file {path} holds no API key (spz_…), which `spezia key create NAME --to {path}` writes"
        )
    return content
