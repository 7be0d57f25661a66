"""The OpenVINO engine answers as torch does, outside ties; and it sends nothing and survives a damaged cache."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from packs_made import made_pack
from tiny import TINY, ct_volume, tiny_checkpoint

from uniseg_model.checkpoint import Checkpoint
from uniseg_model.engines import Engine, choice
from uniseg_model.engines.choice import make_engine
from uniseg_model.engines.openvino_quietly import is_installed, openvino
from uniseg_model.engines.rules import Given, Mixed, PromptChoice, Read, Shuffled
from uniseg_model.engines.torch_engine import TorchEngine
from uniseg_model.errors import MissingPackageError, ModalityError, OptionError
from uniseg_model.options import Options
from uniseg_model.predictor import Predictor
from uniseg_model.progress import Cancelled

if not is_installed():
    pytest.skip('OpenVINO is not installed: pip install "uniseg-app[cpu]"', allow_module_level=True)

TIED = 2e-5


@pytest.fixture(scope="module")
def packed() -> Checkpoint:
    base = tiny_checkpoint()
    return base.with_packs([made_pack(base)])


@pytest.fixture(scope="module")
def both(packed: Checkpoint) -> tuple[Engine, Engine]:
    """OpenVINO and torch."""
    return engine(packed, "openvino"), engine(packed, "torch")


def engine(checkpoint: Checkpoint, name: str) -> Engine:
    return make_engine(checkpoint, name, "cpu", "auto")[0]


def windows(n: int = 1, channels: int = 1) -> torch.Tensor:
    return torch.randn(n, channels, *TINY.window, generator=torch.Generator().manual_seed(n + channels))


def answers(of: Engine, given: torch.Tensor, prompts: Sequence[PromptChoice], mirror: bool = False) -> list[np.ndarray]:
    return [answer.numpy() for answer in of.run(given, prompts, mirror=mirror, tick=lambda share: None)]


def assert_equal(found: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    """The same labels wherever the two best classes are further apart than a tie, and nearly the same probabilities."""
    for a, b in zip(found, wanted, strict=True):
        assert a.shape == b.shape
        assert a.dtype == np.float32
        second, best = np.sort(b, axis=1)[:, -2:].swapaxes(0, 1)
        clear = best - second > TIED
        assert clear.mean() > 0.99
        assert np.array_equal(a.argmax(1)[clear], b.argmax(1)[clear])
        assert np.abs(a - b).max() < TIED


@pytest.mark.parametrize(("channels", "places"), [(1, [0, 6]), (2, [10]), (4, [9])])
def test_every_stem_and_task_answers_as_in_torch(both: tuple[Engine, Engine], channels: int, places: list[int]) -> None:
    assert_equal(*(answers(of, windows(channels=channels), places) for of in both))


def test_a_batch_of_two_mirrored_answers_as_in_torch(both: tuple[Engine, Engine]) -> None:
    found, wanted = (answers(of, windows(2), [0, 6], mirror=True) for of in both)
    assert_equal(found, wanted)
    assert np.abs(found[0] - found[1]).max() > 0.01  # another task is another answer


def test_a_pack_answers_as_in_torch_beside_the_others_and_alone(both: tuple[Engine, Engine]) -> None:
    for places in ([11], [11, 0], [0, 11, 6]):
        assert_equal(*(answers(of, windows(), places) for of in both))


@pytest.mark.parametrize("rule", [
    Mixed(((0, 0.5), (6, 0.5))), Mixed(), Shuffled(3, 7), Given(np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 2, 2)), Read(Mixed(((0, 1.0),)), 11),
], ids=["mixed", "none", "shuffled", "given", "a pack reads another's"])  # fmt: skip
def test_rules_of_prompts_are_heard(both: tuple[Engine, Engine], rule: PromptChoice) -> None:
    assert_equal(*(answers(of, windows(), [rule, 0], mirror=isinstance(rule, Shuffled)) for of in both))


def test_prompts_and_their_sensitivity_are_torchs(both: tuple[Engine, Engine]) -> None:
    found, wanted = (of.prompts(windows(2)) for of in both)
    assert found.shape == (2, 12, 2, 2, 2)  # eleven tasks and the pack's
    torch.testing.assert_close(found, wanted, atol=TIED, rtol=0)
    rule = Mixed(((6, 1.0),))
    assert torch.equal(*(of.sensitivity(windows(), rule, 1) for of in both))


def test_ticks_come_after_each_decoding_and_can_end_the_run(both: tuple[Engine, Engine]) -> None:
    ticks: list[float] = []

    def tick(share: float) -> None:
        ticks.append(share)
        if share >= 0.5:
            raise Cancelled

    with pytest.raises(Cancelled):
        both[0].run(windows(2), [0, 6], mirror=False, tick=tick)
    assert ticks == [0.25, 0.5]
    assert_equal(*(answers(of, windows(2), [0, 6]) for of in both))  # nothing is left of it


def test_other_numbers_of_channels_are_refused(both: tuple[Engine, Engine]) -> None:
    with pytest.raises(ModalityError, match=r"takes 1, 2, 4 channels, the image has 3"):
        answers(both[0], windows(channels=3), [0])


def test_labels_of_a_scan_are_torchs_and_the_record_says_what_computed_them(rng: np.random.Generator) -> None:
    volume = ct_volume(rng)
    models = [Predictor(tiny_checkpoint(), device="cpu", engine=name) for name in ("openvino", "torch")]
    found, wanted = (model.open(volume).segment(["liver", "spleen"], Options(confidence=True)) for model in models)
    for a, b in zip(found, wanted, strict=True):
        assert b.margin is not None
        assert np.array_equal(a.labels[b.margin > 0], b.labels[b.margin > 0])
    facts = found[0].record.to_dict()
    assert facts["engine"] == {"name": "openvino", "device": "cpu", "precision": "float32", "threads": torch.get_num_threads()}
    assert facts["versions"]["openvino"].startswith("20")
    assert wanted[0].record.engine["name"] == "torch"


def test_folds_are_averaged_as_in_torch() -> None:
    first, second = tiny_checkpoint(0), tiny_checkpoint(1)
    found, wanted = (Predictor(first, folds=[second], device="cpu", engine=name).engine for name in ("openvino", "torch"))
    assert_equal(*(answers(of, windows(), [0]) for of in (found, wanted)))
    assert found.name == "openvino, mean of 2 networks"


# Which engine


def test_auto_takes_openvino_on_a_cpu_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_engine(tiny_checkpoint(), "auto", "cpu", "auto")[0].name == "torch"  # as the tests' environment says
    monkeypatch.delenv("UNISEG_ENGINE")
    assert make_engine(tiny_checkpoint(), "auto", "cpu", "auto")[0].name == "openvino"
    monkeypatch.setattr(choice, "is_installed", lambda: False)
    assert make_engine(tiny_checkpoint(), "auto", "cpu", "auto")[0].name == "torch"
    with pytest.raises(
        MissingPackageError, match=r"OpenVINO is not installed\. pip install 'uniseg-app\[cpu\]', or use --engine"
    ):
        make_engine(tiny_checkpoint(), "openvino", "cpu", "auto")


def test_what_openvino_cannot_compute_goes_to_torch_and_the_record_says_so(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    from uniseg_model.engines.openvino_engine import OpenVINOEngine

    def fail(self: OpenVINOEngine) -> None:
        raise RuntimeError("no such layer\nat line 7")

    monkeypatch.setattr(OpenVINOEngine, "compile", fail)
    monkeypatch.delenv("UNISEG_ENGINE")
    model = Predictor(tiny_checkpoint(), device="cpu")
    assert isinstance(model.engine, TorchEngine)
    [answer] = model.open(ct_volume(rng)).segment(["spleen"])
    assert "torch computes, not OpenVINO: OpenVINO cannot compute this network: no such layer" in answer.record.notes
    with pytest.raises(OptionError, match=r"OpenVINO cannot compute this network: no such layer\. Use --engine torch"):
        make_engine(tiny_checkpoint(), "openvino", "cpu", "auto")


@pytest.mark.parametrize(("device", "precision", "match"), [
    ("cuda", "auto", r"OpenVINO computes on the CPU, the device is cuda\. Use --device cpu, or --engine torch"),
    ("cpu", "float16", r"precision under OpenVINO must be auto, float32 or bfloat16, not 'float16'"),
])  # fmt: skip
def test_what_does_not_go_with_openvino_is_refused(device: str, precision: str, match: str) -> None:
    with pytest.raises(OptionError, match=match):
        make_engine(tiny_checkpoint(), "openvino", device, precision)


def test_bfloat16_is_refused_where_the_processor_has_none_and_agrees_where_it_has() -> None:
    if "BF16" not in openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(OptionError, match=r"bfloat16 needs a processor with AVX512_BF16 or AMX, this one \(.*FP32"):
            make_engine(tiny_checkpoint(), "openvino", "cpu", "bfloat16")
        return
    half = make_engine(tiny_checkpoint(), "openvino", "cpu", "bfloat16")[0]
    [a], [b] = (answers(of, windows(), [0]) for of in (half, engine(tiny_checkpoint(), "torch")))
    assert np.mean(a.argmax(1) == b.argmax(1)) > 0.95


# What is kept on the disk


def test_compiled_graphs_are_kept_and_a_damaged_one_is_made_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from uniseg_model.engines import openvino_graphs

    monkeypatch.setenv("UNISEG_CACHE", str(tmp_path))
    built: list[str] = []
    build = openvino_graphs.decoder_graph
    monkeypatch.setattr(openvino_graphs, "decoder_graph", lambda *given: built.append("decoder") or build(*given))
    checkpoint = tiny_checkpoint()
    first = answers(engine(checkpoint, "openvino"), windows(), [0])
    folder = tmp_path / "openvino" / f"{checkpoint.sha256[:16]}-{torch.get_num_threads()}"
    assert sorted(path.name.split("-")[0] for path in folder.iterdir()) == ["decoder", "encoder"]
    assert np.array_equal(answers(engine(checkpoint, "openvino"), windows(), [0])[0], first[0])
    assert built == ["decoder"]
    [kept] = folder.glob("decoder-*")
    content = bytearray(kept.read_bytes())
    content[len(content) // 2] ^= 255
    for damaged in (bytes(content), content[:20]):
        kept.write_bytes(damaged)
        assert np.array_equal(answers(engine(checkpoint, "openvino"), windows(), [0])[0], first[0])
    assert built == ["decoder"] * 3
    engine(tiny_checkpoint(1), "openvino")
    assert len(built) == 4  # other weights are other graphs


def test_without_a_place_to_keep_them_everything_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("UNISEG_CACHE", str(tmp_path / "file"))
    assert answers(engine(tiny_checkpoint(), "openvino"), windows(), [0])[0].shape == (1, 4, *TINY.window)


def test_the_oldest_folders_go(tmp_path: Path) -> None:
    from uniseg_model.engines.openvino_compiled import forget_old

    for age, name in enumerate("abcdefghij"):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    forget_old(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [*"abcdefgh"]


# Nobody is spoken to

OFFLINE = """
import socket, sys
asked = []
def ask(*arguments, **more):
    asked.append(arguments)
    raise OSError("no network here")
socket.getaddrinfo = socket.socket.connect = ask
import torch
from tiny import TINY, tiny_checkpoint
from uniseg_model.engines.choice import make_engine
engine, _ = make_engine(tiny_checkpoint(), "openvino", "cpu", "auto")
engine.run(torch.zeros(1, 1, *TINY.window), [0], mirror=False, tick=lambda share: None)
assert not [name for name in sys.modules if name.startswith("openvino_telemetry")]
import time
time.sleep(0.5)  # a report would be sent by a thread
assert not asked, asked
"""


def test_openvino_reports_to_nobody(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE], capture_output=True, text=True, timeout=300, cwd=Path(__file__).parents[1],
        env={**os.environ, "HOME": str(tmp_path), "UNISEG_CACHE": str(tmp_path / "cache")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]  # nor is anybody counted
