"""Which services may be given to workers; and everything else that is refused at once."""

from __future__ import annotations

import pytest

import tunstack
from tests.workers import services
from tunstack.deploy.workers.parent import pickled


def test_a_service_that_has_no_name_is_refused() -> None:
    with pytest.raises(ValueError, match="the service has something in it that other processes"):
        pickled(lambda _: None, "the service")


def test_a_service_of_the_main_module_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services.echo, "__module__", "__main__")
    for service in (services.echo, services.nowhere):
        with pytest.raises(ValueError, match="put it into a module that can be imported"):
            pickled(service, "the service")


@pytest.mark.parametrize("count", [0, -1, 254])
async def test_a_number_of_workers_that_cannot_be_is_refused(count: int) -> None:
    with pytest.raises(tunstack.SetupError, match=f"^{count} workers cannot be: choose from 1 to"):
        async with tunstack.open_workers(services.echo, count):
            pytest.fail("it opened")


async def test_a_rate_is_refused_since_each_worker_would_have_it() -> None:
    with pytest.raises(tunstack.SetupError, match="a rate would be each one's"):
        async with tunstack.open_workers(services.echo, 2, impair="in:rate=1mbit"):
            pytest.fail("it opened")
