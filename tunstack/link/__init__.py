"""Links: what carries whole IP packets between the stack and the rest of the world, as bytes.

    base        the `Link` protocol: receive and send packets without blocking, wait, close
    tun         a TUN device, by `readv` and `writev` on its descriptor
    multiqueue  a TUN device with a queue for each of several processes
    gated       any link, from which nothing is received before somebody says so
    pair        two links back to back in memory
    impair      what a bad path does to packets, decided without any I/O
    spec        the same as people write it
    impaired    any link, with a bad path behind it
    bridge      a bad path between two descriptors, seen from the process that wants it
    crossing    the process in which packets go over it
    pcapng      captures: written with a comment for each packet, read from pcap and pcapng
    netns       a private network namespace for the kernel's side, seen from outside
    holder      the process that lives in that namespace, and ends it
    starting    how such processes are started
    device      making and configuring a TUN device, in the caller's own namespace
    plan        checking what is asked of a device before anything is made

Nothing here knows what is in a packet. The stack's own process never enters a namespace: the holder
makes the device in there and passes its descriptor, which can be read from anywhere. So a program
needs no privileges where the device node may be opened, and threads need no care.
"""
