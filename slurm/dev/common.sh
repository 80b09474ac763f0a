# Sourced by up, down and node.
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
FOLDER=${SLURM_DEV:-${TMPDIR:-/tmp}/slurm-dev}
export SLURM_CONF=$FOLDER/etc/slurm.conf

# Succeed if process $1 runs. A zombie does not: the first process of a container may be slow to collect it.
alive() {
    local state
    state=$(sed 's/.*) //; s/ .*//' "/proc/$1/stat" 2> /dev/null) && [ -n "$state" ] && [ "$state" != Z ]
}

# Succeed if the process named $2 runs whose number is in file $1.
runs() {
    [ -s "$1" ] && alive "$(cat "$1")" && [ "$(cat "/proc/$(cat "$1")/comm")" = "$2" ]
}

# Repeat a command every 50 ms until it succeeds, $1 seconds at most.
await() {
    local end=$(($(date +%s) + $1))
    shift
    until "$@" > /dev/null 2>&1; do
        [ "$(date +%s)" -lt "$end" ] || { echo "$0: timed out waiting for: $*; the logs are in $FOLDER/log" >&2; return 1; }
        sleep 0.05
    done
}

# Start the slurmd of node $1. It goes into the background by itself.
start_node() {
    mkdir -p "$FOLDER/spool/$1"
    slurmd -N "$1" -f "$SLURM_CONF"
}
