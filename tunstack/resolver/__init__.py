"""Resolves names over a host's own sockets."""
