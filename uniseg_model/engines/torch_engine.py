"""The reference engine: the network as it is, in torch, on a CPU or a CUDA GPU.

On a GPU mirrored copies of few windows are computed together, and the CPU is one decoding ahead of it: it cuts the next windows
meanwhile, and progress, which is told then, is never further ahead than that. Its speed is not measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import product

import torch
from torch import Tensor

from uniseg_model.cost import free_memory_gb
from uniseg_model.engines import Tick
from uniseg_model.engines.rules import PromptChoice, PromptRule, reader_of, rule_of
from uniseg_model.errors import DeviceError, OptionError
from uniseg_model.memory import is_out_of_memory
from uniseg_model.network.pack import PackedNet
from uniseg_model.network.sensitivity import sensitivity
from uniseg_model.network.uniseg import UniSegNet

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

Axes = tuple[int, ...]
FLIPS: list[Axes] = [  # axes to mirror: none first, then the seven other ways
    tuple(axis for axis, flip in zip((4, 3, 2), flips, strict=True) if flip) for flips in product((False, True), repeat=3)
]
_MOST_WINDOWS = 8  # at once: beyond it a GPU is full anyway
_SMALL_BYTES = 500e6  # of a window: see best_batch
_LIVE_MAPS = 10  # full-resolution feature maps alive at the decoder's end, counted generously


class TorchEngine:
    """One network on one device.

    device: ``auto`` (CUDA if there is one), ``cpu``, ``cuda`` or ``cuda:N``.
    precision: ``auto`` (float16 on CUDA, float32 on CPU) or a name of ``PRECISIONS``; softmax and sums are always float32.

    Raises:
        DeviceError: no such device here.
        OptionError: unknown precision, or float16 on a CPU.
    """

    def __init__(self, net: UniSegNet | PackedNet, device: str = "auto", precision: str = "auto") -> None:
        self.device = find_device(device)
        self.precision = _find_precision(precision, self.device)
        self.name = "torch"
        self.encoding = 0.35  # measured: 26 % of a window with one task
        self.window = net.config.window
        self._net = net.to(self.device)
        self._most_flips = len(FLIPS)  # at once; fewer after memory ran out
        self._asked: torch.cuda.Event | None = None  # the end of the last decoding that the GPU was asked for

    def best_batch(self) -> int:
        """On a CPU 1, or 2 of a small network; on a GPU as many as half of the free memory is likely to hold."""
        # torch leaves a lone small map (channels x Z x Y below 20480) to a loop that is five times slower than oneDNN; two go
        # to oneDNN together. Large windows gain little by it, and their memory would double.
        if self.device.type != "cuda":
            return 2 if self.window_bytes() < _SMALL_BYTES else 1
        return max(1, min(_MOST_WINDOWS, _free_gpu_bytes(self.device) // 2 // self.window_bytes()))

    def window_bytes(self) -> int:
        """See :meth:`Engine.window_bytes`."""
        return _LIVE_MAPS * self._net.config.features[0] * math.prod(self.window) * PRECISIONS[self.precision].itemsize

    def free_gb(self) -> float | None:
        """See :meth:`Engine.free_gb`."""
        return _free_gpu_bytes(self.device) / 1e9 if self.device.type == "cuda" else free_memory_gb()

    def run(self, windows: Tensor, prompts: Sequence[PromptChoice], *, mirror: bool, tick: Tick) -> list[Tensor]:
        """See :meth:`Engine.run`."""
        flips = FLIPS if mirror else FLIPS[:1]
        while True:
            at_once = min(len(flips), self._flips_at_once(len(windows)))
            try:
                return self._mean(windows, prompts, [flips[i : i + at_once] for i in range(0, len(flips), at_once)], tick)
            except Exception as exc:
                if at_once == 1 or not is_out_of_memory(exc):
                    raise
            self._most_flips = at_once // 2

    def _flips_at_once(self, n_windows: int) -> int:
        """Mirrored copies of so many windows that are computed together: on a GPU as many as it has room for, on a CPU one."""
        return min(self._most_flips, max(1, self.best_batch() // n_windows)) if self.device.type == "cuda" else 1

    def _mean(self, windows: Tensor, prompts: Sequence[PromptChoice], groups: list[list[Axes]], tick: Tick) -> list[Tensor]:
        """The mean over all groups of axes to mirror; those of a group are computed together."""
        rules = [(rule_of(choice), self._net.decoder_of(reader_of(choice))) for choice in prompts]
        n_flips, means = sum(map(len, groups)), list[Tensor]()
        with torch.inference_mode(), self._autocast():
            windows = self._there(windows)
            for i, group in enumerate(groups):
                features = self._net.encode(torch.cat([windows.flip(axes) for axes in group]))
                task_prompts = self._net.prompts(features).chunk(len(group))
                for j, (rule, decoder) in enumerate(rules):
                    chosen = torch.cat([rule.choose(own, axes) for own, axes in zip(task_prompts, group, strict=True)])
                    shares = decoder.decode(features, chosen).float().softmax(dim=1).chunk(len(group))
                    for axes, share in zip(group, shares, strict=True):
                        share = share.flip(axes) / n_flips
                        if len(means) == j:
                            means.append(share)
                        else:
                            means[j] += share
                    self._wait_for_last()
                    tick((i * len(rules) + j + 1) / (len(groups) * len(rules)))
        return means

    def _there(self, windows: Tensor) -> Tensor:
        """The windows on the device; nobody waits for a GPU to have them."""
        if self.device.type != "cuda" or windows.device.type != "cpu":
            return windows.to(self.device)
        return windows.pin_memory().to(self.device, non_blocking=True)

    def _wait_for_last(self) -> None:
        """Wait until a GPU has done all that it was asked for before the last decoding."""
        if self.device.type == "cuda":
            before, self._asked = self._asked, torch.cuda.current_stream(self.device).record_event()
            if before:
                before.synchronize()

    def prompts(self, windows: Tensor) -> Tensor:
        """See :meth:`Engine.prompts`."""
        with torch.inference_mode(), self._autocast():
            return self._net.prompts(self._net.encode(windows.to(self.device))).float()

    def sensitivity(self, windows: Tensor, rule: PromptRule, value: int) -> Tensor:
        """See :meth:`Engine.sensitivity`."""
        with self._autocast():
            with torch.no_grad():
                features = self._net.encode(windows.to(self.device))
                prompt = rule.choose(self._net.prompts(features), ())
            return sensitivity(self._net.decoder_of(reader_of(rule)), features, prompt, value)[:, 0].float()

    def _autocast(self) -> AbstractContextManager[object]:
        dtype = PRECISIONS[self.precision]
        return nullcontext() if dtype is torch.float32 else torch.autocast(self.device.type, dtype)


def _free_gpu_bytes(device: torch.device) -> int:
    free, _ = torch.cuda.mem_get_info(device)
    return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


def find_device(name: str) -> torch.device:
    """The device of that name; ``auto`` is CUDA if there is one.

    Raises:
        DeviceError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    n_gpus = torch.cuda.device_count()
    number = name.removeprefix("cuda").removeprefix(":") or "0"
    if not name.startswith("cuda") or not number.isdigit():
        raise DeviceError(f"the device must be auto, cpu, cuda or cuda:N, not {name!r}")
    if int(number) >= n_gpus:
        raise DeviceError(f"the device {name!r} is not here: torch {torch.__version__} sees {n_gpus} CUDA GPUs",
                          hint="Use --device cpu, or install a CUDA build of torch and the GPU's driver.")  # fmt: skip
    return torch.device("cuda", int(number))


def _find_precision(name: str, device: torch.device) -> str:
    if name == "auto":
        return "float16" if device.type == "cuda" else "float32"
    if name not in PRECISIONS:
        raise OptionError(f"the precision must be auto, {', '.join(PRECISIONS)}, not {name!r}")
    if name == "float16" and device.type == "cpu":
        raise OptionError("float16 needs a GPU, the device is cpu", hint="Use float32 or bfloat16.")
    return name
