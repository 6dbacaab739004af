"""The environment of an engine: what the system and the libraries that train need, and nothing else.

The list says what is let through. The worker's own environment may hold what nobody has thought of: a cluster's token,
a database's URL, keys of a cloud or of a tracker, none of which is for the models, data and scripts of studies.
"""

import re
from collections.abc import Mapping

_OF_THE_SYSTEM = re.compile(
    "PATH|HOME|USER|LOGNAME|SHELL|LANG|LANGUAGE|TZ|TMPDIR|TMP|TEMP|VIRTUAL_ENV|CONDA_PREFIX"
    "|(?i:HTTP_PROXY|HTTPS_PROXY|ALL_PROXY|NO_PROXY)|SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE"
)
"""Names of what programs need to run and to reach the hub."""
_OF_THE_HUB = frozenset({"HF_TOKEN", "HF_TOKEN_PATH", "HUGGING_FACE_HUB_TOKEN"})
"""The one secret that an engine needs: by it the hub lets in whoever loads a private model."""

_SETTINGS = re.compile(
    # of the system, of Python, and of where caches lie
    "LC_|LD_|DYLD_|XDG_|MALLOC_|PYTHON"
    # of devices
    "|CUDA_|CUBLAS_|CUDNN_|NVIDIA_|NCCL_|HIP_|HSA_|ROCR_|MIOPEN_"
    # of libraries that compute
    "|TORCH_|TORCHINDUCTOR_|TORCHDYNAMO_|PYTORCH_|TRITON_|ATEN_|OMP_|GOMP_|KMP_|MKL_|OPENBLAS_|DNNL_|ONEDNN_"
    # of libraries that load models and data
    "|HF_|HUGGINGFACE_|TRANSFORMERS_|TOKENIZERS_|SAFETENSORS_|ARROW_"
)
"""How the names of settings begin."""
_SECRET = re.compile(r"(?i)(^|_)(TOKEN|KEY|SECRET|PASS|PASSWD|PASSWORD|CREDENTIALS?|AUTH|URL|URI|DSN)(_|$)")
"""What a name has among its words if its value is not for everybody, however it begins."""

_ALLOCATOR_VARIABLES = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")
"""Variables that set up PyTorch's allocator, the name that every version knows first. Unless an operator has set one,
segments are expandable: batches of ever other lengths leave the memory of a GPU in pieces otherwise, too small for the
longest of them."""
_PRIMITIVE_VARIABLES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "DNNL_PRIMITIVE_CACHE_CAPACITY")
"""Variables that say how many compiled matrix products oneDNN keeps, which multiplies on CPUs."""
_PRIMITIVES = 64
"""A product is compiled for each number of tokens in a batch. With the 1,024 that oneDNN keeps by itself, MiniLM took
1.49 GB after 241 steps in bf16 with batches of ever other lengths, and went on growing; with 64 of them 1.06 GB. A step
is as fast: 181 ms and 184 ms of the CPU for 16 rows of 14 to 23 tokens."""


def engine_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what an engine gets of its supervisor's environment, with the engine's settings of libraries."""
    kept = {name: value for name, value in environment.items() if _is_let_through(name)}
    if not any(name in kept for name in _ALLOCATOR_VARIABLES):
        kept[_ALLOCATOR_VARIABLES[0]] = "expandable_segments:True"
    if not any(name in kept for name in _PRIMITIVE_VARIABLES):
        kept[_PRIMITIVE_VARIABLES[0]] = str(_PRIMITIVES)
    return kept | {"TOKENIZERS_PARALLELISM": "false"}


def _is_let_through(name: str) -> bool:
    if _OF_THE_SYSTEM.fullmatch(name) or name in _OF_THE_HUB:
        return True
    return _SETTINGS.match(name) is not None and _SECRET.search(name) is None
