"""Hatchling's hook: with ``TUNSTACK_COMPILE=1`` the core is compiled into the wheel."""

from __future__ import annotations

import os
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
        """Compile, but not for an editable installation: for that there is ``make compile``."""
        if COMPILE and version == "standard":
            for each in build_core.build(Path(self.root)):
                build_data["force_include"][os.path.join(self.root, each)] = os.fspath(each)
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
