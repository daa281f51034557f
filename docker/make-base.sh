#!/bin/bash
# Makes the image that docker/Dockerfile begins with from Debian's packages, where no registry of
# images can be reached: docker/make-base.sh [python:3.11-slim-bookworm]
# Needs mmdebstrap and a running Docker. Takes this host's own package sources and certificates;
# MIRROR=https://mirror.example.org/debian names another source.
set -euo pipefail
tag=${1:-python:3.11-slim-bookworm}
suite=bookworm
hooks=()

case $tag in
python:3.11-slim-$suite | python:3.11-$suite) packages=ca-certificates,python3,python3-venv
    # As in the image of that name, Python's prefix is /usr/local: Python packages look there.
    hooks+=(--customize-hook='chroot "$1" python3 -m venv /usr/local') ;;
debian:$suite | debian:$suite-slim) packages=ca-certificates ;;
*) echo "make-base.sh: $tag can't be made of Debian $suite: python:3.11-slim-$suite can" >&2; exit 2 ;;
esac
for program in mmdebstrap docker; do
    command -v $program >/dev/null ||
        { echo "make-base.sh needs $program: apt-get install $program" >&2; exit 2; }
done

# Where this host reaches its package servers by certificates of its own, the image does too.
if compgen -G '/usr/local/share/ca-certificates/*.crt' >/dev/null; then
    hooks+=(--customize-hook='cp /usr/local/share/ca-certificates/*.crt "$1/usr/local/share/ca-certificates/"'
            --customize-hook='chroot "$1" update-ca-certificates'
            --customize-hook='printf "[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n" > "$1/etc/pip.conf"')
fi
sources=()
if [ -n "${MIRROR:-}" ]; then
    sources=("$MIRROR")
elif grep -qs "VERSION_CODENAME=$suite" /etc/os-release &&
     [ -f /etc/apt/sources.list.d/debian.sources ]; then
    sources=(/etc/apt/sources.list.d/debian.sources)
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mmdebstrap --quiet --variant=minbase --include="$packages" \
    --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    "${hooks[@]}" "$suite" "$folder/root.tar" "${sources[@]}"
docker import --change 'CMD ["bash"]' --change 'LABEL disttrain.made-by=make-base.sh' \
    --change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin' \
    "$folder/root.tar" "$tag" >/dev/null
echo "made $tag of Debian's packages"
