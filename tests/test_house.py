"""The house rules: who imports whom, what is documented, and that every message is really formatted."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted([*(ROOT / "uniseg_model").rglob("*.py"), *(ROOT / "uniseg_app").rglob("*.py")])

# What may be imported where. Folders end in a slash.
ONLY_IN = {
    "qtpy": ("uniseg_app/napari_plugin/",),
    "napari": ("uniseg_app/napari_plugin/",),
    "magicgui": ("uniseg_app/napari_plugin/",),
    "superqt": ("uniseg_app/napari_plugin/",),
    "pandas": ("uniseg_app/napari_plugin/",),
    "pint": ("uniseg_app/napari_plugin/",),
    "gradio": ("uniseg_app/web_demo/",),
    "fastapi": ("uniseg_app/web_demo/",),
    "starlette": ("uniseg_app/web_demo/",),
    "nibabel": ("uniseg_model/io/",),
    "pydicom": ("uniseg_model/io/",),
    "highdicom": ("uniseg_model/io/",),
    "dask": ("uniseg_app/batch/cluster.py",),
    "distributed": ("uniseg_app/batch/cluster.py",),
    "openvino": ("uniseg_model/engines/",),
    "typer": ("uniseg_app/cli/",),
    "PIL": ("uniseg_model/prompts/sheet.py", "uniseg_app/preview_pictures.py", "uniseg_app/web_demo/"),
}
TORCH_AT_TOP = (
    "uniseg_model/network/",
    "uniseg_model/engines/",
    "uniseg_model/training/",
    "uniseg_model/packs/file.py",
    "uniseg_model/packs/certificate.py",
    "uniseg_model/checkpoint.py",
    "uniseg_model/official.py",
    "uniseg_model/predictor.py",
    "uniseg_model/run.py",
    "uniseg_model/sliding.py",
    "uniseg_model/blend.py",
    "uniseg_model/walk.py",
    "uniseg_model/memory.py",
    "uniseg_model/resample_torch.py",
)
DOORS = {  # start a front end
    ("uniseg_app.cli.web", "uniseg_app.web_demo"),
    ("uniseg_app.cli.web", "uniseg_app.web_demo.app"),
    ("uniseg_app.cli.napari", "uniseg_app.napari_plugin.start"),
    ("uniseg_app.cli.napari", "uniseg_app.napari_plugin.start.start"),
}
FRONT_ENDS = ("uniseg_app.cli", "uniseg_app.napari_plugin", "uniseg_app.web_demo")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def nodes_of(path: Path) -> list[ast.AST]:
    return list(ast.walk(tree_of(path)))


def in_every_module(check: Callable[[Path], None]) -> Callable[[], None]:
    """A test that fails with all modules in which the check does."""

    def test() -> None:
        wrong = []
        for path in MODULES:
            try:
                check(path)
            except AssertionError as exc:
                wrong.append(f"{name_of(path)}: {exc}")
        assert not wrong, "\n".join(wrong)

    return test


def imports(nodes: Sequence[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def public(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from (m for m in node.body if isinstance(m, ast.FunctionDef) and not m.name.startswith("_"))


@in_every_module
def test_the_method_knows_no_front_end(path: Path) -> None:
    if name_of(path).startswith("uniseg_model/"):
        assert not [name for name in imports(nodes_of(path)) if name.startswith("uniseg_app")]


@in_every_module
def test_nobody_imports_a_front_end_from_outside(path: Path) -> None:
    own = name_of(path).removesuffix(".py").replace("/", ".")
    for name in imports(nodes_of(path)):
        if (own, name) in DOORS:
            continue
        front_end = next((f for f in FRONT_ENDS if name == f or name.startswith(f + ".")), None)
        assert front_end is None or own.startswith(front_end), f"{name_of(path)} imports {name}"


@in_every_module
def test_libraries_stay_in_their_rooms(path: Path) -> None:
    for name in imports(nodes_of(path)):
        rooms = ONLY_IN.get(name.split(".")[0])
        assert rooms is None or name_of(path).startswith(rooms), f"{name} belongs in {rooms}"


@in_every_module
def test_torch_is_at_the_top_only_where_tensors_are(path: Path) -> None:
    if not name_of(path).startswith(TORCH_AT_TOP):
        assert not [name for name in imports(tree_of(path).body) if name.split(".")[0] in ("torch", "monai", "safetensors")]


@in_every_module
def test_public_names_are_documented(path: Path) -> None:
    tree = tree_of(path)
    assert ast.get_docstring(tree), "the module has no docstring"
    bare = [node.name for node in public(tree) if not ast.get_docstring(node)]
    assert not bare, f"without a docstring: {', '.join(bare)}"


@in_every_module
def test_every_message_of_an_error_is_formatted(path: Path) -> None:
    """Braces in a plain string, or arguments that nobody formats, are messages that were never run."""
    for node in nodes_of(path):
        if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and name_of_call(node.exc).endswith("Error")):
            continue
        assert len(node.exc.args) == 1, f"line {node.lineno}: an error needs one message, formatted"
        inside_f = {id(v) for f in ast.walk(node) if isinstance(f, ast.JoinedStr) for v in ast.walk(f)}
        for part in ast.walk(node):
            if isinstance(part, ast.Constant) and isinstance(part.value, str) and id(part) not in inside_f:
                assert "{" not in part.value, f"line {node.lineno}: braces without an f: {part.value!r}"


def name_of_call(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


@in_every_module
def test_asserts_are_not_for_what_users_give(path: Path) -> None:
    for node in nodes_of(path):
        if isinstance(node, ast.Assert):
            assert not isinstance(node.test, ast.List | ast.Tuple), f"line {node.lineno}: can never fail"


@in_every_module
def test_only_the_console_prints(path: Path) -> None:
    if name_of(path) != "uniseg_app/console.py":
        calls = [node for node in nodes_of(path) if isinstance(node, ast.Call)]
        assert "print" not in [name_of_call(call) for call in calls]


@in_every_module
def test_nothing_is_unpickled_unsafely(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "weights_only=False" not in text
    assert "pickle.load(" not in text
    assert "pickle.loads(" not in text


@pytest.mark.parametrize("command", [["--help"], ["tasks"]])
def test_help_and_tasks_come_without_heavy_libraries(command: list[str]) -> None:
    code = f"import sys; sys.argv[1:] = {command!r}\nfrom uniseg_app.cli import main\ntry: main()\nexcept SystemExit: pass\n"
    code += "heavy = {'torch', 'monai', 'numpy', 'nibabel', 'napari', 'gradio', 'dask', 'distributed'} & set(sys.modules)\n"
    code += "assert not heavy, heavy"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def test_what_a_front_end_says_to_the_prompt_inspector_comes_without_torch() -> None:
    code = "import sys, uniseg_model.regions\nfrom uniseg_model.prompts import changes, inspection, maps, saliency, whatif\n"
    code += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)
