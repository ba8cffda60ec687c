"""Adapters: one function a data set layout, from files on disk to a manifest (`emodo prepare NAME ...`)."""

from emodo.adapters.caers import caers
from emodo.adapters.deepsentiment import deepsentiment
from emodo.adapters.emoset import emoset
from emodo.adapters.emotic import emotic
from emodo.adapters.emotion6 import emotion6
from emodo.adapters.emotion6panda import emotion6panda
from emodo.adapters.fi import fi
from emodo.adapters.folder import folder
from emodo.adapters.groupwalk import groupwalk
from emodo.adapters.table import table
from emodo.adapters.webemo import webemo

ADAPTERS = {
    "table": table,
    "folder": folder,
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
