"""Hatchling's hook: with ``TUNSTACK_COMPILE=1`` the core is compiled into the wheel."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import build_core

COMPILE = os.environ.get("TUNSTACK_COMPILE") == "1"


class CompiledCore(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the libraries to the wheel, and the platform to its name."""

    def dependencies(self) -> list[str]:
        """What is installed to build the wheel."""
        return build_core.REQUIREMENTS if COMPILE else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, but not for an editable installation: for that there is ``make compile``.

        In a copy: libraries beside the source would be imported by whoever works on it.
        """
        if COMPILE and version == "standard":
            copy = Path(self.root, "build", "wheel")
            shutil.rmtree(copy / "tunstack", ignore_errors=True)
            unneeded = shutil.ignore_patterns("*.so", "__pycache__")
            shutil.copytree(Path(self.root, "tunstack"), copy / "tunstack", ignore=unneeded)
            for each in build_core.build(copy):
                build_data["force_include"][os.fspath(copy / each)] = os.fspath(each)
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
