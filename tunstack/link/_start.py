"""Run a module in a child process: `python -I -S _start.py PACKAGE LIBRARIES MODULE ARGUMENT...`.

It calls ``MODULE.main(*ARGUMENTS)`` of a module of :mod:`tunstack`. It is run by path and without
`site`, and replaces the packages by empty modules, because importing their `__init__` takes ten
times as long.
"""

import os
import sys
from importlib import import_module
from types import ModuleType

if __name__ == "__main__":
    package, libraries, name, *arguments = sys.argv[1:]
    folders = {"tunstack": package}
    with os.scandir(package) as entries:
        folders |= {f"tunstack.{entry.name}": entry.path for entry in entries if entry.is_dir()}
    for parent, path in folders.items():
        module = sys.modules[parent] = ModuleType(parent)
        module.__path__ = [path]
    sys.path += [*libraries.split(":"), os.path.dirname(package)]  # A compiled core has a library.

    import_module(f"tunstack.{name}").main(*arguments)
    # The interpreter would give back all that it has, one by one: as long as some imports take.
    sys.stdout.flush()
    os._exit(0)
