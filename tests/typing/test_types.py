"""The types of the package: they hold together, and the stub says what the compiled module has."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from dlio_fast import _core

ROOT = Path(__file__).parents[2]
STUB = ast.parse((ROOT / "dlio_fast/_core.pyi").read_text())


def public(names) -> set[str]:
    return {name for name in names if not name.startswith("_")}


def names_of(nodes: list[ast.stmt]) -> set[str]:
    found = set()
    for node in nodes:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


def parameters(function: ast.FunctionDef) -> list[tuple]:
    """(name, whether keyword-only, whether it has a default) of each."""
    args = function.args
    plain = args.posonlyargs + args.args
    required = len(plain) - len(args.defaults)
    return [(arg.arg, False, i >= required) for i, arg in enumerate(plain)] + [
        (arg.arg, True, default is not None)
        for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True)
    ]


def compiled_parameters(function) -> list[tuple]:
    return [
        (p.name, p.kind is p.KEYWORD_ONLY, p.default is not p.empty)
        for p in inspect.signature(function).parameters.values()
    ]


CLASSES = {node.name: node for node in STUB.body if isinstance(node, ast.ClassDef) and node.name[0] != "_"}
FUNCTIONS = [("", node) for node in STUB.body if isinstance(node, ast.FunctionDef)] + [
    (owner.name, node)
    for owner in CLASSES.values()
    for node in owner.body
    if isinstance(node, ast.FunctionDef) and node.name[0] != "_" and not node.decorator_list
]


def test_the_stub_names_what_the_compiled_module_has():
    assert public(names_of(STUB.body)) == public(vars(_core))


@pytest.mark.parametrize("name", CLASSES)
def test_the_stub_names_what_its_classes_have(name):
    assert public(names_of(CLASSES[name].body)) == public(vars(getattr(_core, name)))


@pytest.mark.parametrize("owner, stub", FUNCTIONS, ids=lambda x: getattr(x, "name", x))
def test_the_stub_takes_the_arguments_that_the_compiled_function_takes(owner, stub):
    function = getattr(getattr(_core, owner) if owner else _core, stub.name)
    assert parameters(stub) == compiled_parameters(function)


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_the_type_checkers_are_content_with_the_package_and_the_examples(checker):
    """As pyproject.toml sets them up: mypy is strict."""
    command = [sys.executable, "-m", checker]
    if checker == "pyright":
        command += ["--pythonpath", sys.executable]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
