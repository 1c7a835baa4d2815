"""Deployment of hosts: network namespaces, bridges, and multi-process hosts.

namespace   `open_namespace`, `open_host`: a private kernel network, a TUN device, a host on it
addresses   the addresses that a host has where none are given
naming      the names of a namespace: served by its hosts, found by the programs in it
inside      the network of a namespace, as the sockets of this process see it
authority   a certificate authority for one run
build       whether the core is compiled
bridge      two network stacks with an impaired path between them
diagnosis/  what this machine allows: `tunstack doctor`
workers/    one host in several processes, each with a queue of a multi-queue device
"""
