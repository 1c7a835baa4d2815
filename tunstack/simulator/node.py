"""One side of a simulation: a stack, the impairments of what it sends, and its bottleneck."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunstack.path.impair import Impairer
from tunstack.stack.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tunstack.ip.address import Interface
    from tunstack.path.impair import Impairments
    from tunstack.simulator.bottleneck import Bottleneck
    from tunstack.tcp.config import Config


class Node:
    """One side: a stack, the impairments of what it sends, and its bottleneck.

    Attributes:
        now: The virtual time, in seconds, when its timers last ran.
        soon: Calls a function at the present virtual time, after what is due before it.
    """

    def __init__(
        self,
        interface: Interface,
        mtu: int,
        rng: Random,
        impairments: Impairments,
        config: Config | None,
        bottleneck: Bottleneck | None,
        soon: Callable[[Callable[[], None]], None],
        *,
        offload: bool,
        predict: bool,
    ) -> None:
        self.now = 0.0
        self.bottleneck = bottleneck
        self.soon = soon
        self.address = interface.ip.packed
        self.stack = Stack(
            [interface], mtu, rng=rng, config=config, offload=offload, predict=predict
        )
        self.impairer = Impairer(impairments, rng)
