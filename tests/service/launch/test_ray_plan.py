"""Which settings of the launcher `ray` are refused, and what the others come to."""

from pathlib import Path
from typing import Any

import pytest

from service.launch import ray_plan as planning
from service.launch.ray_plan import BadRaySettings, RayPlan, ray_plan
from service.lifecycle.keys.key_text import draw_key
from service.settings import Settings
from spezia.common.extras import MissingExtra

TOKEN = {"RAY_AUTH_MODE": "token"}
NEAR: dict[str, Any] = {"launcher": "ray", "ray_address": "127.0.0.1:6379", "n_workers": 4, "home": Path("home")}
FAR = {**NEAR, "ray_address": "10.0.0.5:6379", "worker_url": "http://10.0.0.4:8765"}
URL = "http://127.0.0.1:8765"
KEY = draw_key()[1]


def plan_of(environment: dict[str, str] | None = None, **settings: Any) -> RayPlan:
    return ray_plan(Settings(**settings), URL, environment or {})


@pytest.mark.parametrize(
    ("changes", "environment", "named"),
    [
        ({"ray_address": None}, {}, "--ray-address .*HOST:PORT"),
        ({"ray_address": "auto"}, {}, "HOST:PORT"),
        ({"ray_address": "ray://head:10001"}, {}, "HOST:PORT"),
        ({"n_workers": None}, {}, "--workers"),
        (FAR, {}, "RAY_AUTH_MODE=token"),
        (FAR, {"RAY_AUTH_MODE": "disabled"}, "RAY_AUTH_MODE=token"),
        ({**FAR, "worker_url": None}, TOKEN, "SPEZIA_WORKER_URL"),
        ({"ray_num_gpus": 0.5}, {}, "SPEZIA_RAY_GPU_MEMORY"),
        ({"ray_num_gpus": 0.5, "ray_gpu_memory": 0.6}, {}, "SPEZIA_RAY_GPU_MEMORY=0.6"),
        ({"ray_num_gpus": 0, "ray_gpu_memory": 0.5}, {}, "SPEZIA_RAY_GPU_MEMORY=0.5"),
        ({"ray_runtime_env": {"env_vars": {"SPEZIA_API_KEY": "k"}}}, {}, "env_vars.SPEZIA_API_KEY holds a key"),
        ({"ray_runtime_env": {"env_vars": {"SPEZIA_DATABASE_URL": "u"}}}, {}, "env_vars.SPEZIA_DATABASE_URL holds"),
        ({"ray_runtime_env": {"env_vars": {"RAY_AUTH_TOKEN": "t"}}}, {}, "env_vars.RAY_AUTH_TOKEN holds a key"),
        ({"ray_runtime_env": {"env_vars": {"AWS_SECRET_ACCESS_KEY": "s"}}}, {}, "AWS_SECRET_ACCESS_KEY holds a key"),
        ({"ray_runtime_env": {"container": {"run_options": [f"-e KEY={KEY}"]}}}, {}, "a text holds a key"),
    ],
)
def test_what_cannot_work_is_refused_by_its_name(
    changes: dict[str, Any], environment: dict[str, str], named: str
) -> None:
    with pytest.raises(BadRaySettings, match=named):
        plan_of(environment, **{**NEAR, **changes})


@pytest.mark.parametrize(
    ("setting", "value"),
    [("ray_num_gpus", 2), ("ray_num_gpus", -1), ("ray_num_cpus", 0), ("ray_resources", {"A100": 0}), ("n_workers", -1)],
)
def test_a_value_that_cannot_be_is_refused(setting: str, value: object) -> None:
    with pytest.raises(ValueError, match=setting):
        Settings(**{**NEAR, setting: value})


def test_without_ray_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"spezia\[ray\]"):
        plan_of(**NEAR)


def test_a_cluster_of_this_machine_needs_no_token_and_gets_the_address_that_is_near() -> None:
    assert URL in plan_of(**NEAR).arguments
    assert "http://10.0.0.4:8765" in plan_of(TOKEN, **FAR).arguments


def test_actors_ask_for_what_the_settings_say_and_workers_share_a_gpu_by_its_memory() -> None:
    shared = {"ray_num_gpus": 0.5, "ray_gpu_memory": 0.4, "ray_num_cpus": 2.5, "ray_resources": {"A100": 0.5}}
    plan = plan_of(**NEAR, **shared, ray_runtime_env={"env_vars": {"HF_TOKEN": "hidden"}})
    assert str(plan.needs) == "0.5 GPU, 2.5 CPU, 0.5 A100"
    assert plan.needs.runtime_env == {"env_vars": {"HF_TOKEN": "hidden"}}
    assert "hidden" not in repr(plan)
    assert plan.arguments[plan.arguments.index("--gpu-memory") + 1] == "0.4"
    assert plan.arguments[plan.arguments.index("--threads") + 1] == "2"
    assert "CUDA_VISIBLE_DEVICES" not in plan.environment


def test_a_worker_that_asked_for_no_gpu_sees_none() -> None:
    assert plan_of(**NEAR, ray_num_gpus=0).environment["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.parametrize(
    "changes", [{"ray_num_cpus": 2}, {"data_roots": (Path("data"),)}, {"worker_url": "http://10.0.0.9:1"}]
)
def test_workers_of_other_settings_are_told_apart(changes: dict[str, Any]) -> None:
    assert plan_of(**NEAR).digest == plan_of(**NEAR).digest
    assert plan_of(**NEAR).digest != plan_of(**{**NEAR, **changes}).digest
