"""Start a process of ours: `python -I -S _start.py PACKAGE LIBRARIES MODULE ARGUMENT...`.

It is run by path and without `site`, with the packages on the way to the module put in by hand,
because importing `tunstack` the usual way imports trio: that would take ten times as long. What
runs is ``MODULE.main(*ARGUMENTS)`` of :mod:`tunstack.link`.
"""

import sys
from importlib import import_module
from types import ModuleType

if __name__ == "__main__":
    package, libraries, name, *arguments = sys.argv[1:]
    for parent, path in (("tunstack", package), ("tunstack.link", f"{package}/link")):
        module = sys.modules[parent] = ModuleType(parent)
        module.__path__ = [path]
    sys.path += libraries.split(":")

    import_module(f"tunstack.link.{name}").main(*arguments)
