"""Part ``machine``: what computes here and how fast at best, and whether our programs can be imported at all."""

import torch
from findings import take_stdout
from peaks import matmul_tflops

import service.app
import trainer.engine.engine
from trainer.model.device import choose_device, describe_device

tell = take_stdout()
device = choose_device()
tell({"imported": [service.app.__name__, trainer.engine.engine.__name__]})
tell({"device": describe_device(device).model_dump(), "cuda": torch.version.cuda})
for name, dtype in {"bf16": torch.bfloat16, "fp32": torch.float32}.items():
    tell({f"matmul_tflops_{name}": matmul_tflops(device, dtype)})
