"""Sets up the process that trains, which a supervisor starts and drives, and lets its engine work."""

import argparse
import logging
import os
import signal
from pathlib import Path

import torch
import transformers
from torch.optim.optimizer import register_optimizer_step_post_hook

from spezia.common.parent import end_by_kernel
from trainer import messages
from trainer.engine.channel import Channel
from trainer.engine.engine import Engine
from trainer.engine.liveness import Liveness
from trainer.model.device import choose_device
from trainer.train.step_graphs import register_replay_post_hook
from trainer.trunk.cache import DEFAULT_BYTES, TrunkCache


def main() -> None:
    """Set the process up and work until the supervisor is gone."""
    parser = argparse.ArgumentParser(prog="trainer.engine")
    parser.add_argument("--parent", type=int, required=True, help="process that this one must not outlive")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--gpu-memory", type=float, help="share of the memory of a CUDA device that it may use")
    parser.add_argument("--data-root", type=Path, action="append", default=[])
    parser.add_argument("--checkpoint-dir", type=Path)
    parser.add_argument("--checkpoint-bytes", type=int)
    parser.add_argument("--allow-scripts", type=Path, action="append", default=[])
    parser.add_argument("--cache-dir", type=Path)
    parser.add_argument("--cache-bytes", type=int, default=DEFAULT_BYTES)
    options = parser.parse_args()
    end_by_kernel(options.parent, signal.SIGKILL)  # its stdin is the pipe that commands come by
    # Whoever ends a whole group of processes: the supervisor asks for a checkpoint, and ends this one after that
    for number in (signal.SIGTERM, signal.SIGINT):
        _ignore_here(number)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    transformers.logging.disable_progress_bar()  # what this process writes is a log, and no terminal
    channel = Channel()
    channel.start()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = choose_device(options.gpu_memory)
    liveness = Liveness(lambda: channel.send(messages.Alive()))
    register_optimizer_step_post_hook(liveness.count_step)
    register_replay_post_hook(liveness.count_step)
    liveness.start()
    engine = Engine(
        channel,
        roots=options.data_root,
        device=device,
        checkpoint_dir=options.checkpoint_dir,
        checkpoint_bytes=options.checkpoint_bytes,
        cache=TrunkCache(options.cache_dir, options.cache_bytes) if options.cache_dir else None,
        script_folders=options.allow_scripts,
    )
    register_optimizer_step_post_hook(engine.note_step)
    engine.run()


def _ignore_here(number: int) -> None:
    """Ignore a signal in this process alone: a script may end processes of its own by it, and wait for them."""
    signal.signal(number, lambda *_: None)  # unlike SIG_IGN not inherited by another program
    # Held back while a process forks, so that none is lost that comes before the child has its own way with it
    os.register_at_fork(
        before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {number}),
        after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, {number}),
        after_in_child=lambda: _obey(number),
    )


def _obey(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
