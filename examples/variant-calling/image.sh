#!/usr/bin/env bash
# Makes the image of the example out of Debian packages - bwa, samtools, bcftools, Python with pysam - without any registry.
#
#   image.sh NAME [DOCKER_OR_PODMAN_SOCKET]     imports it as NAME:latest; as root, on Debian or Ubuntu with debootstrap
#
# The file system is kept in ~/.cache/batchyard, so that only the first time takes a minute.
set -euo pipefail
name=$1
socket=${2:-/var/run/docker.sock}
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/batchyard
tar=$cache/variant-calling-bookworm-1.tar
mirror=$(grep -hsE '^(URIs:|deb )' /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources \
  | grep -oE 'https?://[^ ]*/debian/?( |$)' | head -n 1 || true)

if [ ! -e "$tar" ]; then
  mkdir -p "$cache"
  root=$(mktemp -d "${TMPDIR:-/var/tmp}/batchyard-image-XXXXXX")
  trap 'rm -rf --one-file-system "$root"' EXIT
  debootstrap --variant=minbase --include=ca-certificates bookworm "$root" ${mirror:+"$mirror"}  # else debootstrap knows one
  apt-config dump | grep '^Acquire' > "$root/etc/apt/apt.conf.d/00host" || true  # a proxy, say
  printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
  chmod +x "$root/usr/sbin/policy-rc.d"
  chroot "$root" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    bwa samtools bcftools python3 python3-pysam python3-botocore
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root/usr/sbin/policy-rc.d" "$root/etc/apt/apt.conf.d/00host"
  tar -C "$root" --exclude=./dev/* --exclude=./proc/* --exclude=./sys/* -cf "$tar.new" .
  mv "$tar.new" "$tar"
fi

# The example's own files on top: its programs, and what stands in for the pybwa wheel.
whole=$(mktemp "${TMPDIR:-/var/tmp}/batchyard-image-XXXXXX.tar")
trap 'rm -rf "$whole" "${root:-$whole}"' EXIT
cp "$tar" "$whole"
tar -C "$here" --exclude=__pycache__ --transform 's,^,opt/example/,' -rf "$whole" steps.py variant_calling
tar -C "$here/image" --transform 's,^,opt/packages/,' -rf "$whole" pybwa.py
curl -sS --fail-with-body --unix-socket "$socket" -H 'Content-Type: application/x-tar' -X POST --data-binary "@$whole" \
  "http://engine/v1.40/images/create?fromSrc=-&repo=$name&tag=latest" > /dev/null
