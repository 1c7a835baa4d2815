"""One endpoint, sans-IO: packets in, packets out, connections in between.

stack         the endpoint: the calls of applications; it inherits from the two below
engine        packets in, to the protocol of each, and timers
transmission  what connections send, once per batch
context       the tables, accounts and queues that the parts below share
flow          a connection with its four-tuple, and what the stack notes about it
opening       active and passive OPEN
admission     which SYN may begin a connection: backlogs, half-open, cookies, rates
eviction      which connection ends when the host is full
peers         connections and memory by peer
memory        what connections hold, against the limit
limits        the limits of a host
time_wait     connections in TIME-WAIT without a socket
closed        sums over connections that are gone
timers        one queue for the deadlines of all connections
output        packets out, and observations of packets in and out
reassembly    fragments in
paths         ICMP in and out, and path MTU discovery
datagrams     UDP in and out: demultiplexing, sending, ICMP errors
udp_ports     UDP sockets by address and port
udp_route     the headers of a destination; packets of several datagrams (USO)
echo          ping sockets
configs       a connection's configuration, by the link, the family and the profile
profile       what differs in connections from some of the host's addresses
addresses     the host's addresses, and which packets are for them
statistics    the counters by name
observation   one packet, and what was made of it
"""
