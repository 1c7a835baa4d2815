"""A conversation by hand: a port on which no TCP answers, but a script does, segment by segment.

As packetdrill has it, with numbers relative to the SYNs, and with the kernel, or any other TCP, at
the other end::

    async with tunstack.open_conversation(host, 80) as talk:
        await talk.expect("SYN")
        talk.send("SYN,ACK", mss=1460)
        await talk.expect("ACK", seq=1, ack=1)

opening      takes a port from a host by a rule, or opens one towards a server
port         distributes the segments that come: each SYN of a client begins a conversation
conversation what a script holds: expect, send
exchange     its state: what came, what was read, what was sent
numbers      the relative sequence numbers of a side
segment      a segment with such numbers
options      TCP options from words to octets
expectation  what a segment must be like, and what of it differs
failure      the error, and its text: a table of the fields, and the ladder
"""
