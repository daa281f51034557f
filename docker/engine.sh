#!/bin/bash
# A Docker engine for as long as a command runs, where none does yet: docker/engine.sh COMMAND...
# Ends with 69 (nothing was started) and the reason where there can be none. On a CI machine
# (CI=true) it installs Debian's; whatever it has started is stopped at the end.
set -euo pipefail
cannot() { echo "no Docker engine: $1" >&2; exit 69; }

answers() { timeout 20 docker version >/dev/null 2>&1; }
if command -v docker >/dev/null && answers; then exec "$@"; fi
[ "$(id -u)" = 0 ] || cannot "none answers, and only root can start one"
if ! command -v dockerd >/dev/null && [ "${CI:-}" = true ]; then
    command -v apt-get >/dev/null || cannot "dockerd is not installed, and there is no apt-get"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update && apt-get install --yes --no-install-recommends \
        docker.io docker-compose iptables mmdebstrap; } >/dev/null 2>&1 ||
        cannot "docker.io and docker-compose can't be installed"
fi
command -v dockerd >/dev/null || cannot "dockerd is not installed"

folder=$(mktemp -d --suffix=-docker)
export DOCKER_HOST=unix://$folder/docker.sock
# A path of its own in all that it writes: a Docker that comes later finds nothing of it.
setsid dockerd --host "$DOCKER_HOST" --data-root "$folder/data" --exec-root "$folder/exec" \
    --pidfile "$folder/pid" >"$folder/log" 2>&1 &
engine=$!
stop() {
    kill "$engine" 2>/dev/null || true
    for _ in $(seq 300); do kill -0 "$engine" 2>/dev/null || break; sleep 0.1; done
    kill -9 "$engine" 2>/dev/null || true
    rm -rf "$folder"
}
trap stop EXIT
for _ in $(seq 60); do
    answers && break
    kill -0 "$engine" 2>/dev/null || break
    sleep 0.5
done
answers || cannot "dockerd does not start: $(grep -v level=info "$folder/log" | tail -n 1)"
"$@"
