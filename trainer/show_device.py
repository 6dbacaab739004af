"""Say in a line which torch a worker here would train with, and on which device; `spezia doctor` asks."""

import sys

import torch

from trainer.model.device import choose_device, describe_device


def main() -> None:
    """Print version and device."""
    device = describe_device(choose_device())
    bf16 = ", bf16" if device.bf16 else ""
    sys.stdout.write(f"{torch.__version__} on {device.name} ({device.memory_bytes / 2**30:.0f} GiB{bf16})\n")


if __name__ == "__main__":
    main()
