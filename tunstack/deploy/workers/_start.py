"""Start a worker: `python _start.py PATHS DESCRIPTOR`, with the parent's `sys.path` as JSON.

It finds what its parent has found, however that was started; as `multiprocessing` does it.
"""

import json
import sys

if __name__ == "__main__":
    sys.path[:] = json.loads(sys.argv[1])

    from tunstack.deploy.workers.child import main

    main(int(sys.argv[2]))
