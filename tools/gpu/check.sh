#!/usr/bin/env bash
# Checks and measures a CUDA build on a machine with an NVIDIA GPU, in six minutes at most:
#
#     tools/gpu/check.sh FOLDER_WITH_BINARIES
#
# Needs the driver, a CUDA 13 toolkit or PyTorch's packages of it, and python3 with torch, transformers and safetensors. Results
# are JSON lines in $OUT/results.jsonl, written as they come; logs lie beside it; a table ends the output. Every part has its
# own time limit, so that one that hangs loses only itself.
#
# The folder holds `parity`, and where wanted `parity-cube` (built with the feature `cube`: compared and measured beside the plain
# one), `generate` and `score`, and `reproduce`.
#
#   DEVICE=cpu SMALL=1   the same with tiny models on a CPU: a test of this script
#   KEEP_GOING=1         with SMALL: measure even if the comparison with the CPU fails
#   PEER=1               measure all of PyTorch's side, not just a control of two figures
#   MINUTES=6            the whole script's limit
#   JOBS=6               lanes side by side while kernels are compiled and chosen (each keeps about one core busy)
#   FIRST="supervised"   lanes to start before others, see `lanes` below
#   ROOT=.               the workspace root, if this script is not in it
set -uo pipefail
bin=$(cd "${1:?the folder with the binaries is missing}" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
root=${ROOT:-$(cd "$here/../.." && pwd)}
reference=$here/reference.py
device=${DEVICE:-cuda}
small=${SMALL:-}
export OUT=${OUT:-/tmp/gpu-check}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
end=$((SECONDS + 60 * ${MINUTES:-6}))
mkdir -p "$OUT"
results=$OUT/results.jsonl
log=$OUT/log.txt
# The lowest level settles for a kernel at 60% of the peak and tells fewer sizes apart. The driver's own cache is shared.
export CUBECL_AUTOTUNE_LEVEL=${CUBECL_AUTOTUNE_LEVEL:-minimal} CUDA_CACHE_PATH=$work/driver CUDA_CACHE_MAXSIZE=4294967296
export PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error PYTHONWARNINGS=ignore

note() { printf '%s\n' "$1" >>"$results"; }

# Side by side until `gate` at the latest, then one at a time until `end`.
gate=$((end - 90))
stop=$gate

# part NAME LIMIT LANE COMMAND...: runs a command in a lane's folder, for LIMIT seconds at most and not beyond `stop`.
# A lane keeps its kernels, its choices between kernels and the device's peak rates, apart from other lanes: the database of
# them is one file, and sharing it between running processes is experimental. CUBECL_THROUGHPUT_CACHE must stay on: without
# it the peak rates are measured again for every choice, which takes seconds.
part() {
    local name=$1 limit=$2 lane=$work/lanes/$3 left=$((stop - SECONDS)) started=$SECONDS status=skipped
    shift 3
    if [ "$limit" -gt "$left" ]; then limit=$left; fi
    if [ ! -d "$lane" ]; then
        mkdir -p "$lane"
        cat >"$lane/cubecl.toml" <<TOML
[environment]
path = "local"

[compilation]
cache = true

[autotune.bench]
min_samples = 2
max_samples = 5
TOML
        ln -s "$root/crates" "$lane/crates"
    fi
    if [ "$limit" -ge 5 ]; then
        (cd "$lane" && exec timeout -k 5 "$limit" "$@") >"$lane/output" 2>&1 &
        local pid=$!
        wait $pid
        status=$?
        {
            printf '\n== %s (exit %s, %s choices between kernels)\n' "$name" "$status" "$(grep -c Tuning "$lane/output")"
            grep -v -E 'INFO.*(Tuning|autotune cache)' "$lane/output" | tail -c 20000
        } >>"$log"
    fi
    printf '%4ss  %-48s %4ss  exit %s\n' $SECONDS "$name" $((SECONDS - started)) "$status"
    note "{\"part\": \"script\", \"name\": \"$name\", \"seconds\": $((SECONDS - started)), \"exit\": \"$status\", \"at\": $SECONDS}"
    [ "$status" = 0 ]
}

# The libraries: a toolkit where there is one, else those that PyTorch brought.
if [ "$device" != cpu ]; then
    wheels=$(python3 -c 'import nvidia; print(list(nvidia.__path__)[0] + "/cu13")' 2>/dev/null)
    for cuda in "${CUDA_PATH:-}" /usr/local/cuda "$wheels"; do
        for lib in "$cuda/lib64" "$cuda/lib"; do
            if [ -n "$cuda" ] && [ -e "$cuda/include/cuda_fp16.h" ] && ls "$lib"/libnvrtc.so* >/dev/null 2>&1; then
                export CUDA_PATH=$cuda LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$lib
                break 2
            fi
        done
    done
    echo "CUDA_PATH=${CUDA_PATH:-none found}"
    card=$(nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.mem --format=csv,noheader)
    echo "$card"
    note "{\"part\": \"card\", \"card\": \"$card\"}"
fi

# What is not there must be refused, in one sentence and with exit code 2.
for wrong in cuda:99 gpu; do
    "$bin/parity" check --device "$wrong" 2>"$work/refusal" >/dev/null
    status=$?
    echo "--device $wrong: exit $status: $(cat "$work/refusal")"
    note "{\"part\": \"refusal\", \"device\": \"$wrong\", \"exit\": $status}"
done

if [ -n "$small" ]; then
    models=(tiny) batches=1,2 prompt=16 new=8 shapes=(64x2x512) rows=4 time=32 real_rows=1 steps=1
else
    models=(smollm2 llama1b) batches=1,16,64 prompt=128 new=64 shapes=(64x2x512 128x4x512 256x6x512) rows=32 time=128 real_rows=8
    steps=10
fi
dtypes=(bf16 f32)
[ "$device" = cpu ] && dtypes=(f32)

generate() { # MODEL DTYPE BATCHES REPEATS LABEL [BINARY]
    echo "${6:-$plain}" speed generate --device "$device" --model "$work/$1" --dtype "$2" --batch "$3" --prompt $prompt \
        --new $new --repeats "$4" --label "$5" --output "$results"
}
train() { # SHAPE REPEATS LABEL [BINARY]
    local of="--shape $1 --batch $rows --prompt $time"
    if [ "$1" = "${models[0]}" ]; then of="--model $work/$1 --batch $real_rows --prompt $((4 * time))"; fi
    echo "${4:-$plain}" speed train --device "$device" $of --repeats "$2" --label "$3" --output "$results"
}
compare() { # ONLY LANE [BINARY]
    part "$(basename "${3:-$plain}"): $1" 400 "$2" "${3:-$plain}" check --device "$device" --only "$1" --output "$results"
    local status=$?
    [ $status = 0 ] || echo "$(basename "${3:-$plain}"): $1" >>"$work/unfinished"
    grep -h -E '^FAIL|panicked' "$work/lanes/$2/output"
    return $status
}
folder() { # MODEL: waits until its folder is written
    while [ ! -e "$work/$1.written" ] && [ $SECONDS -lt $stop ]; do sleep 0.5; done
}

plain=$bin/parity cube=$bin/parity-cube
main=${models[0]}

# A lane's parts, one after another. Their first runs compile and choose kernels; figures of them are labelled `first`.
lane() {
    case $1 in
    supervised) compare supervised,GRPO supervised ;;
    sampling) compare model,sampling,stories sampling ;;
    operations)
        compare softmax,adamw,writes operations
        compare decode,norm,swiglu,rotary operations
        compare matrix,token_log_probs operations
        compare causal_attention operations
        ;;
    reproduce)
        [ -x "$bin/reproduce" ] || return
        part "reproduce --quick" 400 reproduce "$bin/reproduce" --quick --device "$device" --run-dir "$work/quick"
        python3 "$reference" quick --run "$work/quick" --output "$results"
        tail -3 "$work/lanes/reproduce/output"
        ;;
    commands) # with the binaries that a user runs
        [ -x "$bin/generate" ] && [ -x "$bin/score" ] || return
        part "generate and score: stories260K" 120 commands python3 "$reference" stories --device "$device" --bin "$bin" \
            --root "$root" --output "$results"
        tail -4 "$work/lanes/commands/output"
        ;;
    train) for shape in "${shapes[@]}"; do part "first run: train $shape" 400 train $(train "$shape" 3 first); done ;;
    cube)
        [ -x "$cube" ] || return
        compare model,sampling,stories,supervised,GRPO,adamw,decode cube "$cube"
        ;;
    *) # MODEL-DTYPE
        folder "${1%-*}"
        part "first run: $1" 400 "$1" $(generate "${1%-*}" "${1#*-}" $batches 1 first)
        ;;
    esac
}
lanes=(supervised sampling operations reproduce)
for dtype in "${dtypes[@]}"; do lanes+=("$main-$dtype"); done
lanes+=(train)
[ ${#models[@]} -gt 1 ] && lanes+=("${models[1]}-${dtypes[0]}")
lanes+=(commands cube)
lanes=(${FIRST:-} "${lanes[@]}")

echo "-- comparison with the CPU, and first runs: ${JOBS:-6} lanes side by side"
for model in "${models[@]}"; do
    part "folder of random weights: $model" 90 folders python3 "$reference" folders --device "$device" --into "$work" "$model" \
        && touch "$work/$model.written"
done &
started=" "
for name in "${lanes[@]}"; do
    case $started in *" $name "*) continue ;; esac
    started+="$name "
    while [ "$(jobs -rp | wc -l)" -ge "${JOBS:-6}" ] && [ $SECONDS -lt $gate ]; do sleep 0.3; done
    lane "$name" &
done
wait
failed=0
[ -e "$work/unfinished" ] && failed=1 && sed 's/^/not close, or not finished: /' "$work/unfinished"
note "{\"part\": \"parity\", \"name\": \"verdict\", \"failed\": $failed}"
if [ -n "$small" ] && [ $failed != 0 ] && [ -z "${KEEP_GOING:-}" ]; then exit 1; fi

# One at a time from here: these are the numbers. Kernels come from the lanes of the first runs.
echo "-- measurements"
stop=$end
measured() { # MODEL DTYPE
    part "$1 $2" 35 "$1-$2" $(generate "$1" "$2" $batches 1 measured)
}
for dtype in "${dtypes[@]}"; do measured "$main" "$dtype"; done
part "PyTorch: control" 40 python python3 "$reference" control --device "$device" --folder "$work" --model "$main" \
    --prompt $prompt --new $new --output "$results"
for shape in "${shapes[@]}"; do part "train $shape" 25 train $(train "$shape" $steps measured); done
[ -x "$cube" ] && part "cube: $main ${dtypes[0]}" 35 "$main-${dtypes[0]}" $(generate "$main" "${dtypes[0]}" $batches 1 cube "$cube")
[ ${#models[@]} -gt 1 ] && measured "${models[1]}" "${dtypes[0]}"
if [ -n "${PEER:-}" ]; then
    part "PyTorch: all of it" 100 python python3 "$reference" measure --device "$device" --folder "$work" --models "${models[@]}" \
        --shapes "${shapes[@]}" --batch $batches --prompt $prompt --new $new --rows $rows --time $time --real-rows $real_rows \
        --output "$results"
fi
# A control of the lowest level of choice: the default one, with a folder of its own.
[ $((end - SECONDS)) -ge 45 ] && CUBECL_AUTOTUNE_LEVEL=balanced part "default level: $main ${dtypes[0]} x1" 100 control \
    $(generate "$main" "${dtypes[0]}" 1 1 balanced)
python3 "$reference" summary --results "$results"
echo "done after ${SECONDS}s"
