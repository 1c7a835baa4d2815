"""Start a worker: `python _start.py PATHS DESCRIPTOR`, with the parent's `sys.path` as JSON.

So the worker imports the same modules as its parent, as with `multiprocessing`.
"""

import json
import sys

if __name__ == "__main__":
    sys.path[:] = json.loads(sys.argv[1])

    from tunstack.deploy.workers.child import main

    main(int(sys.argv[2]))
