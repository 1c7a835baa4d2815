"""Make the diagnosis: try what ``tunstack run`` does, and explain."""

from __future__ import annotations

import os
import subprocess
import sys

from tunstack.deploy.addresses import IPV4_DEFAULT
from tunstack.deploy.diagnosis.device import device_findings
from tunstack.deploy.diagnosis.features import feature_findings
from tunstack.deploy.diagnosis.finding import Diagnosis
from tunstack.deploy.diagnosis.machine import limit_findings, place_findings, version_findings
from tunstack.deploy.diagnosis.namespaces import namespace_findings
from tunstack.deploy.diagnosis.programs import program_findings
from tunstack.deploy.diagnosis.trials import try_all
from tunstack.deploy.namespace import open_namespace
from tunstack.link.errors import SEE_DOCTOR, SetupError
from tunstack.link.plan import plan_tun


async def diagnose() -> Diagnosis:
    """Find out what this machine allows, with nothing of it changed.

    Namespaces and devices are made for it, and gone when it returns.
    """
    node = plan_tun(IPV4_DEFAULT, name=None, peer=None, mtu=None).node
    trials = await try_all(node)
    failure = await _run_failure()
    findings = (
        *version_findings(),
        *place_findings(),
        *device_findings(node),
        *namespace_findings(trials),
        *feature_findings(trials),
        *program_findings(),
        *limit_findings(),
    )
    return Diagnosis(findings, failure)


async def _run_failure() -> str | None:
    """Do what ``tunstack run`` does; returns why it does not work."""
    failure: str | None = None
    try:
        async with open_namespace(names={}) as namespace, namespace.open_host(IPV4_DEFAULT):
            # Its warnings, as that of another /etc/resolv.conf, have lines of their own.
            done = await namespace.run_process(
                [sys.executable, "-I", "-S", "-c", ""],
                check=False,
                capture_stderr=True,
                stdin=subprocess.DEVNULL,
                cwd=os.sep,
            )
            if done.returncode != 0:
                last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
                why = last or f"exit status {done.returncode}"
                failure = f"a program in the namespace fails: {why}"
    except* (SetupError, OSError) as group:
        failure = _line(group)
    return failure


def _line(group: BaseExceptionGroup[BaseException]) -> str:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error).removesuffix(SEE_DOCTOR)
