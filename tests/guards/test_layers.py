"""Imports go down the layers of docs/architecture.md, and heavy packages stay where they belong."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from tests.guards.conftest import nodes_of

#: Lowest first. A package imports packages of lower lines only, never one of its own line.
LAYERS = (
    ("core",),
    ("nn", "measure", "files"),
    ("data",),
    ("zoo", "diagnosis"),
    ("visualization",),
    ("engines", "launch", "report", "tracking"),
    ("training", "export"),
    ("workflows", "serve"),
    ("api",),
    ("nightly",),
    ("cluster",),
    ("cli",),
)

#: The same inside ``workflows``: sub-packages and single modules, lowest first.
WORKFLOWS = (
    ("runs", "parity", "datasets", "doctor", "weights"),
    ("evaluation", "export"),
    (
        "benchmark",
        "comparison",
        "training",
        "pictures",
        "model",
        "selftest",
        "diagnose_stages",
        "tracking",
    ),
    ("diagnose",),
)

#: What a function of the API calls; packages above the API call that function, as programs do.
BEHIND_API = (
    "harness.workflows.benchmark.bench.bench",
    "harness.workflows.benchmark.sweep.sweep",
    "harness.workflows.diagnose.diagnose_predictions",
    "harness.workflows.evaluation.evaluate.evaluate",
    "harness.workflows.evaluation.share.evaluate_share",
    "harness.workflows.evaluation.score.score_saved",
    "harness.workflows.training.dry_run.plan_of",
    "harness.workflows.training.train.follow",
    "harness.workflows.training.train.train",
)


#: Heavy package → packages of ours that may import it at all; anything else is an error.
HOMES = {
    "torch": ("nn", "engines", "training", "export"),
    "torchvision": ("nn", "engines", "training", "export"),
    "triton": ("nn",),
    "onnx": ("export",),
    "onnxscript": ("export",),
    "onnxruntime": ("engines",),
    "detectron2": ("engines", "training"),
    "pycocotools": ("measure", "diagnosis"),
    "faster_coco_eval": ("measure",),
    "rich": ("cli", "report"),
    "rich_argparse": ("cli",),
    "tabulate": ("cli", "report"),
    "jinja2": ("report",),
    "matplotlib": ("report",),
    "ruptures": ("measure",),
    "mlflow": ("tracking",),
    "wandb": ("tracking",),
    "tensorboard": ("tracking",),
    "submitit": ("launch",),
    "requests": ("files",),
    "pydantic": ("files",),
    "pydantic_core": ("files",),
    "fastapi": ("serve",),
    "fastapi_offline": ("serve",),
    "starlette": ("serve",),
    "uvicorn": ("serve",),
    "prometheus_client": ("serve",),
    "yaml": ("data",),
    "PIL": ("data", "engines", "training", "serve", "report", "visualization"),
}

#: Functions elsewhere that import it when they are called, and why.
VISITORS = {
    ("workflows/doctor.py", "torch"): "asks it for devices",
    ("workflows/doctor.py", "torchvision"): "proves that the pair can be imported",
}

#: Never at the top of a module of ``cli``: ``--help`` must not pay for them.
LAZY_IN_CLI = (*HOMES, "numpy")


def test_every_package_has_a_layer(package: dict[str, ast.Module]) -> None:
    on_disk = {home(path) for path in package} - {""}
    assert on_disk == {name for line in LAYERS for name in line}


def test_imports_only_go_down(package: dict[str, ast.Module]) -> None:
    level = {name: number for number, line in enumerate(LAYERS) for name in line}
    wrong = [
        f"harness/{path} (L{level[home(path)]}) imports harness.{target} (L{level[target]})"
        for path, tree in package.items()
        if home(path)
        for target in our_packages(tree)
        if target != home(path) and level[target] >= level[home(path)]
    ]
    assert not wrong, "\n".join(wrong)


def test_imports_inside_workflows_only_go_down(package: dict[str, ast.Module]) -> None:
    level = {name: number for number, line in enumerate(WORKFLOWS) for name in line}
    graph = imports_of(package)
    parts = {
        module: module.split(".")[2] for module in graph if module.startswith("harness.workflows.")
    }
    assert set(parts.values()) == set(level)
    wrong = [
        f"{module} imports {target}"
        for module, part in parts.items()
        for target in graph[module] & parts.keys()
        if parts[target] != part and level[parts[target]] >= level[part]
    ]
    assert not wrong, "\n".join(wrong)


def test_nights_jobs_and_commands_run_workflows_through_the_api(
    package: dict[str, ast.Module],
) -> None:
    behind = {*BEHIND_API, *(name.rpartition(".")[0] for name in BEHIND_API)}
    names = [
        (path, f"{node.module}.{alias.name}")
        for path, tree in package.items()
        for node in nodes_of(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    assert {name for path, name in names if home(path) == "api"} >= {*BEHIND_API}
    level = {name: number for number, line in enumerate(LAYERS) for name in line}
    wrong = [
        f"harness/{path} imports {name}"
        for path, name in names
        if home(path) and level[home(path)] > level["api"] and name in behind
    ]
    assert not wrong, "\n".join(wrong)


def test_no_module_imports_itself_in_a_circle(package: dict[str, ast.Module]) -> None:
    """Also not in functions; what only type checkers import does not count."""
    graph = imports_of(package)
    done: set[str] = set()
    for start in graph:
        circle = circle_from(start, graph, done, [])
        assert not circle, " → ".join(circle)


def imports_of(package: dict[str, ast.Module]) -> dict[str, set[str]]:
    """Module → modules of ours that it imports when it is imported or run.

    The root package is left out: every import of a module of ours runs it, and it imports none.
    """
    names = {module_name(path): tree for path, tree in package.items()}
    graph: dict[str, set[str]] = {}
    for module, tree in names.items():
        if module == "harness":
            continue
        found: set[str] = set()
        for node in when_run(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                whole = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= (whole & names.keys()) or {node.module} & names.keys()
        graph[module] = found - {module, "harness"}
    return graph


def circle_from(
    module: str, graph: dict[str, set[str]], done: set[str], path: list[str]
) -> list[str]:
    """The modules of a circle that can be reached from ``module``; empty where there is none."""
    if module in path:
        return [*path[path.index(module) :], module]
    if module in done:
        return []
    for target in sorted(graph[module]):
        circle = circle_from(target, graph, done, [*path, module])
        if circle:
            return circle
    done.add(module)
    return []


def module_name(path: str) -> str:
    """Dotted name of the module at ``path`` below ``harness``."""
    parts = PurePosixPath("harness", path).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_for_types(node: ast.AST) -> bool:
    """Whether a node is a block that only type checkers read."""
    if not isinstance(node, ast.If):
        return False
    return any(
        isinstance(one, ast.Name) and one.id == "TYPE_CHECKING" for one in ast.walk(node.test)
    )


def when_run(tree: ast.Module) -> Iterator[ast.AST]:
    """All nodes but those under TYPE_CHECKING."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if not is_for_types(node):
            waiting.extend(ast.iter_child_nodes(node))


def test_heavy_packages_stay_at_home(package: dict[str, ast.Module]) -> None:
    wrong = [
        f"harness/{path} imports {name}, which belongs to {', '.join(HOMES[name])}"
        for path, tree in package.items()
        for name in imported_roots(nodes_of(tree))
        if name in HOMES and home(path) not in HOMES[name] and (path, name) not in VISITORS
    ]
    assert not wrong, "\n".join(wrong)


def test_visitors_import_inside_a_function(package: dict[str, ast.Module]) -> None:
    for path, name in VISITORS:
        assert name in imported_roots(nodes_of(package[path])), f"{path} no longer needs {name}"
        assert name not in imported_roots(run_at_import(package[path])), f"{path}: {name} at top"


def test_command_modules_start_light(package: dict[str, ast.Module]) -> None:
    wrong = [
        f"harness/{path} imports {name} at its top"
        for path, tree in package.items()
        if home(path) in ("cli", "")
        for name in imported_roots(run_at_import(tree))
        if name in LAZY_IN_CLI
    ]
    assert not wrong, "\n".join(wrong)


def home(path: str) -> str:
    """Our package that ``path`` lies in; empty for the two modules at the root."""
    parts = PurePosixPath(path).parts
    return parts[0] if len(parts) > 1 else ""


def imported_modules(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Dotted names of all imports; of ``from harness import x`` also ``harness.x``."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "harness":
            yield from (f"harness.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def our_packages(tree: ast.Module) -> set[str]:
    """Packages of ours that a module imports, in functions and under TYPE_CHECKING too."""
    layered = {name for line in LAYERS for name in line}
    names = [name.split(".") for name in imported_modules(nodes_of(tree))]
    return {parts[1] for parts in names if parts[0] == "harness" and len(parts) > 1} & layered


def imported_roots(nodes: Iterable[ast.AST]) -> Iterator[str]:
    return (name.split(".")[0] for name in imported_modules(nodes))


def run_at_import(tree: ast.Module) -> Iterator[ast.AST]:
    """Nodes that run when the module is imported: not function bodies, not TYPE_CHECKING."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if is_for_types(node):
            continue
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            waiting.extend(ast.iter_child_nodes(node))
