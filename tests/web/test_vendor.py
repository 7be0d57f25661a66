"""Where the viewer's script comes from: the build, and the three places it is looked for."""

from __future__ import annotations

import importlib.util
import subprocess
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest

from uniseg_model.errors import MissingPackageError, OptionError

ROOT = Path(__file__).parents[2]


def needs(*packages: str) -> pytest.MarkDecorator:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The module, with nothing to be found yet."""
    from uniseg_app.web_demo import vendor

    monkeypatch.delenv(vendor.VARIABLE, raising=False)
    monkeypatch.setattr(vendor, "_PACKAGED", tmp_path / "packaged.js")
    monkeypatch.setattr(vendor, "find_spec", lambda name: None)
    return vendor


@needs("fastapi")
def test_the_variable_goes_before_the_package_and_that_before_nilearn(
    vendor: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(MissingPackageError, match=r"NiiVue .* is not part of this installation\. Install uniseg-app again"):
        vendor.niivue_script()
    other = tmp_path / "nilearn" / "_assets" / "js" / "niivue.umd.js"
    other.parent.mkdir(parents=True)
    own, named = tmp_path / "packaged.js", tmp_path / "named.js"
    monkeypatch.setattr(vendor, "find_spec", lambda name: ModuleSpec(name, None, origin=str(tmp_path / name / "__init__.py")))
    for script in (other, own, named):
        script.write_text("js")
        if script is named:
            monkeypatch.setenv(vendor.VARIABLE, str(named))
        assert vendor.niivue_script() == script


@needs("fastapi")
def test_a_variable_that_names_nothing_is_an_error(vendor: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(vendor.VARIABLE, "/no/such/niivue.js")
    with pytest.raises(OptionError, match=r"\$UNISEG_NIIVUE is '/no/such/niivue.js', which is no file"):
        vendor.niivue_script()


@needs("fastapi", "httpx")
def test_the_script_is_served_under_a_name_that_changes_with_it(vendor: ModuleType, tmp_path: Path) -> None:
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    urls = []
    for content in ("one", "two"):
        (tmp_path / "packaged.js").write_text(content)
        app = FastAPI()
        urls.append(vendor.serve_niivue(app))
        answer = TestClient(app).get(urls[-1])
        assert (answer.text, answer.headers["content-type"]) == (content, "text/javascript; charset=utf-8")
        assert "immutable" in answer.headers["cache-control"]
    assert urls[0] != urls[1]


@pytest.fixture
def hatch_build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@needs("hatchling", "fastapi")
def test_the_build_puts_the_script_where_the_app_looks(hatch_build: ModuleType) -> None:
    from uniseg_app.web_demo import vendor

    assert ROOT / hatch_build.FOLDER / f"niivue-{hatch_build.VERSION}.umd.js" == vendor._PACKAGED


@needs("hatchling")
def test_without_a_network_the_build_goes_on_and_says_what_is_missing(
    hatch_build: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def offline(arguments: list[str], **options: object) -> None:
        raise subprocess.CalledProcessError(1, ["npm", *arguments])

    monkeypatch.setattr(hatch_build, "run_npm", offline)
    hook = hatch_build.CustomBuildHook(str(tmp_path), {}, None, None, str(tmp_path), "wheel")
    hook.initialize("editable", {})
    assert list(tmp_path.iterdir()) == []
    said = "".join(capsys.readouterr())
    assert said.count("\n") == 1
    assert "3D viewer is left out, NiiVue could not be fetched from npm" in said


@needs("hatchling")
def test_other_bytes_than_those_that_were_tested_are_refused(hatch_build: ModuleType) -> None:
    with pytest.raises(RuntimeError, match=r"has the SHA-512 .* it was exchanged on its way"):
        hatch_build.unpacked(b"something else")
