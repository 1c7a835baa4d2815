"""Links: what carries whole IP packets between the stack and the rest of the world, as bytes.

    base        the `Link` protocol: receive and send packets without blocking, wait, close
    errors      `SetupError`: a device or namespace that cannot be set up
    tun         a TUN device, by `read` and `writev` on its descriptor
    multiqueue  a multi-queue TUN device, one queue for each of several processes
    gated       any link, which reports no packets before it is opened
    pair        two links back to back in memory
    port        a port of a switch in memory, where packets arrive at given times
    plan        validation of a device's parameters
    device      creating and configuring a TUN device, in the caller's network namespace
    sharing     several hosts on one network of a namespace
    netlink     the rtnetlink messages that configure a device
    netns       a private network namespace, seen from outside
    holder      the process that lives in that namespace, and ends it
    enter       running a program in a namespace without `nsenter`
    entering    a thread in a namespace, for C libraries
    resolv_conf running a program with another /etc/resolv.conf, in a mount namespace of its own
    starting    starting child processes with few imports
    trial       trying what the kernel allows, in throw-away child processes
    forking     closing our descriptors in forked children

Nothing here parses a packet. The stack's process never enters a namespace: the holder process
creates the device there and passes its descriptor, which can be read from any namespace. So no
privileges are needed where the device node may be opened, and threads are not affected.
"""
