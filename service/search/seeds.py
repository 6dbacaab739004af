"""Seeds of trials, from which samplers draw and by which ties are broken."""

import hashlib


def trial_seed(study_seed: int, number: int) -> int:
    """Return a seed that differs between trials and between studies, and is the same on every machine."""
    digest = hashlib.blake2b(f"{study_seed}:{number}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")
