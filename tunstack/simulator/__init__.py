"""Two endpoints, an impaired path between them, one virtual clock and one seed: no trio, no kernel.

The same seed gives the same octets on the wire; a minute of virtual time takes milliseconds. The
core is tested this way, and a digest of the packets shows each change of its behaviour::

    simulator = Simulator(seed=1, impairments=Impairments(loss=0.1, delay=0.01))
    client, server = simulator.connect()
    server.send(b"x" * 1_000_000)
    client.shutdown()
    server.shutdown()
    simulator.run(lambda: client.done and server.done)
    assert client.received == b"x" * 1_000_000

    simulator     the event loop: timers, packets on the path, the digest
    node          one side: a stack, and the impairments of what it sends
    bottleneck    a link of limited rate with a drop-tail queue
    application   what uses one end of a connection
    datagrams     what uses a UDP socket: ``DatagramApplication(simulator.server, 53, echo=True)``
    protocols     protocols: ``ProtocolApplications(simulator, simulator.server).serve(Echo, 7)``
"""

from tunstack.simulator.application import Application
from tunstack.simulator.bottleneck import Bottleneck
from tunstack.simulator.datagrams import Arrival, DatagramApplication
from tunstack.simulator.node import Node
from tunstack.simulator.protocols import ProtocolApplications
from tunstack.simulator.simulator import CLIENT, PORT, SERVER, Simulator, StuckError

__all__ = [
    "Simulator",
    "Application",
    "DatagramApplication",
    "Arrival",
    "ProtocolApplications",
    "Bottleneck",
    "Node",
    "StuckError",
    "CLIENT",
    "SERVER",
    "PORT",
]
