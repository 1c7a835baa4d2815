"""A download over QUIC: aioquic's protocol core over datagrams of tunstack's, and of the kernel's.

    python examples/quic.py

The server is at 198.51.100.2, over a trio socket that is tunstack's; the client is over one of the
kernel's. aioquic does no I/O: it is given the datagrams that arrive, and the time.
"""

import datetime
from collections.abc import Callable

import trio
from aioquic.buffer import Buffer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import QuicEvent, StreamDataReceived
from aioquic.quic.packet import pull_quic_header
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

import tunstack

NAME, PORT, ALPN = "tunstack.example", 4433, "download"
PAGE = bytes(range(256)) * 20_000


def certified() -> tuple[QuicConfiguration, QuicConfiguration]:
    """The server's configuration with a certificate of its own, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, SHA256())
    )
    server = QuicConfiguration(alpn_protocols=[ALPN], is_client=False)
    server.certificate, server.private_key = certificate, key
    client = QuicConfiguration(alpn_protocols=[ALPN], server_name=NAME)
    client.load_verify_locations(cadata=certificate.public_bytes(Encoding.PEM))
    return server, client


async def drive(
    quic: QuicConnection, sock: trio.socket.SocketType, handle: Callable[[QuicEvent], bool]
) -> None:
    """Move datagrams between a connection and a socket, until `handle` says that all is done."""
    while True:
        for data, address in quic.datagrams_to_send(now=trio.current_time()):
            await sock.sendto(data, address)
        timer = quic.get_timer()
        with trio.move_on_at(float("inf") if timer is None else timer) as waiting:
            data, address = await sock.recvfrom(65535)
            quic.receive_datagram(data, address, now=trio.current_time())
        if waiting.cancelled_caught:
            quic.handle_timer(now=trio.current_time())
        while (event := quic.next_event()) is not None:
            if handle(event):
                return


async def serve(sock: trio.socket.SocketType, configuration: QuicConfiguration) -> None:
    """Answer the first client."""
    data, address = await sock.recvfrom(65535)
    header = pull_quic_header(Buffer(data=data), host_cid_length=8)
    quic = QuicConnection(
        configuration=configuration,
        original_destination_connection_id=header.destination_cid,
    )
    quic.receive_datagram(data, address, now=trio.current_time())

    def handle(event: QuicEvent) -> bool:
        if isinstance(event, StreamDataReceived) and event.end_stream:
            print(f"asked for: {event.data.decode()}")
            quic.send_stream_data(event.stream_id, PAGE, end_stream=True)
        return False

    await drive(quic, sock, handle)


async def download(sock: trio.socket.SocketType, configuration: QuicConfiguration) -> bytes:
    """Ask for the page, and return it."""
    quic = QuicConnection(configuration=configuration)
    quic.connect(("198.51.100.2", PORT), now=trio.current_time())
    quic.send_stream_data(quic.get_next_available_stream_id(), b"GET /", end_stream=True)
    page = bytearray()

    def handle(event: QuicEvent) -> bool:
        if isinstance(event, StreamDataReceived):
            page.extend(event.data)
            return event.end_stream
        return False

    await drive(quic, sock, handle)
    return bytes(page)


async def main() -> None:
    for_server, for_client = certified()
    async with tunstack.open_namespace() as ns, ns.open_host("198.51.100.2/24") as host:
        with host.socket_factory():
            server = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
        client = ns.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
        with server, client:  # Closed when nobody waits on them any more.
            async with trio.open_nursery() as nursery:
                await server.bind(("198.51.100.2", PORT))
                nursery.start_soon(serve, server, for_server)
                page = await download(client, for_client)
                print(f"the kernel's client got {len(page):,} bytes")
                print(f"they are what was sent: {page == PAGE}")
                nursery.cancel_scope.cancel()


trio.run(main)
