"""Every method that emodo can train; a new one is a file and a line here."""

from emodo.methods.base import Method, Prediction
from emodo.methods.curriculum import Curriculum
from emodo.methods.dacl import DACL
from emodo.methods.erm import ERM, Resampling
from emodo.methods.iern import IERN, Disentanglement
from emodo.methods.nwgm import NWGM

__all__ = ["DACL", "ERM", "IERN", "NWGM", "Curriculum", "Disentanglement", "Method", "Prediction", "Resampling"]
