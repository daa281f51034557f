#!/bin/bash
# A Docker engine for as long as a command runs, where none does yet: docker/engine.sh COMMAND...
# Ends with 69 and the reason, and starts nothing, where there can be none. On a CI machine
# (CI=true) root installs Debian's first; what was started is stopped at the end, with all it held.
set -euo pipefail
cannot() { echo "no Docker engine: $1" >&2; exit 69; }
has() { command -v "$1" >/dev/null; }
answers() { has docker && timeout 20 docker version >/dev/null 2>&1; }
composes() { has docker-compose || docker compose version >/dev/null 2>&1; }

if [ "${CI:-}" = true ] && [ "$(id -u)" = 0 ] && has apt-get; then
    packages=()
    answers || has dockerd || packages+=(docker.io iptables)
    composes || packages+=(docker-compose)
    # For docker/make-base.sh, where no registry can be reached.
    has mmdebstrap || packages+=(mmdebstrap)
    if [ ${#packages[@]} -gt 0 ]; then
        export DEBIAN_FRONTEND=noninteractive
        { apt-get update && apt-get install --yes --no-install-recommends "${packages[@]}"; } \
            >/dev/null 2>&1 || echo "engine.sh: can't install ${packages[*]}" >&2
    fi
fi
composes || cannot "neither docker compose nor docker-compose is installed"
if answers; then exec "$@"; fi
[ "$(id -u)" = 0 ] || cannot "none answers, and only root can start one"
has dockerd || cannot "none answers, and dockerd is not installed"

has iptables || cannot "none answers, and iptables is not installed"

# What is to be as before; root in a container may not even ask.
bridged=no
[ -e /sys/class/net/docker0 ] && bridged=yes
forwarding=$(iptables -S FORWARD 2>/dev/null | sed -n 1p) ||
    cannot "none answers, and root may not change the network here (NET_ADMIN)"
routing=$(cat /proc/sys/net/ipv4/ip_forward) || cannot "none answers, and there is no IPv4 here"
# Its socket, its data and its log lie in a folder of their own, and go with it.
folder=$(mktemp -d --suffix=-docker)
export DOCKER_HOST=unix://$folder/docker.sock
dockerd --host "$DOCKER_HOST" --data-root "$folder/data" --exec-root "$folder/exec" \
    --pidfile "$folder/pid" >"$folder/log" 2>&1 &
engine=$!
# An engine leaves its bridge and its rules behind; on such a host MPI may take the wrong network.
restore_network() {
    ip link delete docker0 2>/dev/null || true
    iptables-save | grep -vi docker | iptables-restore || true
    iptables $forwarding || true
    echo "$routing" >/proc/sys/net/ipv4/ip_forward || true
}
stop() {
    kill "$engine" 2>/dev/null || true
    for _ in $(seq 300); do kill -0 "$engine" 2>/dev/null || break; sleep 0.1; done
    kill -9 "$engine" 2>/dev/null || true
    [ "$bridged" = yes ] || restore_network
    rm -rf --one-file-system "$folder"
}
trap stop EXIT
trap 'exit 130' INT TERM
for _ in $(seq 60); do
    answers && break
    kill -0 "$engine" 2>/dev/null || break
    sleep 0.5
done
answers || cannot "dockerd does not start: $(grep -v level=info "$folder/log" | tail -n 1)"
"$@"
