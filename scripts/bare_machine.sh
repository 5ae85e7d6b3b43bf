#!/usr/bin/env bash
# Runs make in a fresh clone on a Debian that has nothing but git and make, and tells how long each verb took.
#
#   scripts/bare_machine.sh FOLDER [WHAT...]     as root; the system is made in FOLDER
#
# WHAT is a verb of the Makefile, or a wheel to install and check there; the default is: demo test.
# A chroot stands in for the machine. The clone is of the last commit here. Mirror, proxy, certificates and the
# settings of pip are this machine's, copied as they are: a network that needs them here needs them there.
set -euo pipefail

folder=$1
shift
[ $# -gt 0 ] || set -- demo test  # in this order: the first command of a new user comes first
[ "$(id -u)" = 0 ] || { echo "error: a chroot is made by root" >&2; exit 1; }
[ ! -e "$folder" ] || { echo "error: $folder exists: name a new folder" >&2; exit 1; }
repository=$(cd "$(dirname "$0")/.." && pwd)
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)

echo "Making a bare $suite in $folder"
debootstrap --variant=minbase --include=git,make,ca-certificates "$suite" "$folder" "$mirror" >"$folder.log" \
    || { tail "$folder.log" >&2; exit 1; }
cp -r /etc/apt/apt.conf.d "$folder/etc/apt/"
cp /etc/resolv.conf /etc/hosts "$folder/etc/"
cp /etc/ssl/certs/ca-certificates.crt "$folder/etc/ssl/certs/"
[ ! -e /etc/pip.conf ] || cp /etc/pip.conf "$folder/etc/"
[ ! -e ~/.config/pip ] || cp -r --parents ~/.config/pip "$folder"
git clone --quiet --no-local "$repository" "$folder/root/gluon-resnet"

settings=(HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
mapfile -t -O "${#settings[@]}" settings < <(env | grep -iE '^(PIP_|SSL_CERT_|(https?|no)_proxy=)' || true)

# A mount namespace of its own: /proc and /dev are gone with the command, whatever becomes of it.
inside() {
    unshare --mount bash -c '
        mount --bind /proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$0" env -i "$@"
    ' "$folder" "${settings[@]}" "$@"
}

inside bash -c 'cd /root/gluon-resnet && git log -1 --format="%h %s" && ! command -v gcc python3'
for what; do
    start=$SECONDS
    if [ -f "$what" ]; then
        cp "$what" "$folder/root/"
        inside bash -c 'apt-get update && apt-get install -y --no-install-recommends python3-venv' >"$folder.log"
        inside /root/gluon-resnet/scripts/check_install.sh python3 "/root/$(basename "$what")"
    else
        inside make -C /root/gluon-resnet "$what"
    fi || { echo "$what: failed after $((SECONDS - start)) s"; exit 1; }
    echo "$what: $((SECONDS - start)) s"
done
