"""Where the kernel says that it has killed for memory."""

from pathlib import Path

from trainer.supervisor.oom_kills import count_oom_kills


def test_version_two_in_a_group_of_its_own(tmp_path: Path) -> None:
    proc, group = tmp_path / "cgroup", tmp_path / "fs" / "user" / "worker"
    group.mkdir(parents=True)
    proc.write_text("0::/user/worker\n")
    (group / "memory.events").write_text("low 0\noom 4\noom_kill 3\noom_group_kill 1\n")
    assert count_oom_kills(proc, tmp_path / "fs") == 3


def test_version_one_inside_a_container(tmp_path: Path) -> None:
    proc, mount = tmp_path / "cgroup", tmp_path / "fs" / "memory"
    mount.mkdir(parents=True)
    proc.write_text("9:name=systemd:/\n4:memory:/docker/abc\n0::/\n")
    (mount / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    assert count_oom_kills(proc, tmp_path / "fs") == 2


def test_elsewhere_nothing_is_known(tmp_path: Path) -> None:
    assert count_oom_kills(tmp_path / "none", tmp_path) == 0
