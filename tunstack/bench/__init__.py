"""The benchmark: the same trio program over tunstack and over kernel sockets, side by side.

Both serve in this one process, in one private namespace, to the same client process; the kernel's
side over the namespace's loopback. The two take turns, A B A B, and what counts is the ratio of the
medians: this way a busy machine disturbs both alike.
"""

from __future__ import annotations
