"""What the commands do, imported when one runs.

`run`, `serve`, `connect`, `ping`, `bridge`, `trace`, `stats`, `plot`, `doctor`, `demo`, `bench` and
`bench_loss` each have what the module of that name in :mod:`tunstack.cli.commands` declares. They
share `execution` (trio, signals, exit statuses), `views` (what shows or records a host, if it is
wanted), `device` (its options, as hosts take them), `destination` (a host by address or name) and
`worker_service` (the service of workers).
"""
