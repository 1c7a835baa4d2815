"""Two endpoints, an impaired path, one virtual clock and one seed: no trio, no kernel.

The same seed gives the same octets on the wire: how the core is proven, and how a change shows.
"""
