"""The only place that imports OpenVINO: so that it sends nothing.

OpenVINO's package reports its own import, and each conversion, to its makers' server through ``openvino_telemetry``. Where
that package is missing, it has a stand-in that does nothing; so it is made to look missing while OpenVINO is imported.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

from uniseg_model.errors import MissingPackageError

_TELEMETRY = "openvino_telemetry"


def is_installed() -> bool:
    """Whether OpenVINO is there; it is not loaded for that."""
    return "openvino" in sys.modules or importlib.util.find_spec("openvino") is not None


def openvino() -> ModuleType:
    """The package.

    Raises:
        MissingPackageError: it is not installed, or cannot be loaded.
    """
    loaded = sys.modules.get("openvino")
    return loaded if loaded is not None else _imported()


def _imported() -> ModuleType:
    known = sys.modules.get(_TELEMETRY)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # Python's own sign for "cannot be imported"
    try:
        return importlib.import_module("openvino")
    except (ImportError, OSError) as exc:
        raise MissingPackageError(
            f"OpenVINO cannot be loaded: {exc}", hint="pip install 'uniseg-app[cpu]', or use --engine torch."
        ) from exc
    finally:
        if known is None:
            del sys.modules[_TELEMETRY]
        else:
            sys.modules[_TELEMETRY] = known
