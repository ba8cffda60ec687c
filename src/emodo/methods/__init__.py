"""Every method that emodo can train; a new one is a file and a line here."""

from emodo.methods.base import Method, Prediction
from emodo.methods.erm import ERM, Resampling
from emodo.methods.iern import IERN, Disentanglement

__all__ = ["ERM", "IERN", "Disentanglement", "Method", "Prediction", "Resampling"]
