"""Start the holder of a namespace: `python -I -S _start_holder.py PACKAGE PYTUN FD`.

It is run by path and without `site`, with the packages on the way to the holder put in by hand,
because importing `tunstack` the usual way imports trio: that would take ten times as long.
"""

import sys
from types import ModuleType

if __name__ == "__main__":
    package, pytun_folder, descriptor = sys.argv[1:]
    for name, path in (("tunstack", package), ("tunstack.link", f"{package}/link")):
        module = sys.modules[name] = ModuleType(name)
        module.__path__ = [path]
    sys.path.append(pytun_folder)

    from tunstack.link.holder import main

    main(int(descriptor))
