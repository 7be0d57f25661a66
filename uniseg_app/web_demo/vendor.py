"""Where the script of the browser viewer NiiVue is found, and the route that serves it."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, Response

from uniseg_model.errors import MissingPackageError, OptionError
from uniseg_model.files import file_sha256

VARIABLE = "UNISEG_NIIVUE"
VERSION = "0.69.0"  # the one that hatch_build.py fetches
_PACKAGED = Path(__file__).with_name("static") / "vendor" / f"niivue-{VERSION}.umd.js"
_IN_NILEARN = Path("_assets", "js", "niivue.umd.js")  # from nilearn 0.14 on, a little older


def niivue_script() -> Path:
    """NiiVue's script: that of the environment variable, else the package's own, else nilearn's.

    Raises:
        OptionError: the variable names no file. MissingPackageError: it is in none of these places.
    """
    if named := os.environ.get(VARIABLE):
        if not Path(named).is_file():
            raise OptionError(f"${VARIABLE} is {named!r}, which is no file", hint="Let it name niivue.umd.js, or unset it.")
        return Path(named)
    for script in (_PACKAGED, _nilearn_script()):
        if script and script.is_file():
            return script
    raise MissingPackageError(
        f"the browser viewer NiiVue {VERSION} is not part of this installation",
        hint=f"Install uniseg-app again with a network, or pip install 'nilearn>=0.14', or set {VARIABLE} to a niivue.umd.js.",
    )


def serve_niivue(app: FastAPI) -> str:
    """Let an app serve the script, and return its URL there; the URL changes with the content, so browsers may keep it for ever.

    Raises:
        OptionError, MissingPackageError: see :func:`niivue_script`.
    """
    script = niivue_script()
    url = f"/vendor/niivue-{file_sha256(script)[:16]}.js"
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}

    def send() -> Response:
        return FileResponse(script, media_type="text/javascript", headers=headers)

    app.add_api_route(url, send, include_in_schema=False)
    return url


def _nilearn_script() -> Path | None:
    spec = find_spec("nilearn")
    return Path(spec.origin).parent / _IN_NILEARN if spec and spec.origin else None
