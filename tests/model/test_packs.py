"""Task packs: the old tasks stay the same to the bit, the new one is a task like any other, and no file is believed."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from packs_made import NEW, made_pack
from safetensors.torch import save
from tiny import TINY, ct_volume, tiny_checkpoint

from uniseg_model.checkpoint import Checkpoint
from uniseg_model.errors import TaskError, WeightsError
from uniseg_model.network.config import NetworkConfig
from uniseg_model.network.pack import LowRankConv, PackNet, own_shapes
from uniseg_model.options import Options
from uniseg_model.packs.certificate import Certificate, certify
from uniseg_model.packs.facts import MOST_BYTES, read_facts
from uniseg_model.packs.file import Pack, load_pack
from uniseg_model.predictor import Predictor, load_model
from uniseg_model.prompts.changes import Swap
from uniseg_model.prompts.learned import learned_prompts
from uniseg_model.tasks import Label


@pytest.fixture(scope="module")
def base() -> Checkpoint:
    return tiny_checkpoint()


@pytest.fixture(scope="module")
def pack(base: Checkpoint) -> Pack:
    return made_pack(base)


def test_old_tasks_are_bit_identical_and_the_certificate_says_so(base: Checkpoint, pack: Pack) -> None:
    other = made_pack(base, replace(NEW, key="bone"), rank=3, seed=1)
    found = certify(base.with_packs([pack, other]))
    assert found.before == found.after
    assert (len(found.before), len(set(found.before.values())), found.changed) == (11, 11, [])
    assert found.sentence() == "All 11 old tasks answer exactly as before, to the last bit, with gland, bone added."
    assert found.to_dict()["packs"] == {"gland": pack.sha256, "bone": other.sha256}


def test_a_certificate_tells_a_change() -> None:
    found = Certificate("b", {"gland": "p"}, {"liver": "1", "spleen": "2"}, {"liver": "1", "spleen": "3"})
    assert found.sentence() == "1 of 2 old tasks answer differently with gland added: spleen."
    assert found.to_dict()["unchanged"] is False


def test_answers_of_old_tasks_are_the_same_through_the_engine(base: Checkpoint, pack: Pack) -> None:
    windows = torch.randn(1, 1, *TINY.window, generator=torch.Generator().manual_seed(1))
    alone, packed = (Predictor(c, device="cpu").engine for c in (base, base.with_packs([pack])))
    before = alone.run(windows, list(range(11)), mirror=False, tick=lambda share: None)
    after = packed.run(windows, list(range(12)), mirror=False, tick=lambda share: None)
    assert all(torch.equal(a, b) for a, b in zip(before, after[:11], strict=True))
    assert after[11].shape[1] == 3  # as many classes as the new task has, not the base's four
    assert torch.equal(packed.prompts(windows)[:, :11], alone.prompts(windows))


def test_the_new_task_is_a_task_like_any_other(base: Checkpoint, pack: Pack, rng: np.random.Generator) -> None:
    checkpoint = base.with_packs([pack])
    assert list(checkpoint.tasks) == [*base.tasks, "gland"]
    assert (checkpoint.place(NEW), checkpoint.sha256) == (11, base.sha256)
    session = Predictor(checkpoint, device="cpu").open(ct_volume(rng))
    spleen, gland = session.segment(["spleen", "gland"])
    assert list(gland.volumes_ml()) == ["gland", "duct"]
    assert gland.record.weights["packs"] == [{"task": "gland", "sha256": pack.sha256, "licence": "CC0-1.0"}]
    [alone] = Predictor(base, device="cpu").open(ct_volume(rng)).segment(["spleen"])
    assert "packs" not in alone.record.weights
    merged, _ = session.segment_as_original(["liver", "gland"], Options(spacing_mm=(3.0, 3.0, 3.0)))
    assert [label.name for _, label in merged.structures.values()] == ["liver", "liver tumour", "gland", "duct"]
    assert spleen.labels.shape == gland.labels.shape


def test_the_prompt_inspector_knows_packs(base: Checkpoint, pack: Pack, rng: np.random.Generator) -> None:
    checkpoint = base.with_packs([pack])
    learned = learned_prompts(checkpoint)
    assert learned.array.shape == (12, *TINY.prompt_shape)
    assert np.array_equal(learned.array[11], pack.weights["prompt"][0, 0].numpy())
    session = Predictor(checkpoint, device="cpu").open(ct_volume(rng))
    [usual] = session.segment(["gland"])
    found = session.what_if("gland", Swap("liver"))
    assert np.array_equal(found.before.labels, usual.labels)  # read by the pack's decoder
    assert np.isfinite(session.saliency("gland", "duct").array).all()


def test_an_update_is_the_sum_of_two_convolutions_and_starts_as_nothing() -> None:
    conv = torch.nn.Conv3d(3, 4, 3, padding=1)
    updated, x = LowRankConv(conv, 2), torch.randn(1, 3, 5, 6, 7)
    assert torch.equal(updated(x), conv(x))
    torch.nn.init.normal_(updated.up)
    down = torch.nn.functional.conv3d(x, updated.down, padding=1)
    expected = conv(x) + torch.einsum("or,brzyx->bozyx", updated.up, down)
    torch.testing.assert_close(updated(x), expected, rtol=1e-4, atol=1e-5)


def test_only_the_packs_own_parts_learn(base: Checkpoint) -> None:
    net = PackNet(base.base_network(), 3, 2)
    learned = {name for name, weights in net.named_parameters() if weights.requires_grad}
    assert learned == set(net.own_state()) == set(own_shapes(base.config, 3, 2))
    net(torch.randn(1, 1, *TINY.window), torch.tensor([0])).sum().backward()
    assert all(weights.grad is None for name, weights in net.named_parameters() if name not in learned)


def test_sizes_of_packs() -> None:
    """Half precision: two bytes a number. Rank 4, one structure."""
    demo = NetworkConfig(window=(32, 96, 96), features=(8, 16, 32, 64, 80, 80))
    counts = [sum(int(np.prod(shape)) for shape in own_shapes(c, 2, 4).values()) for c in (demo, NetworkConfig())]
    assert 2 * counts[0] < 2**20
    assert 2 * counts[1] < 8 * 2**20
    assert counts == [139_795, 1_203_301]


def test_a_file_is_read_back(base: Checkpoint, pack: Pack, tmp_path: Path) -> None:
    path = tmp_path / "gland.pack.safetensors"
    pack.save(path)
    again = load_pack(path)
    assert again.facts == replace(pack.facts, sha256=again.sha256) == read_facts(path)
    assert again.facts.mean_dice == 0.9
    assert all(torch.equal(again.weights[name], tensor.half()) for name, tensor in pack.weights.items())
    base.save(tmp_path / "base.safetensors")
    model = load_model(tmp_path / "base.safetensors", packs=[path], device="cpu")
    assert "gland" in model.checkpoint.tasks
    model.checkpoint.save(tmp_path / "again.safetensors")  # without the pack, which has a file of its own
    assert "gland" not in load_model(tmp_path / "again.safetensors", device="cpu").checkpoint.tasks


def test_another_base_is_refused(pack: Pack) -> None:
    with pytest.raises(WeightsError, match=r"'gland' belongs to the weights 'untrained' \(\w{12}\), not to these"):
        tiny_checkpoint(1).with_packs([pack])


def test_a_key_that_is_taken_is_refused(base: Checkpoint, pack: Pack) -> None:
    with pytest.raises(TaskError, match=r"two tasks have the key 'liver'"):
        base.with_packs([made_pack(base, replace(NEW, key="liver"))])
    with pytest.raises(TaskError, match=r"two tasks have the key 'gland'"):
        base.with_packs([pack, pack])


def test_channels_that_the_base_does_not_take_are_refused(base: Checkpoint) -> None:
    three = replace(NEW, modalities=("CT", "CT", "CT"), intensity=("hu", "hu", "hu"))
    with pytest.raises(WeightsError, match=r"needs 3 channels, the base takes 1, 2, 4"):
        base.with_packs([made_pack(base, three)])


def with_weights(pack: Pack, change: Callable[[dict[str, torch.Tensor]], Any]) -> Pack:
    weights = dict(pack.weights)
    change(weights)
    return Pack(pack.facts, weights)


def test_weights_that_do_not_fit_are_refused(base: Checkpoint, pack: Pack) -> None:
    with pytest.raises(WeightsError, match=r"lacks 'prompt'"):
        base.with_packs([with_weights(pack, lambda w: w.pop("prompt"))])
    with pytest.raises(WeightsError, match=r"has a superfluous 'base.encoder'"):
        base.with_packs([with_weights(pack, lambda w: w.update({"base.encoder": torch.zeros(1)}))])
    with pytest.raises(WeightsError, match=r"'prompt' of the pack 'gland' has shape \(3,\)"):
        base.with_packs([with_weights(pack, lambda w: w.update({"prompt": torch.zeros(3)}))])


def header(**facts: object) -> bytes:
    text = json.dumps({"__metadata__": {"uniseg_pack": json.dumps(facts)}}).encode()
    return struct.pack("<Q", len(text)) + text


def bomb() -> bytes:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (exec, ("raise SystemExit('ran')",))

    return pickle.dumps(Bomb())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bomb(), r"is a pickle or torch file, which could run code"),
        (b"", r"is truncated or not a safetensors file"),
        (b"\x10\x00\x00", r"is truncated or not a safetensors file"),
        (struct.pack("<Q", 2**40) + b"{}", r"header of 1099511627776 bytes is longer than 1048576"),
        (struct.pack("<Q", 60) + b"[" * 60, r"is truncated or not a safetensors file"),
        (struct.pack("<Q", 900_000) + b"[" * 900_000, r"is truncated or not a safetensors file"),
        (struct.pack("<Q", 2) + b"{}", r"is no task pack: it does not describe one"),
        (struct.pack("<Q", 2) + b"[]", r"is no task pack: it does not describe one"),
        (header(format=2), r"has format 2, this version reads format 1"),
        (header(format=1), r"describes itself wrongly: 'task'"),
        (header(format=1, task={"key": "../../etc"}), r"describes itself wrongly"),
        (header(format=1, task=NEW.to_dict(), surprise=1), r"describes itself wrongly: .*surprise"),
    ],
)
def test_a_malicious_file_is_refused_with_one_sentence(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "evil.pack.safetensors"
    path.write_bytes(content)
    for read in (read_facts, load_pack):
        with pytest.raises(WeightsError, match=message):
            read(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rank": 10_000}, r"rank of a pack is a whole number from 1 to 64, not 10000"),
        ({"rank": True}, r"rank of a pack"),
        ({"base": "../x"}, r"hashes must be 64 hexadecimal digits"),
        ({"licence": "x" * 2001}, r"a text in the pack has 2001 characters"),
        ({"base_name": "a\x1b[2J"}, r"such as cannot be printed"),
        ({"task": replace(NEW, title="two\nlines")}, r"such as cannot be printed"),
        ({"task": replace(NEW, key="a" * 65)}, r"at most 64 characters"),
        (
            {"task": replace(NEW, labels=tuple(Label(str(i), "#000000") for i in range(256)))},
            r"255 structures, it has 5 and 256",
        ),
        ({"base_name": 7}, r"the base's name and the licence of a pack are texts, not 7 and 'CC0-1.0'"),
        ({"licence": ["a"]}, r"the base's name and the licence of a pack are texts"),
        ({"mirrored": "yes"}, r"trained on mirrored images or not, .* not 'yes' and dict"),
        ({"history": 5}, r"its history is a table, not False and int"),
        ({"dice": {"<b>": 0.5}}, r"the validation Dice of a pack is of its own structures, '<b>' is none of them"),
        ({"dice": {"gland": 7.0}}, r"Dice of a pack lies between 0 and 1"),
        ({"dice": {"gland": float("nan")}}, r"Dice of a pack lies between 0 and 1"),
    ],
)
def test_facts_outside_their_limits_are_refused(pack: Pack, change: dict[str, Any], message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        replace(pack.facts, **change)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("title", 5, r"words of task 'gland' must be text, 5 is none"),
        ("labels", [{"name": 5, "color": "#000000"}], r"must be text, 5 is none"),
        ("modalities", [["CT"]], r"must be text, \['CT'\] is none"),
        ("caution", {"a": 1}, r"must be text, {'a': 1} is none"),
        ("window_hu", [float("nan"), 5], r"must be two grey values, the lower first, it is \(nan, 5\)"),
        ("window_hu", [400, -100], r"must be two grey values, the lower first"),
        ("window_hu", "ab", r"must be two grey values, the lower first"),
        ("spacing_mm", ["3", 1, 1], r"describes itself wrongly"),
        ("spacing_mm", [0, 1, 1], r"three numbers between 0 and 100 mm"),
        ("key", "a/../b", r"must be lower-case letters"),
    ],
)
def test_a_task_that_would_break_a_page_is_refused(field: str, value: Any, message: str, pack: Pack, tmp_path: Path) -> None:
    path = tmp_path / "evil.pack.safetensors"
    facts = pack.facts.to_dict()
    path.write_bytes(header(**{**facts, "task": {**facts["task"], field: value}}))
    with pytest.raises(WeightsError, match=message):
        read_facts(path)


def test_weights_that_lie_outside_of_the_file_are_refused(pack: Pack, tmp_path: Path) -> None:
    path = tmp_path / "evil.pack.safetensors"
    told = {"uniseg_pack": json.dumps(pack.facts.to_dict())}
    for offsets in ([0, 2**40], [-4, 0], [4, 0]):
        tensor = {"dtype": "F32", "shape": [1], "data_offsets": offsets}
        text = json.dumps({"__metadata__": told, "prompt": tensor}).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + b"1234")
        with pytest.raises(WeightsError, match=r"truncated or not a safetensors file"):
            load_pack(path)


def test_damage_is_told(pack: Pack, tmp_path: Path) -> None:
    path = tmp_path / "gland.pack.safetensors"
    pack.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(WeightsError, match=r"truncated or not a safetensors file"):
        load_pack(path)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(WeightsError, match=r"is damaged: its weights have SHA-256 \w{64}, written was \w{64}"):
        load_pack(path)
    described = {"uniseg_pack": json.dumps(pack.facts.to_dict())}
    path.write_bytes(save({"prompt": torch.full((2,), torch.nan)}, described))
    with pytest.raises(WeightsError, match=r"'prompt' holds values that are not numbers"):
        load_pack(path)
    path.write_bytes(save({"prompt": torch.zeros(2, dtype=torch.int64)}, described))
    with pytest.raises(WeightsError, match=r"'prompt' holds torch.int64, weights are float16 or float32"):
        load_pack(path)


def test_a_file_that_is_too_large_is_not_even_opened(tmp_path: Path) -> None:
    path = tmp_path / "large.pack.safetensors"
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)  # sparse
    with pytest.raises(WeightsError, match=r"has 64 MB, a pack has at most 64 MB.*--weights"):
        read_facts(path)
    with pytest.raises(WeightsError, match=r"there is no pack file"):
        read_facts(tmp_path / "none")
