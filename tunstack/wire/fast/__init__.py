"""Readers and a writer for the most common headers, beside the general ones, and equal to them.

segment   a segment with timestamps and no other option, both ways
syn       the usual SYN
"""
