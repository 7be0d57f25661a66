"""Where the weights lie that come with the program."""

from __future__ import annotations

from pathlib import Path


def embedded_weights() -> Path:
    """Where the demo weights lie in an installation or a checkout."""
    package = Path(__file__).parent
    installed, checkout = (place / "assets" / "demo.safetensors" for place in (package, package.parent))
    return installed if installed.exists() else checkout
