"""Options and the types of their values; what they need beyond click is imported when one is given.

`parameters` has the types, `host` the options of all commands that run a host, `apps` what is
served and `names` the network's names; `keylog`, `page` and `watch` are options with more behind
them, and what they exclude.
"""
