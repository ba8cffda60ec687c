"""Adapters: one function a data set layout, from files on disk to a manifest (`emodo prepare NAME ...`)."""

from emodo.adapters.affectnet import affectnet
from emodo.adapters.caers import caers
from emodo.adapters.ckplus import ckplus
from emodo.adapters.deepsentiment import deepsentiment
from emodo.adapters.emoset import emoset
from emodo.adapters.emotic import emotic
from emodo.adapters.emotion6 import emotion6
from emodo.adapters.emotion6panda import emotion6panda
from emodo.adapters.expw import expw
from emodo.adapters.fer2013 import fer2013
from emodo.adapters.ferplus import ferplus
from emodo.adapters.fi import fi
from emodo.adapters.folder import folder
from emodo.adapters.groupwalk import groupwalk
from emodo.adapters.jaffe import jaffe
from emodo.adapters.kdef import kdef
from emodo.adapters.mixbasic import mixbasic
from emodo.adapters.mmi import mmi
from emodo.adapters.oulucasia import oulucasia
from emodo.adapters.rafdb import rafdb
from emodo.adapters.sfew import sfew
from emodo.adapters.table import table
from emodo.adapters.webemo import webemo

ADAPTERS = {
    "table": table,
    "folder": folder,
    "ckplus": ckplus,
    "mmi": mmi,
    "oulucasia": oulucasia,
    "mixbasic": mixbasic,
    "fer2013": fer2013,
    "ferplus": ferplus,
    "rafdb": rafdb,
    "affectnet": affectnet,
    "expw": expw,
    "sfew": sfew,
    "jaffe": jaffe,
    "kdef": kdef,
    "deepsentiment": deepsentiment,
    "emotion6panda": emotion6panda,
    "emotion6": emotion6,
    "webemo": webemo,
    "emotic": emotic,
    "caers": caers,
    "groupwalk": groupwalk,
    "emoset": emoset,
    "fi": fi,
}
