"""The house: imports go one way, heavy libraries stay in their rooms and load when they are used."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import gentle

SOURCE = Path(gentle.__file__).parent

# Each floor may import from itself and from those before it.
FLOORS = {
    "ground": ("errors", "_version", "files", "forking", "layout", "engines"),
    "rows": (
        *(
            "sparse",
            "batch",
            "doubled",
            "sources",
            "columns",
            "sieve",
            "disguise",
            "levels",
            "filling",
            "plain",
        ),
        *(
            "expressions",
            "calls",
            "formula",
            "restrictions",
            "evaluation",
            "coding",
            "learning",
            "wilkinson",
            "undefined",
            "design",
            "given",
            "sinks",
            "spreading",
        ),
    ),
    "model": ("losses", "penalties", "coordinates", "fitted"),
    "pass": ("statistics", "rounding", "meat", "refinement", "passes", "shuffling", "widening"),
    "solve": (
        *(
            "sketch",
            "spectrum",
            "problem",
            "exact",
            "estimability",
            "solvers",
            "averaging",
            "certificate",
            "driver",
        ),
        *("approach", "verdict"),
    ),
    "result": (
        *("inference", "choices", "comparison", "predicting", "result", "descended", "diagnostics"),
        *("online", "coefficients", "answering", "descending", "fitting", "model_file"),
        *("continuing", "checking", "contesting"),
    ),
    "show": (
        "styling",
        "story",
        "tables",
        "modules",
        "pictures",
        "report",
        "estimators",
        "cli",
        "__main__",
    ),
}
BESIDE = ("textbook", "tour")  # the tutorial: it may use the house, and only the command knows it
TEXTBOOK_MAY = ("gentle.errors", "gentle.solvers.limits")  # a formula stands once
FLOOR = {room: number for number, rooms in enumerate(FLOORS.values()) for room in rooms}

ROOMS = {  # library -> the only rooms that may import it
    "sklearn": {"estimators"},
    "matplotlib": {"pictures"},
    "PIL": {"pictures"},
    "jinja2": {"report"},
    "formulaic": {"restrictions", "evaluation", "coding"},
    "polars": {
        *("sources", "columns", "sieve", "disguise", "levels", "filling", "plain", "wilkinson"),
        *("design", "widening", "sinks", "tables", "formula", "evaluation", "coding", "learning"),
        "undefined",
    },
    "safetensors": {"model_file"},
}
# room -> its results: their methods that show or export load their room when they are called
RESULTS = {
    "result": ("Fit", "Fits"),
    "online": ("OnePass",),
    "descended": ("Descended",),
    "contesting": ("Contest",),
}
OPTIONAL = {
    "sqlalchemy": {"sources"},
    "duckdb": {"sources"},
    "distributed": {"engines", "sources"},
    "dask": {"engines", "sources"},
    "ray": {"engines"},
    "pyspark": {"engines"},
    "py4j": {"engines"},
    "pyarrow": {"engines", "sources"},
    "fcntl": {"sources"},  # of Unix alone
}  # loaded where it is used, and asked for in a sentence
WITHOUT_TORCH = (
    "result",
    "tables",
    "cli",
    "inference",
    "verdict",
    "errors",
    "files",
    "forking",
    "story",
)
HEAVY = ("torch", "polars", "sklearn", "matplotlib", "pandas", "formulaic", "scipy", "PIL")


def files():
    return sorted(SOURCE.rglob("*.py"))


def label(path):
    return str(path.relative_to(SOURCE))


def room_of(path):
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


class Imports(ast.NodeVisitor):
    """(line, module, kind) of every import; kind is 'module', 'types' or the function it is in."""

    def __init__(self, tree):
        self.found = []
        self._where = ["module"]
        self.visit(tree)

    def visit_FunctionDef(self, node):
        self._where.append(".".join([*self._where[1:], node.name]))
        self.generic_visit(node)
        self._where.pop()

    def visit_ClassDef(self, node):
        self._where.append(".".join([*self._where[1:], node.name]))
        for child in node.body:
            self.visit(child)
        self._where.pop()

    def visit_If(self, node):
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            self._where.append("types")
            self.generic_visit(node)
            self._where.pop()
        else:
            self.generic_visit(node)

    def visit_Import(self, node):
        for name in node.names:
            self.found.append((node.lineno, name.name, self._where[-1]))

    def visit_ImportFrom(self, node):
        assert node.level == 0, f"line {node.lineno}: imports name the package"
        whole = node.module == "gentle"
        names = [f"gentle.{name.name}" for name in node.names] if whole else [node.module]
        self.found.extend((node.lineno, name, self._where[-1]) for name in names)


def imports(path):
    return Imports(ast.parse(path.read_text(encoding="utf-8"))).found


def test_every_module_has_a_floor():
    known = {*FLOOR, *BESIDE, "__init__"}
    assert {room_of(path) for path in files()} <= known


@pytest.mark.parametrize("path", files(), ids=label)
def test_imports_go_to_the_same_floor_or_one_before_it(path):
    room = room_of(path)
    wrong = []
    for line, module, where in imports(path):
        if module.split(".")[0] != "gentle" or module == "gentle" or room == "__init__":
            continue
        other = module.split(".")[1]
        deferred = where not in ("module",)
        if other == room:
            allowed = True
        elif other in BESIDE:
            allowed = room == "cli" or (room == "tour" and other == "textbook")
        elif room == "textbook":
            allowed = module in TEXTBOOK_MAY
        elif room == "tour":
            allowed = other in FLOOR
        elif deferred and where.split(".")[0] in RESULTS.get(room, ()):
            allowed = True  # conveniences of a result
        elif where == "types" and room in RESULTS:
            allowed = True  # and their types
        else:
            allowed = FLOOR[other] <= FLOOR[room]
        if not allowed:
            wrong.append(f"line {line}: {room} imports {module}")
    assert not wrong


@pytest.mark.parametrize("path", files(), ids=label)
def test_imports_stand_at_the_top(path):
    room = room_of(path)
    if room in ("cli", "__init__"):
        return  # they load what is heavy when it is used
    inside = [
        f"line {line}: {module} in {where}"
        for line, module, where in imports(path)
        if where not in ("module", "types")
        and where.split(".")[0] not in RESULTS.get(room, ())
        and room not in OPTIONAL.get(module.split(".")[0], ())
    ]
    assert not inside


@pytest.mark.parametrize("path", files(), ids=label)
def test_libraries_keep_to_their_rooms(path):
    room = room_of(path)
    libraries = {module.split(".")[0] for _, module, where in imports(path) if where != "types"}
    assert not [name for name in libraries & set(ROOMS) if room not in ROOMS[name]]
    if room in WITHOUT_TORCH:
        assert "torch" not in libraries


def loaded_by(code):
    """Which heavy libraries a fresh interpreter has loaded after some code."""
    code += "\nimport json, sys\nprint()\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(HEAVY) & set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_the_package_loads_nothing_heavy():
    assert not loaded_by("import gentle; dir(gentle); gentle.__version__")


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--help"], ["--version"], ["tour", "--help"], ["fit", "--help"], ["predict", "--help"]),
        ["compare", "--help"],
    ],
)
def test_asking_the_command_for_help_loads_nothing_heavy(arguments):
    code = (
        f"import sys\nsys.argv = ['gentle', *{arguments!r}]\n"
        "from gentle.cli import main\ntry:\n    main()\nexcept SystemExit as end:\n"
        "    assert not end.code, end.code"
    )
    assert not loaded_by(code)


def test_every_public_name_resolves():
    for name in gentle.__all__:
        assert getattr(gentle, name) is not None
        assert name in dir(gentle)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = gentle.no_such_name


def test_the_package_says_that_it_is_typed():
    assert (SOURCE / "py.typed").exists()
