"""The window. The one door of the command line into the napari plugin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uniseg_model.errors import FileFormatError, MissingPackageError

Images = Annotated[list[Path] | None, typer.Argument(metavar="[IMAGE]...", help="NIfTI files or DICOM folders to open.")]


def napari(images: Images = None) -> None:
    """Open napari with the Segment panel."""
    if missing := next((path for path in images or () if not path.exists()), None):
        raise FileFormatError(f"there is no file or folder {missing}", hint="Check the path.")
    try:
        from uniseg_app.napari_plugin.start import start
    except ImportError as exc:
        raise MissingPackageError(
            f"the window needs {exc.name}", hint="pip install 'uniseg-app[napari]' 'napari[pyqt6]'"
        ) from exc
    start(images or ())
