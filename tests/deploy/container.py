"""What Docker's default seccomp profile does to namespaces, without Docker.

`python -m tests.deploy.container COMMAND...` executes COMMAND behind a seccomp filter that
refuses what the profile refuses to a container without CAP_SYS_ADMIN: unshare, setns, mount and
umount2 with EPERM, clone with a flag of a namespace too, and clone3 with ENOSYS. It is for x86-64.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from typing import Final

_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06  # BPF
_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
_NAMESPACE_FLAGS: Final = 0x7E020000
_CLONE, _CLONE3 = 56, 435
_REFUSED: Final = {"mount": 165, "umount2": 166, "unshare": 272, "setns": 308}
_NUMBER, _FIRST_ARGUMENT = 0, 16  # offsets in struct seccomp_data


def _instruction(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("HBBI", code, then, otherwise, value)


def _filter() -> bytes:
    lines = [_instruction(_LOAD, _NUMBER)]
    for number in _REFUSED.values():
        lines += [
            _instruction(_EQUAL, number, 0, 1),
            _instruction(_RETURN, _ERRNO | errno.EPERM),
        ]
    lines += [
        _instruction(_EQUAL, _CLONE3, 0, 1),
        _instruction(_RETURN, _ERRNO | errno.ENOSYS),
        _instruction(_EQUAL, _CLONE, 0, 3),
        _instruction(_LOAD, _FIRST_ARGUMENT),
        _instruction(_ANY_BIT, _NAMESPACE_FLAGS, 0, 1),
        _instruction(_RETURN, _ERRNO | errno.EPERM),
        _instruction(_RETURN, _ALLOW),
    ]
    return b"".join(lines)


def main(command: list[str]) -> None:
    """Install the filter, and execute `command`."""
    libc = ctypes.CDLL(None, use_errno=True)
    program = _filter()
    buffer = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    for arguments in (
        (_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, head, 0, 0),
    ):
        if libc.prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
