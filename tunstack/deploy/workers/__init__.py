"""One host in several processes, so that it can have several processors.

A TUN device has as many queues as there are workers (:mod:`tunstack.link.multiqueue` says how the
kernel deals flows out to them), and each worker is a process of its own with a queue of its own, a
:class:`~tunstack.host.host.Host` with the same address on it, and the same service. A flow belongs
to the worker that got its SYN, and no worker knows of another.

    opening     what is asked for, checked; the device
    parent      all workers together; adds up what they count
    keeper      one of them: starts it, and anew when it has died
    child       what runs in a worker's process
    channel     what they tell each other
    backoff     when to start anew what dies again and again

What was decided:

- The parent has all queues open, and reads none. So the number of queues stays the same when a
  worker dies, on which depends that everybody else's idle flows stay where they are; and what
  arrives meanwhile waits for the successor. That knows none of the dead one's connections and
  answers with RSTs, as a host does that was restarted (RFC 9293 section 3.5.1).
- Workers listen, and do not connect: who gets the answer to a SYN of ours is the kernel's choice,
  and mostly another. So it is refused.
- An ICMP error comes to one of the workers, whichever flow it is about. When that has no such
  flow, it hands it to the others by way of the parent.
- Processes are started fresh, with the service pickled, that is by name: a fork of a process that
  runs trio would be neither trio's nor ours.
"""
