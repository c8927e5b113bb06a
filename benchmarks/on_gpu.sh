#!/usr/bin/env bash
# benchmarks/on_gpu.sh [OUT [SECONDS]]: what only a GPU can tell, within SECONDS (default: 535), the
# most valuable first: is it right, where does the time go, then what has no record yet.
#
# Each step has a time limit of its own. One that fails or runs out of time stops no other, and what
# no longer fits into SECONDS is left out. Nothing is installed, git and the network are not needed:
# python3 must have CuPy, pytest and hypothesis, for the comparison PyTorch too, and for two
# processes on the GPU (ranks) mpi4py and mpich.
#
# What it leaves in OUT (default: build/gpu), eight files at most:
#   summary.txt      one line per step, the speeds, the verdict: what is also printed
#   gpu_speed.json   speeds, kernels, layers, feed: all numbers of benchmarks.gpu
#   gpu_cifar.json, gpu_224.json, gpu_local.json, gpu_local13.json   the results of the trainings
#   gpu_norm.json    the claim batch-norm on all of CIFAR-10, as many seeds as there was time for
#   logs.tgz         what each step printed, the tests as XML, logs and curves of the trainings
# `python -m benchmarks.gpu_report --records OUT` takes the records into results/ and the pages.
#
# Environment:
#   STEPS             the steps to run, in this order (default: all, see below)
#   EPOCHS            of the trainings local and local13 (default: what fits into their time)
#   DATA              the folder of the data sets (default: data)
#   CIFAR             a folder with cifar-10-batches-py, or with cifar-10-batches-py.tar.xz whole or
#                     in parts; not needed where DATA has cifar-10-batches-py. Without it, the
#                     step cifar trains on drawn shapes, and 224, local, local13 and norm do nothing
#   MINITORCH_COMMIT  what this code is, where git cannot tell
#   PYTHON            the interpreter (default: python3)
#   HASTE             divides every time limit, to try the script itself
#
# Exit code: 0, 1 when tests or a self-test failed or did not run, 2 for a wrong name in STEPS,
# 3 without a GPU: then each step says why it did nothing.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

ALL=(machine tests selftest-fp32 selftest-fp16 selftest-tf32 selftest-bf16 kernels speed-128 layers
  feed ranks cifar speed local norm speed-half 224 local13)
OUT=${1:-build/gpu}
END=$((SECONDS + ${2:-535}))
STEPS=${STEPS:-${ALL[*]}}
PYTHON=${PYTHON:-python3}
HASTE=${HASTE:-1}
DATA=${DATA:-data}
DATA_FLAGS=()  # none for the usual folder, so that records do not name it
[ "$DATA" = data ] || DATA_FLAGS=(--data-dir "$DATA")
LEAST=$((20 / HASTE))  # seconds: with less left, no step begins

# The trainings. 224: the paper's network on CIFAR-10 enlarged to its size, ten epochs.
# norm: alexnet_cifar's own recipe (60 epochs, milestones 40, 50 and 56) in a quarter of the epochs.
TRAIN_CIFAR=(-a alexnet_cifar --epochs 20 --set "milestones=(14,18)")
TRAIN_224=(-a alexnet --set enlarge=256 --epochs 10 --set schedule=steps --set "milestones=(5,8)")
TRAIN_NORM=(-b 128 --limit 50000 --val-split 0 --epochs 15 --set "milestones=(10,12,14)")
LOCAL_SECONDS=3  # that an epoch of conv_local_11 takes at most, for as many epochs as fit

NETS=(alexnet-b256 alexnet_torchvision-b256)
SMALLER=(alexnet-b128 alexnet_torchvision-b128)
THREE=(ours torch torch-fast-nhwc)  # who is compared; ours alone where PyTorch is not installed
PAIR=(ours torch-fast-nhwc)

LOGS=$(mktemp -d)
trap 'rm -rf "$LOGS"' EXIT
mkdir -p "$OUT" || exit 1
OUT=$(cd "$OUT" && pwd)
: > "$OUT/summary.txt"
export PYTHONPATH=. PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 MPLCONFIGDIR=$LOGS/.matplotlib
failed=()

say() { echo "$*" | tee -a "$OUT/summary.txt"; }

# run NAME LIMIT COMMAND...: the command for at most LIMIT seconds, its output in a log, and one
# line about it: the last line of its errors, or of its output. The code is the command's.
run() {
  local name=$1 limit=$(($2 / HASTE)) begin=$SECONDS code line
  shift 2
  ((limit < END - SECONDS)) || limit=$((END - SECONDS))
  ((limit > 0)) || limit=1
  timeout --kill-after=5 "$limit" "$@" < /dev/null > "$LOGS/$name.txt" 2> "$LOGS/$name.errors"
  code=$?
  line=$(grep -hE '^test accuracy' "$LOGS/$name.txt" | tail -n 1)
  [ -n "$line" ] ||
    line=$(cat "$LOGS/$name.txt" "$LOGS/$name.errors" | grep -v '^[[:space:]]*$' | tail -n 1)
  ((code != 124 && code != 137)) || line="stopped after $limit s: $line"
  say "$name: exit $code, $((SECONDS - begin)) s: ${line:0:150}"
  find "$LOGS" -name '*.errors' -empty -delete
  tar czf "$OUT/logs.tgz" -C "$LOGS" --exclude=.matplotlib .
  return $code
}

# must NAME LIMIT COMMAND...: as run, a failure being one of the whole.
must() { run "$@" || failed+=("$1"); }

selftest() {
  must "selftest-$1" "$2" "$PYTHON" -m minitorch_alex.selftest --backend cupy --quick \
    --precision "$1"
}

# bench NAME LIMIT FLAGS...: numbers of benchmarks.gpu, all in one record.
bench() {
  local name=$1 limit=$2 budget=$2
  shift 2
  ((budget < END - SECONDS)) || budget=$((END - SECONDS))
  run "$name" "$limit" "$PYTHON" -m benchmarks.gpu --out "$OUT/gpu_speed.json" --rounds 1 --resume \
    --budget $((budget > 8 ? budget - 5 : 3)) "$@"
}

# train NAME LIMIT DATA FLAGS...: a training and its record.
train() {
  local name=$1 limit=$2 data=$3
  shift 3
  run "$name" "$limit" "$PYTHON" -m minitorch_alex.train "$@" --data "$data" --val-split 0 \
    --backend cupy --precision tf32 -j 4 --name "gpu-$name" --overwrite "${DATA_FLAGS[@]}"
  local code=$? directory=runs/gpu-$name
  ((code != 0)) || cp "$directory/result.json" "$OUT/gpu_$name.json" 2> /dev/null
  for file in log.jsonl curves.png; do
    [ ! -f "$directory/$file" ] || cp "$directory/$file" "$LOGS/$name-$file"
  done
  tar czf "$OUT/logs.tgz" -C "$LOGS" --exclude=.matplotlib .
}

unpack='
import sys, tarfile
tarfile.open(fileobj=sys.stdin.buffer, mode="r|xz").extractall(sys.argv[1], filter="data")'

# cifar: whether CIFAR-10 lies in $DATA, after it was brought there from $CIFAR if it is not.
cifar() {
  [ ! -d "$DATA/cifar-10-batches-py" ] || return 0
  [ -n "${CIFAR:-}" ] || return 1
  if [ -d "$CIFAR/cifar-10-batches-py" ]; then
    ln -s "$(cd "$CIFAR" && pwd)/cifar-10-batches-py" "$DATA/"
  else
    cat "$CIFAR"/cifar-10-batches-py.tar.xz* | "$PYTHON" -c "$unpack" "$DATA"
  fi
}

# with_cifar NAME COMMAND...: the command for the step NAME, where CIFAR-10 is at hand.
with_cifar() {
  local name=$1
  shift
  if cifar; then
    "$@"
  else
    say "$name: left out, CIFAR-10 is not in $DATA/ and CIFAR names no folder with it"
  fi
}

on_cifar() {
  with_cifar "$1" train "$1" "$2" cifar10 "${@:3}"
}

# local_net NAME LIMIT MODEL: the procedure of that net in as many epochs as fit. Its 520 or 160 end
# with ten at a tenth of the rate and ten at a hundredth; here the last two shares are as large a
# part of all as in 520, and one epoch at least.
local_net() {
  local name=$1 limit=$2 model=$3 epochs last
  epochs=$(((END - SECONDS < limit ? END - SECONDS : limit) / LOCAL_SECONDS))
  ((epochs <= 520)) || epochs=520
  ((epochs >= 3)) || epochs=3
  epochs=${EPOCHS:-$epochs}
  last=$(((epochs + 25) / 52))
  ((last >= 1)) || last=1
  on_cifar "$name" "$limit" -a "$model" --epochs "$epochs" \
    --set "milestones=($((epochs - 2 * last)),$((epochs - last)))"
}

# The claim with one seed, then with two, then with three, its three variants at a time. A training
# that is done is not done again, and each time the record is whole, so whenever the time is up the
# last one counts.
norm='
for seeds in 1 2 3; do
  "$0" -m minitorch_alex.ablate batch-norm --seeds $seeds --jobs 3 --runs-dir runs/gpu-norm \
    --out "$1" -- "${@:2}" || exit
done'

norm() {
  mkdir -p "$LOGS/norm"
  run norm "$1" bash -c "$norm" "$PYTHON" "$LOGS/norm" "${TRAIN_NORM[@]}" --backend cupy \
    --precision tf32 -j 4 "${DATA_FLAGS[@]}"
  cp "$LOGS/norm/ablate-batch-norm.json" "$OUT/gpu_norm.json" 2> /dev/null
}

machine='nvidia-smi; "$0" -c "import cupy; cupy.show_config()"; lscpu | grep "Model name"'

# step NAME: one step of those in ALL.
step() {
  case $1 in
    machine) run machine 20 bash -c "$machine" "$PYTHON" ;;
    selftest-fp32) selftest fp32 60 ;;
    tests)
      must tests 150 "$PYTHON" -m pytest -q -m gpu -p no:cacheprovider --durations=10 \
        --junitxml="$LOGS/tests.xml" tests/test_gpu.py \
        --deselect tests/test_gpu.py::test_the_self_test_passes
      ;;
    selftest-tf32) selftest tf32 40 ;;
    selftest-fp16) selftest fp16 40 ;;
    selftest-bf16) selftest bf16 40 ;;
    speed)
      bench speed 140 --sections ceilings speed --workloads "${NETS[@]}" --precisions tf32 \
        --contenders "${THREE[@]}"
      ;;
    kernels)
      bench kernels 45 --sections kernels --workloads "${NETS[@]}" --precisions tf32 fp16 bf16 \
        --contenders ours
      ;;
    speed-half)
      bench speed-half 200 --sections speed --workloads "${NETS[@]}" --precisions fp16 bf16 \
        --contenders "${THREE[@]}"
      ;;
    speed-128)
      bench speed-128 110 --sections speed --workloads "${SMALLER[@]}" --precisions tf32 \
        --contenders "${THREE[@]}"
      ;;
    layers)
      bench layers 50 --sections layers --workloads alexnet-b128 --precisions tf32 \
        --contenders "${PAIR[@]}"
      ;;
    feed)
      bench feed 30 --sections feed --workloads alexnet-b128 --precisions tf32 --contenders ours
      ;;
    ranks)  # NCCL with one rank; two that share the GPU, whose arrays go through the host
      must ranks 60 "$PYTHON" -m pytest -q -m gpu -p no:cacheprovider -rs tests/test_gpu_ranks.py
      ;;
    cifar)
      if cifar; then data=cifar10; else data=shapes; fi
      train cifar 120 "$data" "${TRAIN_CIFAR[@]}"
      ;;
    224) on_cifar 224 160 "${TRAIN_224[@]}" ;;
    local) local_net local 150 conv_local_11 ;;
    local13) local_net local13 150 conv_local_13 ;;
    norm) with_cifar norm norm 400 ;;
  esac
}

for name in $STEPS; do
  if [[ " ${ALL[*]} " != *" $name "* ]]; then
    say "unknown step '$name' in STEPS, expected some of: ${ALL[*]}"
    exit 2
  fi
done

# Without a GPU its last line is the reason, and the code is 3, that of a backend that is not there.
reason=$(timeout 60 "$PYTHON" -c '
import importlib.util, sys
from minitorch_alex import backend
from minitorch_alex.errors import BackendError
try:
    backend.use("cupy")
except BackendError as error:
    print(error)
    sys.exit(3)
print("PyTorch" if importlib.util.find_spec("torch") else "no PyTorch")' 2>&1)
code=$?
if ((code != 0)); then
  for name in $STEPS; do
    say "$name: nothing done, $(echo "$reason" | tail -n 1)"
  done
  ((code == 3)) && exit 3
  exit 1
fi
if [[ $reason == *"no PyTorch" ]]; then
  THREE=(ours)
  PAIR=(ours)
fi

for name in $STEPS; do
  if ((END - SECONDS < LEAST)); then
    say "$name: left out, the time is up"
    case $name in selftest-* | tests) failed+=("$name") ;; esac
  else
    step "$name"
  fi
done

if [ -f "$OUT/gpu_speed.json" ]; then
  say ""
  "$PYTHON" -m benchmarks.gpu --show "$OUT/gpu_speed.json" --summary 2>&1 |
    tee -a "$OUT/summary.txt"
  say ""
fi
if ((${#failed[@]})); then
  say "failed: ${failed[*]}"
  exit 1
fi
say "all tests and self-tests that were asked for passed"
