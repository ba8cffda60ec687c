"""The layers of docs/architecture.md: imports go downward only, and every module has its place."""

import ast
from pathlib import Path

import pytest

import emodo

SOURCE = Path(emodo.__file__).parent

# From the bottom up. A module imports from lower rows only; the modules of a package may import each other.
ORDER = [
    ["__init__"],
    ["records"],
    ["files", "costs", "crops", "multilabel", "ontology", "thumbnails", "weights"],
    [
        "manifest",
        "confounders",
        "clusters",
        "transforms",
        "sampling",
        "metrics",
        "calibration",
        "repairs",
        "losses",
        "networks",
        "styles",
    ],
    ["images", "splits"],
    ["leakage"],
    ["methods", "adapters", "synthetic", "columns", "scenes", "detectors"],
    ["data", "runs"],
    ["inference", "portraits", "interventions"],
    ["engine", "figures", "parallel", "statistics", "tabular", "features", "places", "quality", "models"],
    ["associations", "remedies", "listing"],
    ["characteristics", "telling", "predictor", "lastlayer"],
    ["compared", "audited", "claims", "panels", "parts", "appearance", "factors", "leaning", "drift"],
    [
        "accuracies",
        "average_precision",
        "comparison",
        "confusions",
        "distribution",
        "explanations",
        "heldout",
        "prediction",
        "poststratification",
        "probed",
        "changes",
        "profiles",
        "shift",
    ],
    ["assessment", "cases", "diagnosis", "repaired", "windows"],
    ["judgement", "alarms"],
    ["timeline"],
    [
        "training",
        "evaluation",
        "audit",
        "gap",
        "repair",
        "monitor",
        "strata",
        "faces",
        "splitting",
        "export",
        "official",
        "probing",
    ],
    ["cells", "classifier", "serving"],
    ["running", "space", "exchange"],
    ["grid", "search", "sensitivity", "trials", "biases", "provenance"],
    ["reporting"],
    ["demo", "benchmark", "verdict", "sweep", "experiment"],
    ["__main__"],
]
RANK = {name: rank for rank, row in enumerate(ORDER) for name in row}
MOST_LINES = 480

FILES = {".".join(file.relative_to(SOURCE).with_suffix("").parts): file for file in sorted(SOURCE.rglob("*.py"))}
TREES = {name: ast.parse(file.read_text(encoding="utf-8")) for name, file in FILES.items()}


def place(module):
    """The row's name for a module: a package stands for all its modules."""
    return module.split(".")[0]


def imported(name):
    """Everything that a module imports, wherever in it: ("emodo.files", "atomic"), ("torch", None) ..."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}, line {node.lineno}: imports are absolute"
            yield from ((node.module or "", alias.name) for alias in node.names)


def own(name):
    """The modules of emodo that a module imports, by their place."""
    for module, member in imported(name):
        parts = module.split(".")
        if parts[0] != "emodo":
            continue
        if len(parts) > 1:
            yield parts[1]
        else:  # `from emodo import runs` is a module, `from emodo import __version__` the package
            yield member if member in RANK or (SOURCE / f"{member}.py").is_file() else "__init__"


def roots(name):
    """The top packages that a module imports."""
    return {module.split(".")[0] for module, _ in imported(name)}


def test_every_module_has_its_place_and_every_place_a_module():
    assert {place(name) for name in FILES} == set(RANK)


@pytest.mark.parametrize("name", FILES)
def test_imports_go_downward_only(name):
    wrong = [other for other in own(name) if other != place(name) and RANK[other] >= RANK[place(name)]]
    assert not wrong, f"{name} imports {wrong}"
    if place(name) == name:  # a module does not import itself
        assert name not in set(own(name))


def test_the_verbs_point_at_functions_of_their_modules():
    from emodo.__main__ import VERBS

    for verb, (module, function, _) in VERBS.items():
        parts = module.split(".")[1:]
        assert RANK[parts[0]] < RANK["__main__"], verb
        assert ".".join(parts) in FILES or ".".join([*parts, "__init__"]) in FILES, verb
        assert function.isidentifier()


def test_only_the_engine_imports_lightning():
    assert {name for name in FILES if roots(name) & {"lightning", "pytorch_lightning"}} == {"engine"}
    assert "engine" not in {place for name in FILES if name != "training" for place in own(name)}


@pytest.mark.parametrize("name", [name for name in FILES if place(name) == "methods"])
def test_methods_know_no_engine_no_files_and_no_command_line(name):
    assert not roots(name) & {"lightning", "pathlib", "os", "sys", "shutil", "io", "jsonargparse", "argparse", "yaml"}
    assert not {"files", "manifest", "data", "runs"} & set(own(name))


@pytest.mark.parametrize("name", ["__init__", "__main__", "records", "files"])
def test_what_help_needs_imports_nothing_heavy_at_first(name):
    heavy = {"torch", "numpy", "pandas", "PIL", "timm", "rich", "jsonargparse"}
    at_once = [node for node in TREES[name].body if isinstance(node, ast.Import | ast.ImportFrom)]
    for node in at_once:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        assert not {module.split(".")[0] for module in names} & heavy, name


# What unpickles unless it is told not to, and how it is told. `numpy.load` by another name is no call of it.
SAFE = {
    "torch.load": ("weights_only", "True"),
    **dict.fromkeys(("np.load", "np.lib.format.read_array"), ("allow_pickle", "False")),
}


def test_nothing_is_unpickled():
    for name, tree in TREES.items():
        may = {"pickle"} if name == "adapters.unpickling" else set()
        assert not roots(name) & ({"pickle", "joblib", "dill", "shelve", "marshal"} - may), name
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and (needed := SAFE.get(ast.unparse(node.func))):
                given = [(keyword.arg, ast.unparse(keyword.value)) for keyword in node.keywords]
                assert needed in given, f"{name}, line {node.lineno}"
            if isinstance(node, ast.Attribute):
                assert ast.unparse(node) not in ("yaml.load", "pd.read_pickle", "yaml.unsafe_load"), name


def test_the_one_reader_of_pickles_names_nothing():
    tree = TREES["adapters.unpickling"]
    assert ("pickle", None) in imported("adapters.unpickling")  # as a whole: no name of it goes unseen below
    used = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert {name for name in used if name.startswith("pickle.")} == {"pickle.Unpickler", "pickle.UnpicklingError"}
    assert not any(
        isinstance(node, ast.Call) and ast.unparse(node.func) == "pickle.Unpickler" for node in ast.walk(tree)
    )
    [reader] = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    assert [ast.unparse(base) for base in reader.bases] == ["pickle.Unpickler"]
    [find_class] = [node for node in reader.body if isinstance(node, ast.FunctionDef)]
    assert find_class.name == "find_class"
    assert [type(node) for node in find_class.body] == [ast.Raise]


@pytest.mark.parametrize("name", FILES)
def test_every_public_function_and_class_says_what_it_is_for(name):
    tree = TREES[name]
    assert ast.get_docstring(tree), f"{name} has no docstring"
    silent = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert not silent


@pytest.mark.parametrize("name", FILES)
def test_a_module_is_read_in_one_sitting(name):
    lines = FILES[name].read_text(encoding="utf-8").count("\n")
    assert lines <= MOST_LINES


def test_the_public_names_are_there():
    for name in emodo.__all__:
        assert getattr(emodo, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        emodo.nothing  # noqa: B018
