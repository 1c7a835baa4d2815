"""What this machine allows, and what to do about what it does not: ``tunstack doctor``.

diagnose    `diagnose`: the whole, with what ``tunstack run`` does
trials      the outcomes of what was tried
finding     one line of the diagnosis, and the whole
machine     versions, the kernel, the container, limits
device      the device node, and the driver behind it
namespaces  network and user namespaces, and what forbids them
features    offload, multi-queue, IPv6: as tried on a throw-away device
programs    optional packages and programs

What the kernel allows is tried, in child processes (:mod:`tunstack.link.trial`) and by opening a
host as ``tunstack run`` does. Files below ``/proc`` only explain a refusal.
"""

from __future__ import annotations

from tunstack.deploy.diagnosis.diagnose import diagnose
from tunstack.deploy.diagnosis.finding import Diagnosis, Finding

__all__ = ["Diagnosis", "Finding", "diagnose"]
