"""Where hosts run: private kernel networks, bridges between two of them, and many processes.

namespace   `open_namespace`, `open_host`: a kernel network, a TUN device, and a host on it
bridge      two network stacks with an impaired path between them
workers/    one host in several processes, each with a queue of the device
"""
