"""A host at work, on a terminal: ``--watch``.

It is like top: the host above, a table of its connections, below it the numbers of the chosen one
as ``ss -ti`` has them, and its ladder on request.

looking   what is looked at, and what keys change
frame     all of it as lines
columns   the table of connections: which columns fit
lines     styled text that fits, without control characters
units     numbers in few characters
keys      the keys that a terminal sends
screen    the terminal: entered, drawn on, left as it was
output    what is written on the terminal meanwhile: collected
showing   the tasks that read keys, take samples and draw, while a block runs
"""
