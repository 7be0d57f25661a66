"""What a user has chosen once and for all: a small TOML file in the place where the system keeps such files."""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_config_path

from uniseg_model.embedded import embedded_weights
from uniseg_model.errors import OptionError
from uniseg_model.files import make_folder, whole_file


@dataclass(frozen=True)
class Settings:
    """weights: the checkpoint to use when none is named."""

    weights: Path | None = None


def settings_path() -> Path:
    """``$UNISEG_SETTINGS``, or ``settings.toml`` in the user's configuration folder for ``uniseg``."""
    chosen = os.environ.get("UNISEG_SETTINGS")
    return Path(chosen) if chosen else user_config_path("uniseg", appauthor=False) / "settings.toml"


def read_settings() -> Settings:
    """The settings; without a file, the defaults.

    Raises:
        OptionError: the file is not TOML or has an unknown entry.
    """
    path = settings_path()
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Settings()
    except (OSError, ValueError) as exc:
        raise OptionError(f"the settings file {path} cannot be read: {exc}", hint="Mend it or remove it.") from exc
    if unknown := sorted(set(entries) - {"weights"}):
        raise OptionError(f"the settings file {path} has an unknown entry {unknown[0]!r}", hint="Known entries: weights.")
    if not isinstance(entries.get("weights", ""), str):
        raise OptionError(
            f"the settings file {path} gives weights as {entries['weights']!r}", hint="It must be a path in quotes."
        )
    return Settings(weights=Path(entries["weights"]).expanduser() if "weights" in entries else None)


def installed_weights() -> Path | None:
    """The weights of ``$UNISEG_WEIGHTS``, of the settings, or the embedded ones; None where there are none of these."""
    if chosen := os.environ.get("UNISEG_WEIGHTS"):
        return Path(chosen)
    embedded = embedded_weights()
    return read_settings().weights or (embedded if embedded.exists() else None)


def write_weights_setting(weights: Path) -> None:
    """Make a weights file the one to use when none is named; it is the only setting there is.

    Raises:
        OutputError: the settings cannot be written.
    """
    path = settings_path()
    make_folder(path.parent)
    with whole_file(path) as temporary:
        temporary.write_text(f"weights = {json.dumps(str(weights.absolute()), ensure_ascii=False)}\n", encoding="utf-8")
