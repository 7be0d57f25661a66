"""One window in each engine: seconds side by side, and how far the answers lie apart.

    python -m benchmarks.engines [--network full|demo] [--threads 2] [--rounds 5] [--tasks 1] [--few]
    python -m benchmarks.engines --labels [IMAGE ...]        the demo weights on phantoms, and on scans: torch against OpenVINO

The engines take turns, and the best of all rounds counts, so that other work on the machine falls on all of them; where there is
much of it, the processor's own time with --threads 1 tells more than the clock. Differences
are those of class probabilities; of the demo network they are taken from the same network in float64, of the full-size one,
whose weights are random, from torch in float32.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import reference
from uniseg_model.checkpoint import Checkpoint, load_checkpoint, untrained
from uniseg_model.embedded import embedded_weights
from uniseg_model.engines import openvino_layers as layers
from uniseg_model.engines.choice import make_engine
from uniseg_model.engines.openvino_compiled import Compiler
from uniseg_model.engines.openvino_engine import OpenVINOEngine
from uniseg_model.engines.openvino_quietly import openvino
from uniseg_model.engines.torch_engine import TorchEngine
from uniseg_model.network.blocks import SLOPE
from uniseg_model.network.config import NetworkConfig
from uniseg_model.network.uniseg import UniSegNet

Compute = Callable[[Tensor, Sequence[int]], list[Tensor]]


def as_original(net: UniSegNet) -> Compute:
    """As the original's code computes: each task alone, joined maps in memory, every head of the deep supervision."""

    def compute(window: Tensor, places: Sequence[int]) -> list[Tensor]:
        with torch.no_grad():
            return [reference.logits(net, window, place).softmax(1) for place in places]

    return compute


def as_engine(engine: TorchEngine | OpenVINOEngine) -> Compute:
    return lambda window, places: engine.run(window, list(places), mirror=False, tick=lambda share: None)


def with_group_norm(net: UniSegNet, memory_format: torch.memory_format) -> Compute:
    """Torch with instance norm written as a group norm of one channel a group, which it has a faster loop for."""
    changed = _group_normed(copy.deepcopy(net)).to(memory_format=memory_format)
    compute = as_engine(TorchEngine(changed, "cpu"))
    return lambda window, places: compute(window.contiguous(memory_format=memory_format), places)


def _group_normed(module: nn.Module) -> nn.Module:
    for name, child in module.named_children():
        if isinstance(child, nn.InstanceNorm3d):
            norm = nn.GroupNorm(child.num_features, child.num_features, eps=child.eps)
            norm.weight, norm.bias = child.weight, child.bias
            setattr(module, name, norm)
        else:
            _group_normed(child)
    return module


def with_others(checkpoint: Checkpoint, **others: Any) -> Compute:
    """OpenVINO with other functions in place of those of its layers; nothing of it is kept on the disk."""
    nothing_kept = {"_read": lambda self, path: None, "_keep": lambda self, path, made: None}
    with mock.patch.multiple(layers, **others), mock.patch.multiple(Compiler, **nothing_kept):
        engine = OpenVINOEngine(checkpoint.network(), ["other"])
        engine.compile()
        return as_engine(engine)


def _by_mvn(x: layers.Map, norm: nn.InstanceNorm3d) -> layers.Map:
    """The norm as OpenVINO's own layer."""
    op = layers.op
    y = op.mvn(x.node, layers.axes(0), True, norm.eps, "inside_sqrt")
    y = op.add(op.multiply(y, layers.constant(norm.weight)), layers.constant(norm.bias))
    return layers.Map(op.prelu(y, op.constant(np.array([SLOPE], np.float32))), x.space, x.n)


def compare(network: str, threads: int, rounds: int, n_tasks: int, few: bool) -> None:
    """Print the table of one network."""
    torch.set_num_threads(threads)
    checkpoint = untrained(NetworkConfig()) if network == "full" else load_checkpoint(embedded_weights())
    net = checkpoint.base_network()
    window = torch.randn(1, 1, *net.config.window, generator=torch.Generator().manual_seed(0))
    places = list(range(n_tasks))
    ways: dict[str, Compute] = {"torch, as the original": as_original(net), "torch engine": as_engine(TorchEngine(net, "cpu"))}
    if not few:
        ways["torch, group norm"] = with_group_norm(net, torch.contiguous_format)
        ways["torch, group norm, channels last"] = with_group_norm(net, torch.channels_last_3d)
    began_s = time.perf_counter()
    ways["OpenVINO engine, float32"] = as_engine(make_engine(checkpoint, "openvino", "cpu", "float32")[0])  # type: ignore[arg-type]
    began_s, first_s = time.perf_counter(), time.perf_counter() - began_s
    make_engine(checkpoint, "openvino", "cpu", "float32")
    print(f"OpenVINO engine: made in {first_s:.1f} s, from the disk in {time.perf_counter() - began_s:.1f} s")
    if not few:
        ways["OpenVINO, convolutions without tiles"] = with_others(checkpoint, slices_of_tile=lambda z, n_channels: 1)
        ways["OpenVINO, its own MVN"] = with_others(checkpoint, normalised=_by_mvn)
    arithmetic = openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if "BF16" in arithmetic:
        ways["OpenVINO engine, bfloat16"] = as_engine(make_engine(checkpoint, "openvino", "cpu", "bfloat16")[0])  # type: ignore[arg-type]
    print(f"{openvino().Core().get_property('CPU', 'FULL_DEVICE_NAME')}: {', '.join(arithmetic)}; {threads} threads")
    best, answers = dict.fromkeys(ways, (np.inf, np.inf)), dict[str, list[Tensor]]()
    for _ in range(rounds):
        for name, compute in ways.items():
            began_s = time.perf_counter(), time.process_time()
            answers[name] = compute(window, places)
            taken_s = time.perf_counter() - began_s[0], time.process_time() - began_s[1]
            best[name] = tuple(map(min, best[name], taken_s))
    exact = _in_float64(net, window, places) if network == "demo" else answers["torch, as the original"]
    print(
        f"{f'{network}, {net.config.window}, {n_tasks} task(s)':37}{'seconds':>9}{'times':>7}{'CPU s':>9}{'times':>7}{'probability apart':>19}{'other labels':>14}"
    )
    first = best["torch, as the original"]
    for name, (wall_s, cpu_s) in best.items():
        apart = max(float((a - b).abs().max()) for a, b in zip(answers[name], exact, strict=True))
        others = sum(int((a.argmax(1) != b.argmax(1)).sum()) for a, b in zip(answers[name], exact, strict=True))
        share = others / sum(a[:, 0].numel() for a in exact)
        print(
            f"{name:37}{wall_s:9.2f}{first[0] / wall_s:7.2f}{cpu_s:9.2f}{first[1] / cpu_s:7.2f}{apart:19.1e}{share:14.4%}",
            flush=True,
        )


def _in_float64(net: UniSegNet, window: Tensor, places: Sequence[int]) -> list[Tensor]:
    return as_original(copy.deepcopy(net).double())(window.double(), places)


def work(network: str) -> None:
    """Print how many multiplications a window takes, and where they are."""
    from torch.utils.flop_counter import FlopCounterMode

    config = NetworkConfig() if network == "full" else load_checkpoint(embedded_weights()).config
    with torch.device("meta"):
        net, window = UniSegNet(config), torch.empty(1, 1, *config.window)
    counts = []
    with torch.no_grad():
        with FlopCounterMode(display=False) as counter:
            features = net.encode(window)
            prompts = net.prompts(features)
        counts.append(counter.get_total_flops())
        with FlopCounterMode(display=False) as counter:
            net.decode(features, prompts[:, :1])
        counts.append(counter.get_total_flops())
    sides = sum(2 * skip.numel() * skip.shape[1] * 27 for skip in features.skips)
    heads = 2 * config.features[0] * config.n_classes * int(np.prod(config.window))
    encoder, decoder = counts
    print(f"{network}: {sum(counts) / 1e9:.0f} GFLOP a window: encoder and fusion {encoder / sum(counts):.0%}, sides {sides / sum(counts):.0%}, "
          f"rest of the decoder {(decoder - sides) / sum(counts):.0%}, of which the head {heads / sum(counts):.2%}")  # fmt: skip


def labels(images: Sequence[Path]) -> None:
    """Print how far the demo weights' answers lie apart between torch and OpenVINO, on phantoms and scans."""
    from uniseg_model.io import read_volume
    from uniseg_model.phantom import make_phantom
    from uniseg_model.predictor import Predictor
    from uniseg_model.preprocess import Recipe
    from uniseg_model.progress import ignore_progress
    from uniseg_model.sliding import Sweep, sweep_windows

    checkpoint = load_checkpoint(embedded_weights())
    models = [Predictor(checkpoint, device="cpu", engine=name) for name in ("torch", "openvino")]
    cases = [(f"phantom, {key}", make_phantom(key, 101).volume, key) for key in ("liver", "prostate", "brain", "whole_body")]
    cases += [(path.name, read_volume(path), key) for path in images for key in _keys(path)]
    print(f"{'':37}{'voxels':>10}{'probability apart':>19}{'other labels':>14}{'largest margin of those':>25}")
    for name, volume, key in cases:
        task = checkpoint.tasks[key]
        prepared = models[0].open(volume).prepare(Recipe.of(task))
        sweep = Sweep((checkpoint.place(task),), (task.n_classes,))
        [a], [b] = (sweep_windows(model.engine, prepared.array, sweep, ignore_progress)[0] for model in models)
        second, best = np.sort(a, axis=0)[-2:]
        other = a.argmax(0) != b.argmax(0)
        margin = float((best - second)[other].max()) if other.any() else 0.0
        print(f"{name + ', ' + key:37}{other.size:10}{np.abs(a - b).max():19.1e}{other.sum():14}{margin:25.1e}", flush=True)


def _keys(path: Path) -> list[str]:
    return ["prostate"] if "mr" in path.name else ["liver", "spleen"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=("full", "demo"), default="full")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tasks", type=int, default=1)
    parser.add_argument("--few", action="store_true", help="leave out what was tried and dropped")
    parser.add_argument("--labels", nargs="*", type=Path, metavar="IMAGE")
    given = parser.parse_args()
    if given.labels is not None:
        torch.set_num_threads(given.threads)
        labels(given.labels)
        return
    work(given.network)
    with torch.inference_mode():
        compare(given.network, given.threads, given.rounds, given.tasks, given.few)


if __name__ == "__main__":
    main()
