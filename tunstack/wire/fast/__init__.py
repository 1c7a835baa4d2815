"""Fast readers and a writer for the most common headers, equivalent to the general codec.

segment   a segment with timestamps and no other option: reader and header template
syn       the usual SYN: reader
"""
