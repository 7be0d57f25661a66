"""Import of the authors' checkpoint, on files that have its structure and its traps but weights of our own."""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import TINY, tiny_checkpoint

from uniseg_model.errors import WeightsError
from uniseg_model.network.config import NetworkConfig
from uniseg_model.official import import_official, our_name, read_companion


def authors_name(name: str) -> str:
    """The inverse of the import's table, written the slow way."""
    name = name.replace("universal_prompt", "intermedia_prompt").replace("upsample.", "tu.").replace("heads.", "seg_outputs.")
    name = re.sub(r"^fusion\.(\d)\.", r"fusion_layer.blocks.\1.", name)
    name = re.sub(r"^encoder\.5\.(\d)\.", r"conv_blocks_context.5.\1.blocks.0.", name)
    name = re.sub(r"^encoder\.(\d)\.(\d)\.", r"conv_blocks_context.\1.blocks.\2.", name)
    name = re.sub(r"^decoder\.(\d)\.(\d)\.", r"conv_blocks_localization.\1.\2.blocks.0.", name)
    return re.sub(r"\.convs\.(\d)\.", r".conv_\1.", name).replace(".norm.", ".instnorm.")


def authors_file(path: Path, config: NetworkConfig = TINY, prefix: str = "", **changes: Any) -> Path:
    state = OrderedDict((prefix + authors_name(name), tensor) for name, tensor in tiny_checkpoint(3, config).weights.items())
    content = {
        "epoch": 1000,
        "state_dict": state,
        "optimizer_state_dict": {"state": {0: {"momentum_buffer": torch.zeros(4)}}, "param_groups": [{"lr": 0.01}]},
        "lr_scheduler_state_dict": None,
        "plot_stuff": ([np.float32(0.5), np.float64(0.25)], [np.float64(0.5)], [], [np.float64(0.75)]),
        "best_stuff": (7, np.float64(0.9), np.float64(0.8)),
        "amp_grad_scaler": {"scale": 65536.0},
    }
    torch.save({**content, **changes}, path, pickle_protocol=2)
    return path


def test_import_keeps_every_number(tmp_path: Path) -> None:
    imported = import_official(authors_file(tmp_path / "a.model"))
    mine = tiny_checkpoint(3)
    assert imported.config == TINY
    assert imported.about.kind == "official"
    assert imported.about.history["epoch"] == 1000
    assert "non-commercial" in imported.about.licence
    assert imported.sha256 == mine.sha256


@pytest.mark.parametrize(
    "config",
    [
        NetworkConfig(window=(16, 64, 96), features=(3, 4, 5, 6, 7, 8)),
        NetworkConfig(window=(32, 64, 64), features=(4, 4, 4, 4, 4, 4)),
        NetworkConfig(
            window=(8, 16, 16),
            features=(2, 3, 4, 5),
            strides=((1, 2, 2), (2, 2, 2), (2, 2, 2)),
            kernels=((1, 3, 3),) + ((3, 3, 3),) * 3,
        ),
    ],
)
def test_configuration_is_inferred_from_shapes(tmp_path: Path, config: NetworkConfig) -> None:
    if len(config.features) == 6:  # the helper writes names of the published depth
        assert import_official(authors_file(tmp_path / "a.model", config)).config == config
    else:
        from uniseg_model.official import infer_config

        assert infer_config(tiny_checkpoint(0, config).weights) == config


def test_module_prefixes_are_dropped(tmp_path: Path) -> None:
    assert import_official(authors_file(tmp_path / "a.model", prefix="module.")).sha256 == tiny_checkpoint(3).sha256


def test_tensors_from_a_gpu_load_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.serialization.location_tag", lambda storage: "cuda:0")
    path = authors_file(tmp_path / "a.model")
    monkeypatch.undo()
    with zipfile.ZipFile(path) as archive:
        assert b"cuda:0" in archive.read("a/data.pkl")
    assert import_official(path).sha256 == tiny_checkpoint(3).sha256


def rewritten(path: Path, change: Any) -> Path:
    """The same zip with its pickle changed, and without the members that old versions of torch did not write."""
    new = path.with_name("rewritten.model")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(new, "w") as out:
        for name in old.namelist():
            if not name.endswith((".format_version", ".storage_alignment", "byteorder", "serialization_id")):
                out.writestr(name, change(old.read(name)) if name.endswith("data.pkl") else old.read(name))
    return new


def test_file_of_an_old_torch_and_numpy_2_loads(tmp_path: Path) -> None:
    path = rewritten(
        authors_file(tmp_path / "a.model"), lambda data: data.replace(b"numpy.core.multiarray", b"numpy._core.multiarray")
    )
    assert import_official(path).sha256 == tiny_checkpoint(3).sha256


def test_file_of_an_old_torch_and_numpy_1_loads(tmp_path: Path) -> None:
    path = rewritten(
        authors_file(tmp_path / "a.model"), lambda data: data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    )
    assert import_official(path).sha256 == tiny_checkpoint(3).sha256


class Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("echo gotcha > gotcha.txt",)


def test_pickle_that_wants_to_run_something_is_refused_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = authors_file(tmp_path / "a.model", extra=Evil())
    with pytest.raises(WeightsError, match=r"was refused: reading it would run (posix|nt)\.system"):
        import_official(path)
    assert not (tmp_path / "gotcha.txt").exists()


def test_companion_that_wants_to_run_something_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = authors_file(tmp_path / "a.model")
    (tmp_path / "a.model.pkl").write_bytes(pickle.dumps({"plans": Evil()}))
    with pytest.raises(WeightsError, match=r"wants to run (posix|nt)\.system"):
        import_official(path)
    assert not (tmp_path / "gotcha.txt").exists()


def companion(window: tuple[int, int, int]) -> bytes:
    plans = OrderedDict(plans_per_stage={0: {"patch_size": np.array(window)}}, spacing=[np.float64(1.5)])
    return pickle.dumps(OrderedDict(init=("/somewhere",), name="UniSeg_Trainer", plans=plans), protocol=4)


def test_fitting_companion_is_accepted(tmp_path: Path) -> None:
    path = authors_file(tmp_path / "a.model")
    (tmp_path / "a.model.pkl").write_bytes(companion(TINY.window))
    assert read_companion(tmp_path / "a.model.pkl")["name"] == "UniSeg_Trainer"
    assert import_official(path).config == TINY


def test_companion_of_another_network_is_refused(tmp_path: Path) -> None:
    path = authors_file(tmp_path / "a.model")
    (tmp_path / "a.model.pkl").write_bytes(companion((64, 192, 192)))
    with pytest.raises(WeightsError, match=r"plans windows of \(64, 192, 192\), the weights are for \(32, 64, 64\)"):
        import_official(path)


@pytest.mark.parametrize("content", [b"", b"\x80\x04K", b"hello", pickle.dumps([1, 2])])
def test_damaged_companion_is_refused(tmp_path: Path, content: bytes) -> None:
    path = authors_file(tmp_path / "a.model")
    (tmp_path / "a.model.pkl").write_bytes(content)
    with pytest.raises(WeightsError, match=r"the \.model file alone is enough"):
        import_official(path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = authors_file(tmp_path / "a.model")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(WeightsError, match="is truncated"):
        import_official(path)


def test_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="there is no file"):
        import_official(tmp_path / "none.model")


def test_zip_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "z.model", "w") as archive:
        archive.writestr("a.txt", "hello")
    with pytest.raises(WeightsError, match="is truncated or not a torch checkpoint"):
        import_official(tmp_path / "z.model")


@pytest.mark.parametrize("content", [{"weights": {}}, [1, 2], {"state_dict": {"a": "text"}}])
def test_other_content_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "o.model")
    with pytest.raises(WeightsError, match="holds no state_dict of tensors"):
        import_official(tmp_path / "o.model")


def test_other_architecture_is_refused_by_name(tmp_path: Path) -> None:
    torch.save({"state_dict": {"layer1.0.conv1.weight": torch.zeros(3)}}, tmp_path / "resnet.model")
    with pytest.raises(WeightsError, match=r"tensor 'layer1\.0\.conv1\.weight' does not belong"):
        import_official(tmp_path / "resnet.model")


def test_checkpoint_with_a_tensor_missing_is_refused(tmp_path: Path) -> None:
    state = OrderedDict((authors_name(name), tensor) for name, tensor in tiny_checkpoint(3).weights.items())
    del state["intermedia_prompt"]
    torch.save({"state_dict": state}, tmp_path / "a.model")
    with pytest.raises(WeightsError, match="'universal_prompt' is missing"):
        import_official(tmp_path / "a.model")


@pytest.mark.parametrize("name", ["tu.0.bias.weight", "conv_blocks_context.0.blocks.0.conv_3.weight", "seg_outputs"])
def test_unknown_tensor_names_are_refused(name: str) -> None:
    with pytest.raises(WeightsError, match="does not belong"):
        our_name(name)
