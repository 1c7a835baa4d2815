# tunstack with its command line, and curl for the demo.
#
#     docker build -t tunstack .
#
# The container needs the machine's TUN device, and one of these (not --privileged):
#
#   docker run --rm --device /dev/net/tun --security-opt seccomp=unconfined tunstack demo
#       None but Docker's usual capabilities. `run` and `demo` make a network namespace within a user namespace, which
#       Docker's seccomp profile forbids (unshare, clone and setns with namespaces, mount).
#   docker run --rm --device /dev/net/tun --cap-add NET_ADMIN --cap-add SYS_ADMIN tunstack demo
#       Docker's profile, which allows these system calls with CAP_SYS_ADMIN. Both capabilities are
#       needed: SYS_ADMIN for the namespace, NET_ADMIN for the device in it.
#   docker run --rm --device /dev/net/tun --cap-add NET_ADMIN tunstack serve http --address 198.51.100.2/24
#       Docker's profile, and no SYS_ADMIN: a host in the container's own network, no namespace.
#
# Podman's profile allows user namespaces: podman run --rm --device /dev/net/tun tunstack demo
# Where AppArmor confines the container (profile docker-default) it forbids mount, without which
# programs do not find tunstack's names: add --security-opt apparmor=unconfined for the demo.
# `tunstack doctor`, run in the same way, tells which of it holds.
FROM python:3.13-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends curl \
    && rm -rf /var/lib/apt/lists/*

# python-pytun has wheels for x86-64 only: elsewhere a compiler comes, and goes again.
COPY . /src
RUN if [ "$(uname -m)" != x86_64 ]; then \
        apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev; \
    fi \
    && pip install --no-cache-dir "/src[cli]" \
    && if [ "$(uname -m)" != x86_64 ]; then \
        apt-get purge --yes --auto-remove gcc libc6-dev && rm -rf /var/lib/apt/lists/*; \
    fi

ENTRYPOINT ["tunstack"]
CMD ["doctor"]
