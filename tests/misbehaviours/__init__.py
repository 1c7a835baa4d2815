"""The misbehaviours of docs/how-to: the lines there are those that these tests run.

`opening`, `network`, `segments`, `programs` and `names_and_tls` have them, group by group; `table`
is what one is, `rendering` makes the page, and `clients` are those that meet them.
"""
