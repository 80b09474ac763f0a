#!/usr/bin/env bash
# Everything that only a GPU can show, in one command of under 10 minutes; leaves tables in the folder RESULTS.
#
#   benchmarks/gpu.sh AID/images RESULTS [GOLDEN]       # GOLDEN: folder of the published code's recorded cases
#   SMALL=1 benchmarks/gpu.sh ...                       # the same in a minute or two, for a machine without a GPU
#
# PYTHON names the interpreter. What fails does not keep the rest from running; the exit code is the number of parts that failed.
set -uo pipefail
[ $# -ge 2 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 2; }
IMAGES=$(realpath "$1") OUT=$(realpath -m "$2") GOLDEN=${3:+$(realpath "$3")}
cd "$(dirname "$0")/.." || exit 2
PYTHON=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
mkdir -p "$OUT"
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
if [ -n "${SMALL:-}" ]; then
    STEPS=(--batch 2 --repeats 1) MEMORY=(--shapes tiny --batch 2 --repeats 1) LAYOUTS=ddp:1 SIZES=(model.width=32 model.layers=1 model.heads=2)
    KILLS=(--kills 2) LOADER=(--count 64 --rounds 1)
    TRAIN=(train.steps=6 model.width=32 model.layers=1 data.batch_size=8 data.image_size=48 data.resize=48 run.checkpoint_every=2)
else
    STEPS=(--batch 24) MEMORY=(--batch 12) LAYOUTS=ddp:1,zero1:1,zero2:1,zero3:1,fsdp2:1 SIZES=(train.precision=bf16)
    KILLS=(--kills 20) LOADER=() TRAIN=(train.steps=200 train.precision=bf16 run.checkpoint_every=50)
fi
failed=0

# part NAME SECONDS COMMAND...: the command's output goes to RESULTS/NAME.md
part() {
    local name=$1 seconds=$2 begun=$SECONDS
    shift 2
    if timeout --kill-after=10 "$seconds" "$@" > "$OUT/$name.md" 2> "$WORK/$name.err"; then
        echo "$name: $((SECONDS - begun)) s"
    else
        failed=$((failed + 1))
        echo "$name: FAILED after $((SECONDS - begun)) s"
        tail -n 20 "$WORK/$name.err" | tee -a "$OUT/$name.md"
    fi
}

machine() { nvidia-smi 2> /dev/null; "$PYTHON" -m launch doctor --json || [ $? = 2 ]; }  # 2: something is not as it should be
killed() {  # a run on the scenes that is killed in its middle and given again, beside one that was left alone
    local common=(configs/aid_25_5.yaml "data.shards=$WORK/set" "${TRAIN[@]}") run=$WORK/killed
    "$PYTHON" -m launch train "${common[@]}" run.dir="$WORK/whole" > "$WORK/whole.txt" || return 1
    "$PYTHON" -m launch train "${common[@]}" run.dir="$run" > "$WORK/first.txt" &
    local child=$!
    until compgen -G "$run/checkpoints/step-*/COMPLETE" > /dev/null; do kill -0 $child 2> /dev/null || break; sleep 0.1; done
    kill -9 $child 2> /dev/null; wait $child 2> /dev/null
    "$PYTHON" -m launch train "${common[@]}" run.dir="$run" > "$WORK/again.txt" || return 1
    grep -h continuing "$WORK/again.txt"
    tail -n 25 "$WORK/whole.txt"
    "$PYTHON" - "$WORK/whole" "$run" << 'END'
import sys
from pathlib import Path
import torch
from tests.helpers.runs import finished
whole, killed = (finished(Path(run)) for run in sys.argv[1:])
different = [name for name in whole if not torch.equal(whole[name], killed[name])]
print(f"{len(different)} of {len(whole)} tensors differ after kill -9 and continuing", *different[:5])
sys.exit(bool(different))
END
}

part machine 60 bash -c "$(declare -f machine); PYTHON=$PYTHON machine"
"$PYTHON" -m launch pack "$IMAGES" "$WORK/set" > "$WORK/pack.txt" 2>&1 || { cat "$WORK/pack.txt"; exit 1; }
part steps 150 "$PYTHON" -m benchmarks.step_times "${STEPS[@]}" ${GOLDEN:+--golden "$GOLDEN"}
part memory 90 "$PYTHON" -m benchmarks.memory "${MEMORY[@]}"
part engines 150 "$PYTHON" -m benchmarks.engines "$WORK/set" --layouts "$LAYOUTS" "${SIZES[@]}"
part resume 120 bash -c "$(declare -p TRAIN); $(declare -f killed); PYTHON=$PYTHON WORK=$WORK killed"
part kills 120 "$PYTHON" -m benchmarks.kills "$WORK/kills" --processes 1 "${KILLS[@]}"
part loader 90 "$PYTHON" -m benchmarks.loader "$IMAGES" "${LOADER[@]}"
echo "$failed parts failed; tables are in $OUT"
exit "$failed"
