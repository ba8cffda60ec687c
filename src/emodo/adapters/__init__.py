"""Adapters: one function a data set layout, from files on disk to a manifest (`emodo prepare NAME ...`)."""

from emodo.adapters.folder import folder
from emodo.adapters.table import table

ADAPTERS = {"table": table, "folder": folder}
