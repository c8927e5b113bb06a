"""How the package is built: imports run one way, one file knows CuPy and one MPI, and the engine can be read."""
import ast
import io
import tokenize
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "minitorch_alex"
FILES = sorted(PACKAGE.rglob("*.py"))

# From the bottom up; a module may import from its own layer and from those below it. `data` is not on the ladder: it
# knows arrays and not Tensors, and only `training` and the commands may import it.
LAYERS = (
    ("errors",),
    ("files", "machine"),
    ("streams",),
    ("backend",),
    ("comm",),
    ("kernels",),
    ("versions", "autograd", "operators", "tensor"),
    ("functional",),
    ("module", "tree", "containers", "fusion", "nn", "layers", "utils", "init", "optim", "optimizer", "adam", "lars",
     "schedule", "gradcheck"),
    ("parallel",),
    ("models",),
    ("training",),
    ("plots", "scaling", "profile"),
    ("classifier",),
    ("__main__", "train", "preview", "evaluate", "members", "predict", "prepare", "check", "check.__main__", "lessons",
     "selftest", "onnx", "claims", "verdict", "ablate", "models.compare", "plots.__main__", "plots.subject",
     "plots.reasons", "plots.projections"),
)
# Tensor's operators stand in tensor.py, where everybody looks for them, and call functional/ when they are used.
LATE = {("tensor", "functional"), ("operators", "functional")}
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
# What an evening's reader needs. Comments and docstrings help the reader, so they do not count.
OPERATIONS = ("activation", "basic", "conv", "dropout", "layout", "linear", "loss", "lrn", "matmul", "pool", "softmax")
ENGINE = ("kernels/naive.py", "autograd.py", "tensor.py", *(f"functional/{name}.py" for name in OPERATIONS),
          "module.py", "nn.py", "optimizer.py", "optim.py")
ENGINE_CODE_LINES = 1500
# What PyTorch has besides, in files of its own, for whoever looks one up: a budget of its own.
REST = ("operators.py", "versions.py", "tree.py", "containers.py", "functional/*.py", "kernels/naive_later.py",
        "layers.py", "adam.py", "lars.py", "utils.py")
REST_CODE_LINES = 1300
# What layers exchange between ranks. One process never comes past these.
ACROSS_RANKS = ("functional/exchange.py", "functional/norm_of_ranks.py")
ACROSS_RANKS_CODE_LINES = 110
# How layers share a pass over memory.
SHARED_PASSES = ("fusion.py", *(f"functional/{name}.py" for name in ("bias_relu", "conv_relu", "gates", "places")))
SHARED_PASSES_CODE_LINES = 160


def unit(file):
    """The part of the package that a file belongs to: kernels/cpu/conv.py is `kernels`, nn.py is `nn`. The command of
    a folder is a part of its own: plots/ draws arrays, plots/__main__.py knows runs and data."""
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts) if ".".join(parts) in RANK else parts[0]


def imports(file):
    """Every module that a file imports, anywhere in it, as dotted absolute names; `from a import b` gives a.b."""
    package = ("minitorch_alex", *file.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[:len(package) - node.level + 1] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            yield from (".".join((*base, alias.name)) for alias in node.names)


def allowed(importer, imported):
    """Whether part `importer` of the package may import part `imported`."""
    if importer == imported or importer == "__init__":
        return True
    if importer == "data":
        return imported in ("streams", "files", "machine", "errors")
    if (importer, imported) in LATE:
        return True
    if importer not in RANK:
        return False
    if imported == "data":
        return importer == "training" or RANK[importer] >= RANK["classifier"]
    if imported == "__init__":
        return RANK[importer] == RANK["train"]
    return imported in RANK and RANK[imported] <= RANK[importer]


def violations(files):
    """(importing part, imported part, file) of every import that runs up. The package itself, imported for one of
    its names, counts as the part `__init__`, which stands above everything."""
    for file in files:
        for name in imports(file):
            root, *parts = name.split(".")
            if root == "minitorch_alex":
                known = parts and ((PACKAGE / f"{parts[0]}.py").exists() or (PACKAGE / parts[0]).is_dir())
                part = parts[0] if known else "__init__"
                if not allowed(unit(file), part):
                    yield unit(file), part, file.name


def test_every_part_has_its_place():
    parts = {unit(file) for file in FILES} - {"__init__"}
    assert parts <= {*RANK, "data"}, "a new part of the package needs a place in LAYERS"
    assert {"errors", "streams", "backend", "kernels", "autograd", "functional", "nn"} <= parts


def test_imports_run_one_way():
    assert not list(violations(FILES))


@pytest.mark.parametrize("file, line, up", (
    ("kernels/cpu/conv.py", "from ...tensor import Tensor", ("kernels", "tensor")),
    ("functional/conv.py", "from .. import nn", ("functional", "nn")),
    ("backend.py", "import minitorch_alex.kernels.cpu", ("backend", "kernels")),
    ("data/loader.py", "from ..tensor import Tensor", ("data", "tensor")),
    ("data/loader.py", "from .. import backend", ("data", "backend")),
    ("streams.py", "from . import backend", ("streams", "backend")),
    ("comm/mpi.py", "from ..kernels import cpu", ("comm", "kernels")),
    ("nn.py", "def f():\n    from .train import main", ("nn", "train")),
    ("models/alexnet.py", "from ..data.cifar10 import load_cifar10", ("models", "data")),
    ("errors.py", "from . import backend", ("errors", "backend")),
    ("training/checkpoint.py", "from ..train import main", ("training", "train")),
    ("files.py", "from .training import runs", ("files", "training")),
    ("models/recipe.py", "from ..training import cli", ("models", "training")),
    ("profile/costs.py", "from .. import data", ("profile", "data")),
    ("plots/learnt.py", "from ..train import main", ("plots", "train")),
    ("nn.py", "from . import Tensor", ("nn", "__init__")),
    ("nn.py", "import minitorch_alex as mt", ("nn", "__init__")),
))
def test_an_import_that_runs_up_is_seen(file, line, up, tmp_path, monkeypatch):
    """The test above looks where it should: each of these planted imports is found."""
    for name in (file, "train.py", "tensor.py", "nn.py", "backend.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("kernels", "data", "training"):
        (tmp_path / name).mkdir(exist_ok=True)
    (tmp_path / file).write_text(line, encoding="utf-8")
    monkeypatch.setattr("test_structure.PACKAGE", tmp_path)
    assert list(violations([tmp_path / file])) == [(*up, Path(file).name)]


def outsiders(files):
    """{first part of an imported name: files that import it}"""
    found = {}
    for file in files:
        for name in imports(file):
            found.setdefault(name.split(".")[0], set()).add(file.relative_to(PACKAGE).as_posix())
    return found


def test_only_the_backend_knows_cupy_and_nobody_knows_another_framework():
    found = outsiders(FILES)
    for name in ("cupy", "cupyx", "cupy_backends"):
        assert found.get(name, set()) <= {"backend.py"}, name
    assert found.get("mpi4py", set()) <= {"comm/launcher.py"}
    for name in ("torch", "torchvision", "scipy", "numba", "jax", "tensorflow", "sklearn", "cv2"):
        assert name not in found, f"{name} is imported by {found[name]}"


def test_nothing_in_the_package_imports_lessons_tests_or_benchmarks():
    found = outsiders(FILES)
    for name in ("lessons", "tests", "benchmarks", "conftest", "checks", "mutants"):
        assert name not in found, f"{name} is imported by {found[name]}"


def code_lines(source):
    """How many lines of a source hold code: neither blank nor comment nor docstring."""
    docstrings = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            docstrings.update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    blank = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in blank:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings)


def test_code_lines_are_counted_without_comments_and_docstrings():
    module = '"""A module.\n\nMore."""\nx = [1,  # one\n     2]\n\n\n'
    function = 'def f():\n    """Doc."""\n    # why\n    return """a\nb"""\n'
    assert code_lines(module) == 2  # x
    assert code_lines(function) == 3  # def, and a returned string over two lines
    assert code_lines(module + function) == 5


def lines_of(patterns):
    """{file: its lines of code} of the files that the patterns name."""
    files = sorted({file for pattern in patterns for file in PACKAGE.glob(pattern)})
    return {file.relative_to(PACKAGE).as_posix(): code_lines(file.read_text(encoding="utf-8")) for file in files}


def test_the_engine_can_be_read_in_one_evening():
    lines = lines_of(ENGINE)
    assert set(lines) == set(ENGINE)
    assert sum(lines.values()) <= ENGINE_CODE_LINES, lines


def test_the_rest_of_the_engine_stays_small_too():
    lines = lines_of(REST)
    rest = {file: number for file, number in lines.items() if file not in (*ENGINE, *SHARED_PASSES, *ACROSS_RANKS)}
    assert sum(rest.values()) <= REST_CODE_LINES, rest


def test_what_layers_exchange_between_ranks_stays_small():
    lines = lines_of(ACROSS_RANKS)
    assert set(lines) == set(ACROSS_RANKS)
    assert sum(lines.values()) <= ACROSS_RANKS_CODE_LINES, lines


def test_what_spares_passes_over_memory_stays_small():
    lines = lines_of(SHARED_PASSES)
    assert set(lines) == set(SHARED_PASSES)
    assert sum(lines.values()) <= SHARED_PASSES_CODE_LINES, lines


# A function fits a screen, and a reader keeps its branches in mind.
FUNCTION_LINES = 60
FUNCTION_BRANCHES = 15
BRANCHES = (ast.If, ast.For, ast.While, ast.IfExp, ast.ExceptHandler, ast.comprehension)


def branches(function):
    """The cyclomatic complexity: one way through the function, and one more for each place where it can go on in two
    ways. `a and b and c` has two of them."""
    ways = 1
    for node in ast.walk(function):
        ways += isinstance(node, BRANCHES)
        if isinstance(node, ast.BoolOp):
            ways += len(node.values) - 1
    return ways


def function_lines(function):
    """How many lines a function has with its blank lines and comments, but without its docstring."""
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is None:
        return lines
    return lines - (function.body[0].end_lineno - function.body[0].lineno + 1)


def functions(source):
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_no_function_is_long_or_branches_much(file):
    for function in functions(file.read_text(encoding="utf-8")):
        name = f"{function.name}, line {function.lineno}"
        assert function_lines(function) <= FUNCTION_LINES, f"{name}: {function_lines(function)} lines"
        assert branches(function) <= FUNCTION_BRANCHES, f"{name}: {branches(function)} branches"


def test_lines_and_branches_of_a_function_are_counted():
    source = """def f(a):
    '''A docstring
    of two lines.'''
    if a and a > 1 or a < 0:  # an if, an or and an and

        return [x for x in a if x]  # a comprehension with its condition
    try:
        return a if a else 0
    except ValueError:
        return 1
"""
    (function,) = functions(source)
    assert function_lines(function) == 8
    assert branches(function) == 1 + 3 + 1 + 1 + 1
