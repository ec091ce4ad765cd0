"""The public surface: pinned, documented, typed."""

import dataclasses
import importlib
import inspect
import io
import pkgutil
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

import constrained_diffusion as cd
from constrained_diffusion.compilation import _Announcement

PUBLIC = [
    "Acceptance",
    "Answer",
    "Call",
    "CanvasPosterior",
    "ConstantTemperature",
    "Constraint",
    "Denoiser",
    "DiffusionGemmaDenoiser",
    "EntropyBound",
    "Feedback",
    "Generation",
    "Generator",
    "Limits",
    "LinearTemperature",
    "LogitsProcessor",
    "MaskNoise",
    "NeverStop",
    "Noise",
    "PassRecord",
    "Process",
    "RandomDenoiser",
    "ScriptedDenoiser",
    "SlotText",
    "StableAndConfident",
    "Stats",
    "Stopping",
    "TemperatureSchedule",
    "TokenAutomaton",
    "UniformNoise",
    "Vocabulary",
    "choice",
    "compile",
    "errors",
    "grammar",
    "json_schema",
    "literal",
    "load",
    "regex",
    "special",
    "tagged",
    "template",
    "text",
    "tools",
]
PACKAGE = Path(cd.__file__).parent


def modules():
    """Every module of the package."""
    names = [info.name for info in pkgutil.walk_packages([str(PACKAGE)], "constrained_diffusion.")]
    return [cd, *(importlib.import_module(name) for name in names)]


MODULES = modules()


def callables():
    """The public functions and the public methods of public classes, by their full name."""
    for name in PUBLIC:
        value = getattr(cd, name)
        if inspect.isfunction(value):
            yield name, value
        if inspect.isclass(value):
            for member, method in vars(value).items():
                function = method.fget if isinstance(method, property) else getattr(method, "__func__", method)
                if inspect.isfunction(function) and (member == "__init__" or not member.startswith("_")):
                    yield f"{name}.{member}", function


CALLABLES = dict(callables())


# --- names ---------------------------------------------------------------------------------------


def test_the_surface_is_pinned():
    assert sorted(cd.__all__) == PUBLIC


def test_nothing_else_is_in_the_namespace():
    """What ``import *`` would not give is a module, or what the surface is put together from."""
    others = {name: value for name, value in vars(cd).items() if name not in PUBLIC and not name.startswith("_")}
    helpers = {name for name, value in others.items() if not isinstance(value, types.ModuleType)}
    assert helpers == {"Any", "TYPE_CHECKING", "import_module"}


@pytest.mark.parametrize("statement", ["import constrained_diffusion", "import constrained_diffusion.cli"])
def test_importing_loads_nothing_large(statement):
    """So the command line answers mistakes at once."""
    program = f"{statement}; import sys; print({{'torch', 'numba', 'transformers', 'rich'}} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, cwd=PACKAGE.parent)
    assert loaded.stdout.split() == [b"set()"]


def test_checking_files_loads_no_model():
    program = "import constrained_diffusion.commands, sys; print({'torch', 'transformers'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, cwd=PACKAGE.parent)
    assert loaded.stdout.split() == [b"set()"]


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'jsonschema'"):
        cd.jsonschema  # noqa: B018
    assert set(PUBLIC) < set(dir(cd))


@pytest.mark.parametrize("name", PUBLIC)
def test_every_name_is_documented(name):
    """By a docstring of its own, not one that ``dataclass`` or a base class leaves behind."""
    value = getattr(cd, name)
    own = (vars(value) if inspect.isclass(value) else {"__doc__": value.__doc__}).get("__doc__") or ""
    assert len(own) > 15
    assert not own.startswith(f"{name}(")
    assert own.strip().splitlines()[0].endswith((".", ":", "::"))


@pytest.mark.parametrize("name", [name for name in PUBLIC if inspect.isclass(getattr(cd, name))])
def test_classes_are_abstract_or_final(name):
    cls = getattr(cd, name)
    assert inspect.isabstract(cls) != getattr(cls, "__final__", False)


@pytest.mark.parametrize("name", [name for name in CALLABLES if not name.endswith("__init__")])
def test_every_method_is_documented(name):
    """By itself, or where it is declared."""
    function = CALLABLES[name]
    owner, _, member = name.rpartition(".")
    bases = getattr(cd, owner).__mro__ if owner else ()
    documented = [base for base in bases if getattr(vars(base).get(member), "__doc__", None)]
    assert function.__doc__ or documented, f"{name} has no docstring"


@pytest.mark.parametrize("name", CALLABLES)
def test_every_parameter_is_typed(name):
    function = CALLABLES[name]
    signature = inspect.signature(function)
    untyped = [p for p in signature.parameters.values() if p.annotation is p.empty and p.name not in ("self", "cls")]
    assert untyped == []
    assert signature.return_annotation is not signature.empty


@pytest.mark.parametrize("name", [n for n in PUBLIC if dataclasses.is_dataclass(getattr(cd, n))])
def test_dataclasses_are_frozen(name):
    assert getattr(cd, name).__dataclass_params__.frozen


def test_types_are_shipped():
    assert (PACKAGE / "py.typed").exists()


def test_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+", cd.__version__)
    metadata = (PACKAGE.parent / "pyproject.toml").read_text()
    assert f'version = "{cd.__version__}"' in metadata


@pytest.mark.parametrize(
    ("is_terminal", "module", "told"), [(True, "inference", 1), (False, "inference", 0), (True, "", 0)]
)
def test_a_terminal_is_told_once_that_kernels_are_compiled(monkeypatch, is_terminal, module, told):
    terminal = io.StringIO()
    terminal.isatty = lambda: is_terminal
    monkeypatch.setattr(sys, "stderr", terminal)
    function = types.SimpleNamespace(__module__=f"constrained_diffusion.{module}" if module else "another")
    compilation = types.SimpleNamespace(data={"dispatcher": types.SimpleNamespace(py_func=function)})
    announcement = _Announcement()
    announcement.on_start(compilation)
    announcement.on_start(compilation)
    assert terminal.getvalue().count("compiling the numerical kernels") == told


# --- modules -------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_module_is_documented(module):
    assert len(module.__doc__ or "") > 10


NEVER_IMPORTED = {
    "automata": ("models", "diffusion"),
    "constraints": ("models", "diffusion", "inference"),
    "inference": ("models", "diffusion", "constraints"),
    "models": ("diffusion", "constraints", "inference"),
}


@pytest.mark.parametrize("layer", NEVER_IMPORTED)
def test_imports_run_one_way(layer):
    above = "|".join(rf"constrained_diffusion\.{name}" for name in NEVER_IMPORTED[layer])
    outside = "|torch|transformers" if layer == "constraints" else ""
    imports = [
        f"{path.name}: {line.strip()}"
        for path in (PACKAGE / layer).rglob("*.py")
        for line in path.read_text().splitlines()
        if re.match(rf"\s*(from|import) ({above}{outside})\b", line)
    ]
    assert imports == []


# --- errors --------------------------------------------------------------------------------------


def drawn_tree():
    """Parent of each error, as the docstring of ``errors`` draws it."""
    parents, trail = {}, []
    for line in cd.errors.__doc__.splitlines():
        found = re.match(r"^(?P<indent>[ │├└─]*)(?P<name>[A-Z]\w+)(\s{2,}.*)?$", line)
        if found is None or line == cd.errors.__doc__.splitlines()[0]:
            continue
        depth = (len(found["indent"]) - 4) // 4
        trail = [*trail[:depth], found["name"]]
        parents[found["name"]] = trail[-2] if depth else "Exception"
    return parents


def test_the_tree_of_errors_is_as_drawn():
    classes = [value for value in vars(cd.errors).values() if inspect.isclass(value)]
    defined = {cls.__name__: cls.__base__.__name__ for cls in classes if cls.__module__ == cd.errors.__name__}
    assert defined == drawn_tree()
    assert defined == {
        "ConstrainedDiffusionError": "Exception",
        "ConstraintError": "ConstrainedDiffusionError",
        "InvalidConstraint": "ConstraintError",
        "UnsupportedConstraint": "ConstraintError",
        "InfeasibleError": "ConstrainedDiffusionError",
        "LimitExceeded": "ConstrainedDiffusionError",
        "ModelError": "ConstrainedDiffusionError",
    }


@pytest.mark.parametrize(
    ("make", "error", "attributes"),
    [
        (lambda: cd.regex("(a"), "InvalidConstraint", set()),
        (lambda: cd.regex("a").repeat(2, 1), "InvalidConstraint", set()),
        (lambda: cd.regex("(?=a)"), "UnsupportedConstraint", {"construct"}),
        (lambda: cd.json_schema({"items": {"type": "text"}}), "InvalidConstraint", {"path"}),
        (lambda: cd.json_schema({"not": {"uniqueItems": True}}), "UnsupportedConstraint", {"path", "construct"}),
        (lambda: cd.regex("(a|b)*a(a|b){30}").automaton(), "LimitExceeded", {"limit"}),
        (lambda: cd.compile(cd.regex("b"), cd.Vocabulary([b"a", None], end_ids=1)), "InfeasibleError", set()),
        (lambda: cd.load("no/such/folder"), "ModelError", set()),
        (lambda: cd.Limits(max_states=0), "InvalidConstraint", set()),
    ],
)
def test_errors_say_where(make, error, attributes):
    with pytest.raises(cd.errors.ConstrainedDiffusionError) as raised:
        make()
    assert type(raised.value).__name__ == error
    for attribute in attributes:
        assert isinstance(getattr(raised.value, attribute), str)
    assert len(str(raised.value)) > 20
