"""Tests that are run for IPv4 and for IPv6."""

from __future__ import annotations

from typing import Final

import pytest

from tunstack.ip.family import FAMILIES

each_family: Final = pytest.mark.parametrize(
    "family", FAMILIES, ids=[family.name for family in FAMILIES]
)
"""Runs a test with each `family`."""
