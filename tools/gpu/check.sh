#!/usr/bin/env bash
# Checks and measures a CUDA build on a machine with an NVIDIA GPU, in six minutes at most:
#
#     tools/gpu/check.sh FOLDER_WITH_BINARIES
#
# Needs the driver, a CUDA 13 toolkit or PyTorch's packages of it, and python3 with torch, transformers and safetensors. Results
# are JSON lines in $OUT/results.jsonl, written as they come; logs lie beside it; a table ends the output. Every part has its
# own time limit, so that one that hangs loses only itself.
#
# The folder holds `parity`, and where wanted `parity-cube` (built with the feature `cube`: measured instead of the plain one if
# its comparison succeeds), `parity-fusion` (a control with burn's fusion), `generate`, `score`, `reproduce`.
#
#   DEVICE=cpu SMALL=1   the same with tiny models on a CPU: a test of this script
#   KEEP_GOING=1         measure even if the comparison with the CPU fails
#   MINUTES=6            the whole script's limit
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
export PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error PYTHONWARNINGS=ignore

note() { printf '%s\n' "$1" >>"$results"; }

# part NAME LIMIT LANE COMMAND...: runs a command in a lane's folder, for LIMIT seconds at most and not beyond the script's end.
# A lane keeps the kernels it compiles, apart from other lanes, so that lanes can be filled side by side.
part() {
    local name=$1 limit=$2 lane=$work/lanes/$3 left=$((end - SECONDS)) started=$SECONDS status=skipped
    shift 3
    if [ "$limit" -gt "$left" ]; then limit=$left; fi
    if [ ! -d "$lane" ]; then
        mkdir -p "$lane"
        printf '[environment]\npath = "local"\n\n[compilation]\ncache = true\n' >"$lane/cubecl.toml"
        ln -s "$root/crates" "$lane/crates"
    fi
    if [ "$limit" -ge 5 ]; then
        (cd "$lane" && exec timeout -k 5 "$limit" "$@") >"$lane/output" 2>&1 &
        local pid=$!
        echo $pid >>"$work/pids"
        wait $pid
        status=$?
        { printf '\n== %s (exit %s)\n' "$name" "$status"; tail -c 20000 "$lane/output"; } >>"$log"
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

generate() { # MODEL DTYPE REPEATS LABEL [BINARY]
    echo "${5:-$best}" speed generate --device "$device" --model "$work/$1" --dtype "$2" --batch $batches --prompt $prompt \
        --new $new --repeats "$3" --label "$4" --output "$results"
}
train() { # SHAPE REPEATS LABEL [BINARY]
    local of="--shape $1 --batch $rows --prompt $time"
    if [ "$1" = "${models[0]}" ]; then of="--model $work/$1 --batch $real_rows --prompt $((4 * time))"; fi
    echo "${4:-$best}" speed train --device "$device" $of --repeats "$2" --label "$3" --output "$results"
}

# Side by side: the comparison in lanes, the folders of random weights, and the first run of everything that is measured later,
# which compiles its kernels. Choices between kernels made under this load are not kept.
echo "-- comparison with the CPU, and first runs"
comparisons=(matrix causal_attention decode,rotary,norm,swiglu,softmax,adamw,writes token_log_probs,model,sampling,stories supervised,GRPO)
plain=$bin/parity best=$bin/parity
[ -x "$bin/parity-cube" ] && best=$bin/parity-cube
pids=() cube_pids=()
if [ "$best" != "$plain" ]; then
    for only in attention,rotary,norm,swiglu,adamw model,sampling,stories,supervised,GRPO; do
        part "parity-cube: $only" 170 "cube-${only%%,*}" "$best" check --device "$device" --only "$only" --output "$results" &
        cube_pids+=($!)
    done
fi
for only in "${comparisons[@]}"; do
    part "parity: $only" 170 "parity-${only%%,*}" "$plain" check --device "$device" --only "$only" --output "$results" &
    pids+=($!)
done
(
    export CUBECL_AUTOTUNE_CACHE=0 CUBECL_THROUGHPUT_CACHE=0
    for shape in "${shapes[@]}"; do part "first run: train $shape" 150 "train-$shape" $(train "$shape" 1 first) & done
    part "folders of random weights" 60 folders python3 "$reference" folders --device "$device" --into "$work" "${models[@]}"
    for model in "${models[@]}"; do
        for dtype in "${dtypes[@]}"; do
            part "first run: $model $dtype" 150 "$model-$dtype" $(generate "$model" "$dtype" 1 first) &
        done
    done
    part "first run: train ${models[0]}" 150 "train-${models[0]}" $(train "${models[0]}" 1 first) &
    wait
) &
warm=$!
failed=0
for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
for pid in "${cube_pids[@]}"; do wait "$pid" || best=$plain; done
grep -h -E '^FAIL|panicked' "$work"/lanes/parity-*/output
grep -h -E '^FAIL|panicked' "$work"/lanes/cube-*/output 2>/dev/null | sed 's/^/cube: /'
echo "measured: $best"
note "{\"part\": \"parity\", \"name\": \"measured\", \"binary\": \"$(basename "$best")\"}"
echo "comparison: $([ $failed = 0 ] && echo close everywhere || echo NOT close)"
note "{\"part\": \"parity\", \"name\": \"verdict\", \"failed\": $failed}"
if [ $failed != 0 ] && [ -z "${KEEP_GOING:-}" ]; then
    kill $(cat "$work/pids") $warm 2>/dev/null
    tail -c 3000 "$work"/lanes/parity-*/output
    exit 1
fi
wait $warm

# Small real checks, with the binaries a user runs.
if [ -x "$bin/generate" ] && [ -x "$bin/score" ]; then
    part "generate and score: stories260K" 60 stories python3 "$reference" stories --device "$device" --bin "$bin" --root "$root" \
        --output "$results"
    tail -4 "$work/lanes/stories/output"
fi

# One at a time from here: these are the numbers.
echo "-- measurements"
part "${models[0]} ${dtypes[0]}" 60 "${models[0]}-${dtypes[0]}" $(generate "${models[0]}" "${dtypes[0]}" 2 measured)
part "train ${models[0]}" 40 "train-${models[0]}" $(train "${models[0]}" $steps measured)
if [ "$best" != "$plain" ]; then
    part "composed: ${models[0]} ${dtypes[0]}" 60 "${models[0]}-${dtypes[0]}" $(generate "${models[0]}" "${dtypes[0]}" 1 composed "$plain")
    part "composed: train ${models[0]}" 40 "train-${models[0]}" $(train "${models[0]}" 5 composed "$plain")
fi
part "PyTorch: all of it" 100 python python3 "$reference" measure --device "$device" --folder "$work" --models "${models[@]}" \
    --shapes "${shapes[@]}" --batch $batches --prompt $prompt --new $new --rows $rows --time $time --real-rows $real_rows \
    --output "$results"
for shape in "${shapes[@]}"; do part "train $shape" 30 "train-$shape" $(train "$shape" $steps measured); done
for model in "${models[@]}"; do
    for dtype in "${dtypes[@]}"; do
        [ "$model-$dtype" = "${models[0]}-${dtypes[0]}" ] && continue
        part "$model $dtype" 45 "$model-$dtype" $(generate "$model" "$dtype" 2 measured)
    done
done
if [ -x "$bin/reproduce" ]; then
    part "reproduce --quick" 75 reproduce "$bin/reproduce" --quick --device "$device" --run-dir "$work/quick"
    python3 "$reference" quick --run "$work/quick" --output "$results"
fi

# The control with burn's kernel fusion, if there is time and such a binary.
if [ -x "$bin/parity-fusion" ]; then
    part "fusion: parity" 90 fusion "$bin/parity-fusion" check --device "$device" --output "$OUT/fusion.jsonl"
    grep -h -E '^FAIL|panicked|comparisons' "$work/lanes/fusion/output" | head -8
    part "fusion: ${models[0]} ${dtypes[0]}" 60 fusion $(generate "${models[0]}" "${dtypes[0]}" 2 fusion "$bin/parity-fusion")
    part "fusion: train ${models[0]}" 60 fusion $(train "${models[0]}" 5 fusion "$bin/parity-fusion")
fi
python3 "$reference" summary --results "$results"
echo "done after ${SECONDS}s"
