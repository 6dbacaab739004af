"""What of its supervisor's environment an engine gets."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.supervisor.engine_environment import engine_environment

WORDS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", max_size=12)
OWNERS = (
    "SPEZIA_ RAY_ AWS_ AZURE_ GOOGLE_ GCP_ GCLOUD_ CLOUDSDK_ BOTO_ S3_ MINIO_ KUBE KUBERNETES_ DOCKER_ VAULT_ SLURM_ "
    "PG POSTGRES_ MYSQL_ MONGO_ REDIS_ DATABASE_ DB_ SQLALCHEMY_ "
    "WANDB_ MLFLOW_ COMET_ NEPTUNE_ CLEARML_ DAGSHUB_ AIM_ OPENAI_ ANTHROPIC_ GITHUB_ GITLAB_ SSH_ GPG_ NPM_ PIP_ CI_"
)
SECRETS = "TOKEN KEY SECRET PASS PASSWORD CREDENTIAL CREDENTIALS AUTH URL DSN API_KEY ACCESS_KEY_ID AUTH_TOKEN"
SETTINGS = "LC XDG PYTHON CUDA NVIDIA NCCL TORCH PYTORCH OMP MKL HF_DATASETS TRANSFORMERS TOKENIZERS"
NEEDED = (
    "PATH HOME LANG LC_ALL TMPDIR XDG_CACHE_HOME PYTHONPATH LD_LIBRARY_PATH https_proxy NO_PROXY SSL_CERT_FILE "
    "CUDA_VISIBLE_DEVICES CUBLAS_WORKSPACE_CONFIG NVIDIA_TF32_OVERRIDE OMP_NUM_THREADS MKL_NUM_THREADS TORCH_HOME "
    "TORCHINDUCTOR_CACHE_DIR TRITON_CACHE_DIR HF_HOME HF_HUB_OFFLINE HF_ENDPOINT HF_TOKEN TRANSFORMERS_OFFLINE"
)

of_others = st.builds("".join, st.tuples(st.sampled_from(OWNERS.split()), WORDS))
disguised = st.builds("_".join, st.tuples(st.sampled_from(SETTINGS.split()), st.sampled_from(SECRETS.split())))
anywhere = st.builds("_".join, st.tuples(WORDS.filter(bool), st.sampled_from(SECRETS.split()), WORDS))


@given(st.dictionaries(st.one_of(of_others, disguised, anywhere), st.just("hunter2"), max_size=20))
def test_no_secret_reaches_an_engine_whatever_it_is_called(hostile: dict[str, str]) -> None:
    assert "hunter2" not in engine_environment({**hostile, "PATH": "/bin"}).values()
    assert "hunter2" not in engine_environment({name.lower(): value for name, value in hostile.items()}).values()


@pytest.mark.parametrize("name", NEEDED.split())
def test_an_engine_gets_what_its_libraries_need(name: str) -> None:
    assert engine_environment({name: "as it is"})[name] == "as it is"


def test_all_that_an_engine_gets_is_its_supervisors_or_a_setting_of_ours() -> None:
    of_ours = {"PYTORCH_CUDA_ALLOC_CONF", "ONEDNN_PRIMITIVE_CACHE_CAPACITY", "TOKENIZERS_PARALLELISM"}
    assert engine_environment(os.environ).items() <= os.environ.items() | engine_environment({}).items()
    assert engine_environment({}).keys() == of_ours


@pytest.mark.parametrize("chosen", [None, "ONEDNN_PRIMITIVE_CACHE_CAPACITY", "DNNL_PRIMITIVE_CACHE_CAPACITY"])
def test_few_compiled_products_are_kept_unless_an_operator_has_chosen(chosen: str | None) -> None:
    seen = engine_environment({chosen: "7"} if chosen else {})
    assert {name: value for name, value in seen.items() if "_CAPACITY" in name} == (
        {chosen: "7"} if chosen else {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64"}
    )


@pytest.mark.parametrize("chosen", [None, "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"])
def test_segments_of_a_gpus_memory_expand_unless_an_operator_has_chosen(chosen: str | None) -> None:
    seen = engine_environment({chosen: "max_split_size_mb:64"} if chosen else {})
    assert {name: value for name, value in seen.items() if "ALLOC_CONF" in name} == (
        {chosen: "max_split_size_mb:64"} if chosen else {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}
    )
