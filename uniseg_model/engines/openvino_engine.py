"""The engine for CPUs: the same network, computed by OpenVINO, with the same labels in less time (benchmarks/README.md)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from uniseg_model.cost import free_memory_gb
from uniseg_model.engines import Tick
from uniseg_model.engines.openvino_compiled import HINTS, Compiler, processor
from uniseg_model.engines.openvino_quietly import openvino
from uniseg_model.engines.rules import PromptChoice, PromptRule, reader_of, rule_of
from uniseg_model.engines.torch_engine import FLIPS, TorchEngine
from uniseg_model.errors import ModalityError, OptionError
from uniseg_model.network.pack import PackedNet
from uniseg_model.network.uniseg import Decoder, UniSegNet

if TYPE_CHECKING:
    from openvino import InferRequest, Model

_LIVE_MAPS = 9  # full-resolution feature maps that a window takes beside the compiled graphs: 8.0 measured


class OpenVINOEngine:
    """One network on the CPU.

    weights: SHA-256 of the network's weights and of each pack's, in order; compiled graphs are kept on disk under them.
    precision: ``auto`` (float32), ``float32`` or ``bfloat16``. Threads are as many as torch has.

    Raises:
        OptionError: another precision, or bfloat16 on a processor without it. MissingPackageError: no OpenVINO here.
    """

    def __init__(self, net: UniSegNet | PackedNet, weights: Sequence[str], precision: str = "auto") -> None:
        self.precision = _find_precision(precision)
        self.device = torch.device("cpu")
        self.name = "openvino"
        self.encoding = (
            0.9  # measured: 1.0 for the demo network, 0.8 for a full-size one; the skips' half of the decoder is in it
        )
        self.window = net.config.window
        self._net = net
        self._compiler = Compiler(weights, self.precision, torch.get_num_threads())
        self._requests: dict[str, InferRequest] = {}

    def best_batch(self) -> int:
        """One: a window fills the processor, and its answers can be had one by one."""
        return 1

    def window_bytes(self) -> int:
        """See :meth:`Engine.window_bytes`."""
        return _LIVE_MAPS * self._net.config.features[0] * math.prod(self.window) * 4

    def free_gb(self) -> float | None:
        """See :meth:`Engine.free_gb`."""
        return free_memory_gb()

    def compile(self) -> None:
        """Compile the graphs of the weights' own tasks now, for images with the first number of channels."""
        self._encoder(self._net.config.stems[0], (0,))
        self._decoder(0)

    def run(self, windows: Tensor, prompts: Sequence[PromptChoice], *, mirror: bool, tick: Tick) -> list[Tensor]:
        """See :meth:`Engine.run`."""
        flips = FLIPS if mirror else FLIPS[:1]
        total = len(windows) * len(flips) * len(prompts)
        means = [list[Tensor]() for _ in prompts]
        with torch.inference_mode():
            for done, (window, axes) in enumerate((window, axes) for window in _one_by_one(windows) for axes in flips):
                for j, share in enumerate(self._decoded(window, prompts, axes)):
                    if axes:
                        means[j][-1] += share.flip(axes) / len(flips)
                    else:
                        means[j].append(share / len(flips))
                    tick((done * len(prompts) + j + 1) / total)
            return [torch.cat(mean) if len(mean) > 1 else mean[0] for mean in means]

    def prompts(self, windows: Tensor) -> Tensor:
        """See :meth:`Engine.prompts`."""
        with torch.inference_mode():
            encoder = self._encoder(windows.shape[1], ())
            return torch.cat([_answer(_infer(encoder, window), 0).clone() for window in _one_by_one(windows)])

    def sensitivity(self, windows: Tensor, rule: PromptRule, value: int) -> Tensor:
        """See :meth:`Engine.sensitivity`; OpenVINO has no gradients, so torch computes them."""
        return self._in_torch.sensitivity(windows, rule, value)

    @cached_property
    def _in_torch(self) -> TorchEngine:
        return TorchEngine(self._net, "cpu", self.precision)

    def _decoded(self, window: Tensor, prompts: Sequence[PromptChoice], axes: tuple[int, ...]) -> Iterator[Tensor]:
        """The class probabilities of a window mirrored along ``axes``, a prompt after the other; each is gone when the next comes."""
        numbers = [self._decoder_number(reader_of(choice)) for choice in prompts]
        decoders = tuple(sorted(set(numbers)))
        encoder = _infer(self._encoder(window.shape[1], decoders), window.flip(axes))
        n_levels = len(self._net.config.strides)
        bottleneck, task_prompts = n_levels * len(decoders), _answer(encoder, n_levels * len(decoders) + 1)
        for number, choice in zip(numbers, prompts, strict=True):
            first = n_levels * decoders.index(number)
            decoder = self._decoder(number)
            for i, answer in enumerate([*range(first, first + n_levels), bottleneck]):
                decoder.set_input_tensor(i, encoder.get_output_tensor(answer))
            yield _answer(_infer(decoder, rule_of(choice).choose(task_prompts, axes), n_levels + 1), 0)

    def _decoder_number(self, place: int) -> int:
        """0 for the weights' own decoder, then one a pack."""
        return max(0, place - self._net.config.n_tasks + 1)

    def _encoder(self, n_channels: int, decoders: tuple[int, ...]) -> InferRequest:
        if n_channels not in self._net.config.stems:
            known = ", ".join(map(str, self._net.config.stems))
            raise ModalityError(f"the network takes {known} channels, the image has {n_channels}")
        parts = [self._part(number) for number in decoders]
        name = f"encoder of {n_channels} channels for decoders {decoders}"
        return self._request(name, lambda graphs: graphs.encoder_graph(self._net, n_channels, parts))

    def _decoder(self, number: int) -> InferRequest:
        return self._request(f"decoder {number}", lambda graphs: graphs.decoder_graph(self._net, self._part(number)))

    def _part(self, number: int) -> Decoder:
        return self._net.decoder_of(self._net.config.n_tasks + number - 1 if number else 0)

    def _request(self, name: str, build: Callable[[ModuleType], Model]) -> InferRequest:
        """The graph of that name, compiled once."""
        if name not in self._requests:
            from uniseg_model.engines import openvino_graphs

            self._requests[name] = self._compiler.compiled(name, lambda: build(openvino_graphs)).create_infer_request()
        return self._requests[name]


def _one_by_one(windows: Tensor) -> list[Tensor]:
    return [windows[i : i + 1] for i in range(len(windows))]


def _infer(request: InferRequest, values: Tensor, place: int = 0) -> InferRequest:
    """Compute, with these values as the input at ``place``."""
    request.get_input_tensor(place).data[:] = values.numpy()
    request.infer()
    return request


def _answer(request: InferRequest, place: int) -> Tensor:
    """An output, not copied: the next computation overwrites it."""
    return torch.from_numpy(request.get_output_tensor(place).data)


def _find_precision(name: str) -> str:
    name = "float32" if name == "auto" else name
    if name not in HINTS:
        raise OptionError(f"the precision under OpenVINO must be auto, {' or '.join(HINTS)}, not {name!r}", hint="Or use --engine torch.")  # fmt: skip
    title, *arithmetic = processor(openvino().Core())
    if name == "bfloat16" and "BF16" not in arithmetic:
        raise OptionError(f"bfloat16 needs a processor with AVX512_BF16 or AMX, this one ({title}) computes in {', '.join(arithmetic)}",
                          hint="Use float32, which is faster here.")  # fmt: skip
    return name
