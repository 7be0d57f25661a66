"""Which engine computes a network: asked for by name, or the fastest that is here."""

from __future__ import annotations

import os

from uniseg_model.checkpoint import Checkpoint
from uniseg_model.engines import Engine
from uniseg_model.engines.openvino_quietly import is_installed
from uniseg_model.engines.torch_engine import TorchEngine, find_device
from uniseg_model.errors import MissingPackageError, OptionError, UniSegError

ENGINES = ("auto", "torch", "openvino")


def make_engine(checkpoint: Checkpoint, engine: str, device: str, precision: str) -> tuple[Engine, str]:
    """An engine for these weights, and what is to be said of the choice; mostly nothing.

    engine: ``torch``; ``openvino``, which computes on the CPU; or ``auto``: ``$UNISEG_ENGINE``, else OpenVINO where it is
        installed and the device is the CPU, else torch. Where ``auto`` finds that OpenVINO cannot compute it, torch does.

    Raises:
        OptionError: no such engine, one that does not go with device or precision, or OpenVINO cannot compute the network.
        MissingPackageError: OpenVINO is asked for and not installed. DeviceError: no such device here.
    """
    chosen = os.environ.get("UNISEG_ENGINE", engine) if engine == "auto" else engine
    if chosen not in ENGINES:
        raise OptionError(f"the engine must be {', '.join(ENGINES[:-1])} or {ENGINES[-1]}, not {chosen!r}")
    if chosen == "openvino":
        if device not in ("auto", "cpu"):
            raise OptionError(
                f"OpenVINO computes on the CPU, the device is {device}", hint="Use --device cpu, or --engine torch."
            )
        return _in_openvino(checkpoint, precision), ""
    if chosen == "torch" or find_device(device).type != "cpu" or not is_installed():
        return TorchEngine(checkpoint.network(), device, precision), ""
    try:
        return _in_openvino(checkpoint, precision), ""
    except UniSegError as exc:
        return TorchEngine(checkpoint.network(), device, precision), f"torch computes, not OpenVINO: {exc.message}"


def _in_openvino(checkpoint: Checkpoint, precision: str) -> Engine:
    if not is_installed():
        raise MissingPackageError("OpenVINO is not installed", hint="pip install 'uniseg-app[cpu]', or use --engine torch.")
    from uniseg_model.engines.openvino_engine import OpenVINOEngine

    weights = [checkpoint.sha256, *(pack.sha256 for pack in checkpoint.packs)]
    engine = OpenVINOEngine(checkpoint.network(), weights, precision)
    try:
        engine.compile()
    except RuntimeError as exc:
        why = str(exc).partition("\n")[0]
        raise OptionError(f"OpenVINO cannot compute this network: {why}", hint="Use --engine torch.") from exc
    return engine
