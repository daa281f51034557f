#!/bin/bash
# A cluster of containers: docker/cluster.sh up [WORKERS] | down
# COMPOSE_PROJECT_NAME and COMPOSE_FILE, where they are set, name another one than the usual;
# DOCKERFILE names the image's, as docker/Dockerfile.gpu.
set -euo pipefail
cd "$(dirname "$0")/.."
export COMPOSE_PROJECT_NAME=${COMPOSE_PROJECT_NAME:-disttrain}
export COMPOSE_FILE=${COMPOSE_FILE:-docker/compose.yml}
export DOCKERFILE=${DOCKERFILE:-docker/Dockerfile}
say() { echo "cluster: $1" >&2; }

command -v docker >/dev/null || { say "docker is not installed"; exit 69; }
docker version >/dev/null 2>&1 || { say "no Docker engine answers: start one"; exit 69; }
if docker compose version >/dev/null 2>&1; then compose=(docker compose)
elif command -v docker-compose >/dev/null; then compose=(docker-compose)
else say "neither docker compose nor docker-compose is installed"; exit 69; fi

# The image that a Dockerfile begins with: in FROM itself, or as the default of its argument BASE.
base_of() {
    local base
    base=$(sed -n 's/^FROM \(\S*\) AS build$/\1/p' "$1")
    if [ "$base" = '${BASE}' ]; then base=$(sed -n 's/^ARG BASE=//p' "$1"); fi
    echo "$base"
}

build() {
    local base
    base=$(base_of "$DOCKERFILE")
    [ "$base" ] || { say "$DOCKERFILE has no line FROM ... AS build"; exit 2; }
    if ! docker image inspect "$base" >/dev/null 2>&1 && ! timeout 300 docker pull "$base"; then
        say "no registry gives $base: it is made of Debian's packages"
        docker/make-base.sh "$base" >&2
    fi
    # Its output is long and only of interest where it fails.
    local log
    log=$(mktemp)
    say "building the image"
    "${compose[@]}" build keys >"$log" 2>&1 || { cat "$log" >&2; rm "$log"; exit 1; }
    rm "$log"
}

up() {
    local names=(head) workers=$1
    for ((i = 1; i <= workers; i++)); do names+=("worker$i"); done
    build
    "${compose[@]}" up -d --no-build "${names[@]}" >&2
    # Each node is ready when the head can start a command there; and that makes the host file.
    "${compose[@]}" exec -T head sh -c '
        for node in "$@"; do
            for try in $(seq 30); do ssh "$node" true 2>/dev/null && break; sleep 1; done
            ssh "$node" true || { echo "cluster: $node does not answer" >&2; exit 1; }
            echo "$node slots=1"
        done > hosts' sh "${names[@]}" </dev/null
    tar --create examples/*.toml data/mnist data/small | "${compose[@]}" exec -T head tar --extract
    echo "${#names[@]} nodes are up: ${names[*]}. To train on them:"
    echo "  ${compose[*]} -p $COMPOSE_PROJECT_NAME -f ${COMPOSE_FILE//:/ -f } exec head bash"
    echo "  disttrain prepare mnist data/mnist.h5"
    echo "  disttrain launch --hostfile hosts --restarts 3 train examples/mnist-800.toml"
}

case ${1:-} in
up)
    workers=${2:-3}
    [[ $workers =~ ^[1-7]$ ]] || { say "WORKERS is 1 to 7, not $workers"; exit 2; }
    up "$workers" ;;
down) "${compose[@]}" down --volumes --timeout 5 ;;
*) say "up [WORKERS] or down"; exit 2 ;;
esac
