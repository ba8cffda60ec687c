"""The one place where a pickle is read: as data, never as code.

A pickle is a program. This reader looks at every instruction before any is run, and admits those alone that make
dictionaries, lists, text and numbers; nothing that could name a function, a class or an object is among them.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any, NoReturn

from emodo.records import InputError

MOST_BYTES = 64 * 2**20
STORED = {"PUT", "BINPUT", "LONG_BINPUT"}  # a place in the reader's memory, for which it is made long enough
FRAMING = {"PROTO", "FRAME", "STOP", "MARK", "MEMOIZE", "GET", "BINGET", "LONG_BINGET"}
DICTS = {"EMPTY_DICT", "DICT", "SETITEM", "SETITEMS"}
LISTS = {"EMPTY_LIST", "LIST", "APPEND", "APPENDS"}
TEXT = {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING"}
NUMBERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "NEWTRUE", "NEWFALSE"}
PLAIN = STORED | FRAMING | DICTS | LISTS | TEXT | NUMBERS


def read_pickle(file: Path) -> Any:
    """The dictionary, list, text or number that a pickle of at most 64 MB holds.

    Raises:
        InputError: No such file, a larger one, a damaged one, or one that holds or does anything else. None of its
            instructions has been run by then.
    """
    if not file.is_file():
        raise InputError(f"{file} is missing: no such file")
    if file.stat().st_size > MOST_BYTES:
        raise InputError(f"{file} is larger than {MOST_BYTES >> 20} MB: no list of labels is")
    data = file.read_bytes()
    try:
        for code, argument, _ in pickletools.genops(data):
            if code.name not in PLAIN:
                raise InputError(
                    f"{file} holds more than dictionaries, lists, text and numbers ({code.name}), and may be a "
                    "program: it is not opened"
                )
            if code.name in STORED and int(str(argument)) > len(data):
                raise InputError(f"{file} is no pickle that Python wrote: it is not opened")
        return _Plain(io.BytesIO(data)).load()
    except InputError:
        raise
    except Exception as error:  # a damaged pickle raises anything
        raise InputError(f"{file} cannot be read as a pickle ({' '.join(str(error).split())})") from None


class _Plain(pickle.Unpickler):
    """Names nothing, should an instruction that names something ever be admitted."""

    def find_class(self, module_name: str, global_name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it names {module_name}.{global_name}")
