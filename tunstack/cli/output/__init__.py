"""What is printed and written.

`terminal` prints with rich, `files` are named by the user, or are standard input and output;
`observing` writes captures and the live ladder, with `keylog` (TLS keys), and `timings` is the
table of connections. `reporting` is the log of ``serve``, which `counting` counts for, and
`explaining` has the demo's lines.
"""
