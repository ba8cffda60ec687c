"""Every method that emodo can train; a new one is a file and a line here."""

from emodo.methods.adjustment import LogitAdjustment, StyleIntervention
from emodo.methods.alignment import CORAL, DANN
from emodo.methods.base import Method, Prediction
from emodo.methods.ccim import CCIM
from emodo.methods.clef import CLEF
from emodo.methods.curriculum import Curriculum
from emodo.methods.dacl import DACL
from emodo.methods.erm import ERM, Resampling
from emodo.methods.failures import JTT, LfF
from emodo.methods.hosts import CAERNet, EMOTNet
from emodo.methods.iern import IERN, Disentanglement
from emodo.methods.nwgm import NWGM
from emodo.methods.reweighting import DFR, GroupDRO, Reweighting
from emodo.methods.style import MixStyle, StyleAugmentation

__all__ = [
    "CCIM",
    "CLEF",
    "CORAL",
    "DACL",
    "DANN",
    "DFR",
    "ERM",
    "IERN",
    "JTT",
    "NWGM",
    "CAERNet",
    "Curriculum",
    "Disentanglement",
    "EMOTNet",
    "GroupDRO",
    "LfF",
    "LogitAdjustment",
    "Method",
    "MixStyle",
    "Prediction",
    "Resampling",
    "Reweighting",
    "StyleAugmentation",
    "StyleIntervention",
]
