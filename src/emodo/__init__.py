"""emodo: visual emotion recognition under P(Y | do(X)).

The public names are imported when they are first used, so that `import emodo` costs nothing.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "ERM": "emodo.methods",
    "IERN": "emodo.methods",
    "Disentanglement": "emodo.methods",
    "Method": "emodo.methods",
    "Curriculum": "emodo.methods",
    "DACL": "emodo.methods",
    "NWGM": "emodo.methods",
    "Resampling": "emodo.methods",
    "EmotionClassifier": "emodo.classifier",
    "Batch": "emodo.records",
    "Confounder": "emodo.records",
    "InputError": "emodo.records",
    "Model": "emodo.models",
    "Task": "emodo.records",
    "evaluate": "emodo.evaluation",
    "load": "emodo.exchange",
    "load_method": "emodo.runs",
    "predict": "emodo.prediction",
    "probe": "emodo.probing",
    "report": "emodo.reporting",
    "save_pretrained": "emodo.exchange",
    "train": "emodo.training",
}
__all__ = [*_PUBLIC, "__version__"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'emodo' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)
