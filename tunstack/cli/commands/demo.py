"""``tunstack demo``: from a name to a page over TLS, explained packet by packet."""

from __future__ import annotations

import click


@click.command(epilog="\b\nExample:\n  tunstack demo")
def demo() -> int:
    """Show how a client gets from a name to a page, and explain it packet by packet.

    In a private network, curl fetches a page by https: look-up, TCP and TLS handshake, request,
    teardown. Then a client half-closes its connection and receives the response afterwards. The
    exit status is 0 if both succeed.
    """
    from tunstack.cli.running import demo as running

    return running.demo()
