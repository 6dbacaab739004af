"""What has been shown is known to all processes of a machine, and not more of it than fits."""

from pathlib import Path

import pytest

from trainer.trunk import proofs as proofs_module
from trainer.trunk.entry import FileVersion
from trainer.trunk.proofs import Proof, Proofs
from trainer.trunk.trunk import Form

PROOF = Proof([Form("float32", 1), Form("bfloat16", None)], [FileVersion(1, 2, 3), FileVersion(4, 5, 6)])


def test_a_proof_is_known_to_other_processes_as_it_was(tmp_path: Path) -> None:
    Proofs(tmp_path).add("a", PROOF)
    assert Proofs(tmp_path).find("a") == PROOF
    assert Proofs(tmp_path).find("b") is None
    assert [file.name for file in tmp_path.iterdir()] == ["a.proof"]


def test_half_a_proof_is_none_until_it_is_shown_anew(tmp_path: Path) -> None:
    Proofs(tmp_path).add("a", PROOF)
    file = tmp_path / "a.proof"
    file.write_bytes(file.read_bytes()[:20])
    assert Proofs(tmp_path).find("a") is None
    Proofs(tmp_path).add("a", PROOF)
    assert Proofs(tmp_path).find("a") == PROOF


def test_a_process_without_a_folder_remembers_by_itself(tmp_path: Path) -> None:
    proofs = Proofs(tmp_path / "nowhere")
    proofs.add("a", PROOF)
    assert proofs.find("a") == PROOF
    assert Proofs(tmp_path / "nowhere").find("a") is None


def test_too_many_proofs_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proofs_module, "MAX_PROOFS", 3)
    proofs = Proofs(tmp_path)
    for make in "abcd":
        proofs.add(make, PROOF)
    for known in (proofs, Proofs(tmp_path)):
        assert [known.find(make) is not None for make in "abcd"] == [False, False, False, True]
