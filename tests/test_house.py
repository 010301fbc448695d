"""The plan of the package holds: rooms in floors, no circles, each name once, small files."""

import ast
import itertools
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "augment"
FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {file: ast.parse(file.read_text()) for file in FILES}
# from the ground up: a room imports from those below it
FLOORS = [
    "errors",
    "runtime",
    "storage",
    "data",
    "transforms",
    "training",
    "metrics",
    "classifiers",
    "detectors",
    "generators",
    "experiment",
    "report",
    "engine",
    "cli",
]


def module_of(file):
    """`augment.data.images`; of a package's __init__ the package."""
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(file): file for file in FILES}


def imports_of(file):
    """Modules of the package that a file imports anywhere, for types alone included."""
    found = set()
    for node in ast.walk(TREES[file]):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "augment":
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in MODULES else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & MODULES.keys()
    return found - {module_of(file), "augment"}  # the root has the version and the public face


ARROWS = {name: imports_of(file) for name, file in MODULES.items() if name != "augment"}


def test_rooms_import_from_the_floors_below_alone():
    rooms = {(a.split(".")[1], b.split(".")[1]) for a, own in ARROWS.items() for b in own}
    known = {*FLOORS, "__main__"}
    assert {room for pair in rooms for room in pair} <= known
    up = [(a, b) for a, b in rooms if a in FLOORS and FLOORS.index(b) > FLOORS.index(a)]
    assert up == []


def test_no_module_imports_itself_over_others():
    left = {name: set(own) for name, own in ARROWS.items()}
    while free := {name for name, own in left.items() if not own & left.keys()}:
        left = {name: own for name, own in left.items() if name not in free}
    assert left == {}, "a circle of imports is among these"


def test_root_holds_few_files():
    assert len(list(PACKAGE.glob("*.py"))) <= 5


def names_in(tree):
    """Names that a module defines at its top level."""
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (t.id for t in node.targets if isinstance(t, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def test_no_name_is_defined_in_two_modules():
    homes = defaultdict(set)
    for file, tree in TREES.items():
        for name in names_in(tree):
            homes[name].add(module_of(file))
    own = {"__all__", "__getattr__", "__version__"}
    twice = {name: where for name, where in homes.items() if len(where) > 1 and name not in own}
    assert not {n: w for n, w in twice.items() if not n.startswith("_")}


def test_files_and_functions_are_short_and_take_few_parameters():
    long, wide = [], []
    for file, tree in TREES.items():
        if len(file.read_text().splitlines()) > 250:
            long.append(file.name)
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef):
                continue
            if node.end_lineno - node.lineno >= 60:
                long.append(node.name)
            given = [*node.args.args, *node.args.kwonlyargs]
            given = [a for a in given if a.arg not in ("self", "cls")]
            command = file.parent.name == "cli" or (file.name, node.name) == ("run.py", "run")
            if len(given) > 6 and not command:
                wide.append(node.name)
    assert (long, wide) == ([], [])


def test_formatter_is_never_told_to_look_away():
    told = [file.name for file in FILES if "fmt: " + "skip" in file.read_text()]
    assert not told


def test_each_module_says_what_is_in_it():
    packages = {PACKAGE / "__init__.py"}
    files = [f for f in FILES if f.name != "__init__.py" or f in packages]
    silent = [f.name for f in files if not ast.get_docstring(TREES[f])]
    assert not silent
    public = itertools.chain.from_iterable(
        (node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef)))
        for tree in TREES.values()
    )
    assert [n.name for n in public if not n.name.startswith("_") and not ast.get_docstring(n)] == []


def test_what_differs_between_tasks_stands_in_registries():
    """Whether boxes are learnt is asked by those who read data alone, and nowhere else."""
    asked = []
    for name, file in MODULES.items():
        if name.startswith("augment.data."):
            continue
        for node in ast.walk(TREES[file]):
            match node:
                case ast.If(test=asked_of) | ast.IfExp(test=asked_of) | ast.While(test=asked_of):
                    parts = [asked_of]
                case ast.comprehension(ifs=parts):
                    pass
                case ast.Match(subject=subject):
                    parts = [subject]
                case _:
                    continue
            words = {
                getattr(n, "id", getattr(n, "attr", getattr(n, "value", "")))
                for part in parts
                for n in ast.walk(part)
                if isinstance(n, ast.Name | ast.Attribute | ast.Constant)
            }
            if words & {"CLASSIFY", "DETECT", "classify", "detect"}:
                asked.append(f"{name}: {ast.unparse(parts[0])}")
    assert asked == []
