"""The stub of vLLM has no name and no argument that vLLM has not. Read from the sources: neither is imported."""

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.core.engine import EngineOptions
from services.core.errors import OperatorError
from services.engines.vllm.engine import VllmEngine

STUB = Path(__file__).parents[1] / "stubs" / "vllm"
MODULES = sorted(
    str(file.relative_to(STUB)) for file in STUB.rglob("*.py") if file.stat().st_size and file.name != "stub.py"
)

Parameters = tuple[tuple[str, ...], frozenset[str]]
"""Those that may be given by place, in order; and all."""


def names(module: Path) -> dict[str, Parameters | None]:
    """What a module has: classes, their fields and attributes, functions and parameters; a package what it hands on."""
    body = ast.parse(module.read_text(encoding="utf-8")).body
    return dict(_names([node for node in body if module.name == "__init__.py" or not isinstance(node, ast.ImportFrom)]))


def _names(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, Parameters | None]]:
    for node in body:
        match node:
            case ast.ImportFrom():
                yield from ((alias.asname or alias.name, None) for alias in node.names)
            case ast.ClassDef():
                yield prefix + node.name, None
                yield from _names(node.body, f"{node.name}.")
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                yield prefix + name, None
            case ast.FunctionDef() | ast.AsyncFunctionDef() if node.name == "__init__":
                yield from ((prefix + name, None) for name in _attributes(node))
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield prefix + node.name, _parameters(node.args)


def _attributes(initializer: ast.AST) -> Iterator[str]:
    for node in ast.walk(initializer):
        targets = node.targets if isinstance(node, ast.Assign) else []
        yield from (target.attr for target in targets if isinstance(target, ast.Attribute))


def _parameters(arguments: ast.arguments) -> Parameters:
    placed = tuple(one.arg for one in (*arguments.posonlyargs, *arguments.args))
    return placed, frozenset((*placed, *(one.arg for one in arguments.kwonlyargs)))


def lacking(stub: Path, real: Path) -> list[str]:
    """What the real module lacks."""
    there, found = names(real), []
    for name, parameters in names(stub).items():
        if name.rpartition(".")[2].startswith("_"):
            continue
        other = there.get(name)
        if name not in there:
            found.append(name)
        elif parameters and other:
            placed, known = parameters
            fits = other[0][: len(placed)] == placed and known <= other[1]
            found += [] if fits else [f"{name}{placed}"]
    return found


def test_vllm_has_all_that_the_stub_has() -> None:
    found = importlib.util.find_spec("vllm")
    if found is None or not found.submodule_search_locations:
        pytest.skip("vLLM is not installed")
    real = Path(found.submodule_search_locations[0])
    assert MODULES
    assert {module: lacking(STUB / module, real / module) for module in MODULES} == {module: [] for module in MODULES}


def test_without_vllm_it_says_what_to_install(tmp_path: Path) -> None:
    if importlib.util.find_spec("vllm"):
        pytest.skip("vLLM is installed")
    with pytest.raises(OperatorError, match=r"engine vllm needs vllm: pip install 'chorale\[vllm\]'"):
        VllmEngine.load(tmp_path, EngineOptions())


def test_what_is_lacking_is_found(tmp_path: Path) -> None:
    (tmp_path / "stub").mkdir()
    stub, real = tmp_path / "stub" / "__init__.py", tmp_path / "__init__.py"
    stub.write_text("from x import a\nclass C:\n    f: int\n    def g(self, p, *, k): ...\n    def h(self, p): ...\n")
    real.write_text("class C:\n    def g(self, p, q, *, k): ...\n    def h(self, q, p): ...\n")
    assert lacking(stub, real) == ["a", "C.f", "C.h('self', 'p')"]
