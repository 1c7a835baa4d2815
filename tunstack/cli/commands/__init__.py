"""The commands: the arguments, options and help of each, with click and no more.

`run`, `serve`, `connect`, `ping` and `bridge` run hosts; `trace`, `stats` and `plot` read captures;
`behaviours` lists what apps can do wrong, `doctor` prints a diagnosis, `demo` explains a
connection, `bench` and `bench_loss` measure. Each imports what it does from
:mod:`tunstack.cli.running` when it runs, so that ``--help`` and usage errors need none of it.
"""
