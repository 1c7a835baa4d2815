"""What the test runs within a test run need."""

from __future__ import annotations

import pkgutil
from importlib import import_module

import pytest

import tunstack


@pytest.fixture(scope="session", autouse=True)
def all_is_imported() -> None:
    """Import everything first: what an inner run imports, pytester would take away after it.

    Other tests would then have two of each class; and some modules can be imported once only.
    """
    for module in ("dns.resolver", "h11", "httpx", "hypercorn.trio", "requests", "trustme"):
        import_module(module)
    for found in pkgutil.walk_packages(tunstack.__path__, "tunstack."):
        if not found.name.endswith("__main__"):
            import_module(found.name)
