"""Our weights file: what goes in comes out, and nothing else gets in."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny import TINY, tiny_checkpoint

from uniseg_model.checkpoint import Checkpoint, check_state, load_checkpoint, untrained
from uniseg_model.errors import OutputError, TaskError, WeightsError
from uniseg_model.tasks import Label, Task, TaskRegistry, builtin_tasks


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return tiny_checkpoint()


def test_what_is_saved_is_loaded(checkpoint: Checkpoint, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "w.safetensors")
    loaded = load_checkpoint(tmp_path / "w.safetensors", verify=True)
    assert loaded.config == checkpoint.config
    assert list(loaded.tasks.values()) == list(checkpoint.tasks.values())
    assert loaded.about == checkpoint.about
    assert loaded.sha256 == checkpoint.sha256
    assert all(torch.equal(loaded.weights[name], tensor) for name, tensor in checkpoint.weights.items())


def test_loaded_network_answers_as_the_saved_one(checkpoint: Checkpoint, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "w.safetensors")
    x, task = torch.randn(1, 1, *TINY.window), torch.tensor([3])
    with torch.inference_mode():
        assert torch.equal(checkpoint.network()(x, task), load_checkpoint(tmp_path / "w.safetensors").network()(x, task))


def test_half_precision_weights_make_a_float32_network(checkpoint: Checkpoint, tmp_path: Path) -> None:
    half = {name: tensor.half() for name, tensor in checkpoint.weights.items()}
    Checkpoint(checkpoint.config, checkpoint.tasks, half, checkpoint.about).save(tmp_path / "h.safetensors")
    net = load_checkpoint(tmp_path / "h.safetensors").network()
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    assert not any(p.requires_grad for p in net.parameters())


def test_sha256_names_the_weights_and_not_their_order(checkpoint: Checkpoint) -> None:
    turned = dict(reversed(list(checkpoint.weights.items())))
    assert Checkpoint(TINY, checkpoint.tasks, turned, checkpoint.about).sha256 == checkpoint.sha256
    assert tiny_checkpoint(seed=1).sha256 != checkpoint.sha256


def test_place_of_a_task_is_its_prompt_channel(checkpoint: Checkpoint) -> None:
    tasks = builtin_tasks()
    assert [checkpoint.place(task) for task in tasks.values()] == list(range(11))
    stranger = Task("heart", "Heart", ("CT",), (Label("heart", "#000000"),), (3.0, 1.5, 1.5), ("hu",))
    with pytest.raises(TaskError, match="no task 'heart'"):
        checkpoint.place(stranger)


def test_fresh_weights_say_that_they_are_untrained(checkpoint: Checkpoint) -> None:
    assert checkpoint.about.kind == "untrained"
    before = torch.random.get_rng_state()
    assert untrained(TINY, 5).sha256 == untrained(TINY, 5).sha256
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_changed_weight_is_noticed_by_verify(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    checkpoint.save(path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    load_checkpoint(path)
    with pytest.raises(WeightsError, match=r"is damaged: its weights have SHA-256"):
        load_checkpoint(path, verify=True)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_truncated_file_is_refused(checkpoint: Checkpoint, tmp_path: Path, share: float) -> None:
    path = tmp_path / "w.safetensors"
    checkpoint.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(WeightsError, match="truncated or not a safetensors file"):
        load_checkpoint(path)


def test_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no weights file .*uniseg weights import"):
        load_checkpoint(tmp_path / "none.safetensors")


def test_safetensors_of_another_program_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="of another program"):
        load_checkpoint(tmp_path / "other.safetensors")


def test_torch_file_gets_the_hint_to_import_it(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "m.model")
    with pytest.raises(WeightsError, match=r"is a torch file.*uniseg weights import m\.model"):
        load_checkpoint(tmp_path / "m.model")


def test_newer_format_is_refused(checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uniseg_model.checkpoint.FORMAT", 2)
    checkpoint.save(tmp_path / "w.safetensors")
    monkeypatch.undo()
    with pytest.raises(WeightsError, match="has format 2, this version reads format 1"):
        load_checkpoint(tmp_path / "w.safetensors")


def test_tasks_must_be_as_many_as_prompts(checkpoint: Checkpoint) -> None:
    with pytest.raises(WeightsError, match="prompts for 11 tasks, the checkpoint names 1"):
        Checkpoint(TINY, TaskRegistry([builtin_tasks()["liver"]]), checkpoint.weights, checkpoint.about)


def test_a_task_must_not_have_more_classes_than_the_head(checkpoint: Checkpoint) -> None:
    five = Task("five", "Five", ("CT",), tuple(Label(f"l{i}", "#000000") for i in range(5)), (3.0, 1.5, 1.5), ("hu",))
    tasks = TaskRegistry([*list(builtin_tasks().values())[:10], five])
    with pytest.raises(WeightsError, match="task 'five' has 6 classes, the network's head gives 4"):
        Checkpoint(TINY, tasks, checkpoint.weights, checkpoint.about)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("universal_prompt"), "lack 'universal_prompt'"),
        (lambda w: w.update(universal_prompt=torch.zeros(1, 11, 2, 2, 3)), r"'universal_prompt' has shape \(1, 11, 2, 2, 3\)"),
        (lambda w: w.update(extra=torch.zeros(1)), "hold 'extra'"),
    ],
)
def test_state_of_another_network_is_refused(checkpoint: Checkpoint, change: object, message: str) -> None:
    weights = dict(checkpoint.weights)
    change(weights)  # type: ignore[operator]
    with pytest.raises(WeightsError, match=message):
        check_state(TINY, weights)


def test_failed_save_leaves_the_old_file(checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"old")

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", no_space)
    with pytest.raises(OutputError, match="No space left on device"):
        checkpoint.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]
    assert path.read_bytes() == b"old"
