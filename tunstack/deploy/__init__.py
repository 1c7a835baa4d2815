"""Deployment of hosts: network namespaces, bridges, and multi-process hosts.

namespace   `open_namespace`, `open_host`: a private kernel network, a TUN device, a host on it
bridge      two network stacks with an impaired path between them
workers/    one host in several processes, each with a queue of a multi-queue device
"""
