"""One host in several processes, to use several processors.

A multi-queue TUN device has one queue for each worker (:mod:`tunstack.link.multiqueue` has the
kernel's selection of queues). Each worker is a process with a :class:`~tunstack.host.host.Host` of
the same address on its queue, and runs the same service. A connection belongs to the worker that
receives its SYN; workers share no state.

    opening     `open_workers`: validates the arguments, creates the device
    parent      all workers: starts the supervisors, adds up statistics
    supervisor  one worker: starts its process, and restarts it when it dies
    child       the worker's process
    channel     messages between the parent and a worker
    backoff     the delay before a restart

Decisions:

- The parent keeps all queues open, and reads none. So the number of queues does not change when a
  worker dies, and the flows of the others stay on their queues; packets that arrive meanwhile stay
  queued for the successor. It has none of the old connections, and resets them as a restarted host
  does (RFC 9293 section 3.5.1).
- Workers listen, and do not connect: the kernel chooses the queue of the SYN,ACK, which is mostly
  another worker's. So connecting raises EOPNOTSUPP.
- An ICMP error arrives at one of the workers, whichever flow it concerns. A worker without that
  flow forwards it to the others through the parent.
- Processes are started afresh, and the service is pickled by name: a process that runs trio cannot
  be forked safely.
"""
