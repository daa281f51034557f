#!/bin/sh
# What a node does: an sshd with host keys of its own, made now, so that no two nodes share any.
set -eu
if [ ! -f /tmp/sshd/host_key ]; then
    mkdir -p -m 700 /tmp/sshd
    ssh-keygen -q -t ed25519 -N '' -f /tmp/sshd/host_key
fi
exec /usr/sbin/sshd -D -e -f /etc/disttrain/sshd_config
