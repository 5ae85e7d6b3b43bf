#!/usr/bin/env bash
# Trains over three hosts, one of which loses its link in the middle, on one machine: hosts are network namespaces.
#
#   sudo scripts/netns_training.sh     needs iproute2, and the environment of `make setup` (or PYTHON=...)
#
# Host 0 has the launcher and the scheduler, hosts 1 and 2 have a worker and a server each. Stands in for ssh: a
# program that enters the host, with nothing of our environment, and fails where its link is down.
set -euo pipefail

repository=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$repository/.venv/bin/python}
[ "$(id -u)" = 0 ] || { echo "error: network namespaces are made by root" >&2; exit 1; }
command -v ip >/dev/null || { echo "error: there is no ip: install iproute2" >&2; exit 1; }
[ ! -e /run/netns/gr-switch ] || { echo "error: the namespace gr-switch exists: is this running already?" >&2; exit 1; }
work=$(mktemp -d)

clean() {
    for name in gr-host0 gr-host1 gr-host2; do
        ip netns pids $name 2>/dev/null | xargs -r kill -9 || true
        ip netns delete $name 2>/dev/null || true
        rm -rf /etc/netns/$name
    done
    ip netns delete gr-switch 2>/dev/null || true
    rm -rf "$work"
}
trap clean EXIT
trap 'exit 1' INT TERM

fail() {
    echo "FAILED: $*" >&2
    [ ! -e "$work/log" ] || tail -n 30 "$work/log" >&2
    exit 1
}

# The hosts: 10.77.0.10 to .12, joined by a bridge that no firewall of this machine sees.
ip netns add gr-switch
ip -n gr-switch link add switch type bridge
ip -n gr-switch link set switch up
for number in 0 1 2; do
    host=gr-host$number
    ip netns add $host
    ip -n $host link set lo up
    ip -n gr-switch link add port$number type veth peer name eth0 netns $host
    ip -n gr-switch link set port$number master switch up
    ip -n $host address add 10.77.0.1$number/24 dev eth0
    ip -n $host link set eth0 up
    mkdir -p /etc/netns/$host
    printf '%s\n' "127.0.0.1 localhost" "10.77.0.10 gr-host0" "10.77.0.11 gr-host1" "10.77.0.12 gr-host2" \
        >/etc/netns/$host/hosts
done
link() { ip -n gr-switch link set "port$1" "$2"; }
mend() {  # the link of host 2, which answers a moment later
    link 2 up
    for _ in $(seq 50); do
        answer=$(ip netns exec gr-host2 bash -c ': >/dev/tcp/10.77.0.10/1' 2>&1) || true
        [[ $answer != *refused* ]] || return 0
        sleep 0.2
    done
    fail "host 2 is not back"
}

mkdir "$work/bin"
cat >"$work/bin/ssh" <<'SSH'
#!/usr/bin/env bash
while [ $# -gt 0 ]; do
    case $1 in
        -o | -p) shift 2 ;;
        *) if [ -z "${host:-}" ]; then host=$1; shift; else break; fi ;;
    esac
done
[ "$(ip netns exec "$host" cat /sys/class/net/eth0/operstate 2>&1)" = up ] \
    || { echo "ssh: connect to host $host port 22: No route to host" >&2; exit 255; }
# What runs there outlives this client, as with ssh.
setsid ip netns exec "$host" unshare --uts env -i HOME=/ PATH=/usr/bin:/bin \
    sh -c 'hostname "$0"; exec sh -c "$*"' "$host" "$@" <&0 &  # which would read /dev/null, and not the token
wait $!
SSH
chmod +x "$work/bin/ssh"

# A worker that tells its weights, which train.py does for worker 0 only, by a file.
cat >"$work/worker.py" <<'WORKER'
import os, sys, time, zlib

sys.path.insert(0, sys.argv.pop(1))
from gluon_resnet.cli import train
from gluon_resnet.runs import job as train_job
from gluon_resnet.cli.command import run

nets, build = [], train_job.build_network


def slowly(*args):  # so that the link is cut before the end
    net = build(*args)
    net.register_forward_hook(lambda *forward: time.sleep(float(os.environ.get("PAUSE", 0))))
    nets.append(net)
    return net


train_job.build_network = slowly


def main(argv):
    status = train.main(argv)
    crc = 0
    for name, parameter in sorted(nets[0].collect_params().items()):
        if parameter.grad_req != "null":  # moving averages are of what a worker has seen
            crc = zlib.crc32(parameter.data(parameter.list_ctx()[0]).asnumpy().tobytes(), crc)
    print(f"weights {crc:08x}")
    return status


run(main)
WORKER

printf '%s\n' gr-host1 gr-host2 >"$work/hosts"
options=$(cd "$repository" && OMP_NUM_THREADS=1 "$python" -c "import pathlib, sys
from tests.support.small_training import training_options
print(*training_options(pathlib.Path(sys.argv[1])))" "$work")
launcher=("$python" "$repository/tools/launch.py" -n 2 -s 2)
worker=(-- python "$work/worker.py" "$repository" $options --batch-size 4 --num-epochs 6 --kv-store dist_sync --resume)

# Like a shell on host 0. Standard error and output go to the log; the status is the launcher's.
on_host0() {
    (cd "$work" && OMP_NUM_THREADS=1 PATH="$work/bin:$PATH" exec ip netns exec gr-host0 unshare --uts \
        sh -c 'hostname gr-host0; exec "$@"' - "$@") >"$work/log" 2>&1
}
wait_for() {  # a text in the log
    for _ in $(seq 1200); do
        ! grep -q "$1" "$work/log" 2>/dev/null || return 0
        sleep 0.1
    done
    fail "not within 120 s: $1"
}
nobody() {  # is left on any host, within the seconds given
    for _ in $(seq $((10 * $1))); do
        [ -n "$(for number in 0 1 2; do ip netns pids gr-host$number; done)" ] || return 0
        sleep 0.1
    done
    return 1
}

echo "Training over three hosts"
on_host0 "${launcher[@]}" --hostfile hosts "${worker[@]}" --model-prefix whole || fail "status $?"
grep -q "worker 0 on gr-host2, worker 1 on gr-host1, scheduler on gr-host0, server 0 on gr-host2, server 1 on gr-host1" \
    "$work/log" || fail "the roles are on other hosts"
weights=$(sed -n 's/^\[worker [01]\] weights //p' "$work/log")
[ "$(wc -l <<<"$weights")" = 2 ] || fail "both workers have to tell their weights"
[ "$(uniq <<<"$weights" | wc -l)" = 1 ] || fail "the weights of the workers differ:" $weights
echo "ok: the weights of both workers have the checksum $(head -n 1 <<<"$weights")"
nobody 10 || fail "processes are left behind"

on_host0 "${launcher[@]}" "${worker[@]}" --model-prefix one || fail "status $?"
cmp "$work/whole-0006.params" "$work/one-0006.params" || fail "the weights are not those of one host"
echo "ok: workers and servers on one host end with the same bits"

cut() {  # the link of host 2, after the first epoch
    wait_for "^\[worker 0\] epoch "
    link 2 down
    start=$SECONDS
}
echo "Cutting the link of host 2 in the middle"
rm "$work/log"
on_host0 "${launcher[@]}" --hostfile hosts --env PAUSE=0.1 "${worker[@]}" --model-prefix cut & launch=$!
cut
status=0
wait $launch || status=$?
took=$((SECONDS - start))
[ $status = 1 ] || fail "the launcher's status is $status instead of 1"
grep -q "^launch.py: error: .* on gr-host2 was lost: .* its machine does not answer" "$work/log" \
    || fail "no message says that host 2 is lost"
[ $took -le 30 ] || fail "the launcher took $took s to end"
nobody $((30 - took)) || fail "processes are left behind 30 s after the cut: $(for n in 0 1 2; do ip netns pids gr-host$n; done)"
echo "ok: $(grep '^launch.py: error' "$work/log")"
echo "ok: the launcher ended after $took s, and no host had a process after $((SECONDS - start)) s"
[ ! -e "$work/cut-0006.params" ] || fail "the run was done before the cut"

echo "Going on from the checkpoint, with the link cut once more"
status=0
on_host0 "${launcher[@]}" --hostfile hosts "${worker[@]}" --model-prefix cut || status=$?
[ $status = 1 ] || fail "a host that ssh does not reach has to be an error, the status is $status"
grep -q "ssh does not reach the host gr-host2: .*No route to host" "$work/log" || fail "no message names the host"
echo "ok: $(grep 'error' "$work/log")"
mend
rm "$work/log"
on_host0 "${launcher[@]}" --hostfile hosts --env PAUSE=0.1 --max-restarts 3 "${worker[@]}" --model-prefix cut & launch=$!
cut
wait_for "; restart 1 of 3 in"
mend
wait $launch || fail "status $?"
echo "ok: $(grep '; restart 1 of 3' "$work/log")"
cmp "$work/whole-0006.params" "$work/cut-0006.params" || fail "the weights are not those of a run that was never broken"
nobody 10 || fail "processes are left behind"
echo "ok: the weights are those of the run that was never broken, bit for bit"
