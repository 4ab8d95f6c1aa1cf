#!/usr/bin/env bash
# Checks on a machine with an NVIDIA GPU what emulation cannot: builds, runs the tests of the CUDA backend on
# the GPU, again under compute-sanitizer where it is installed, times training steps, and prints a table to
# paste into an issue. Needs the CUDA toolkit 12 or newer and what ./test.sh needs. Options go to cmake.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build=build/gpu log=$(mktemp)
trap 'rm -f "$log"' EXIT
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader >"$log" ||
  { echo "no GPU answers to nvidia-smi"; exit 1; }
gpu=$(head -1 "$log")
capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d .)

cmake -S . -B $build -DCMAKE_BUILD_TYPE=Release -DMUONLAB_CUDA=ON \
  -DMUONLAB_CUDA_ARCHITECTURES="$capability" "$@"
cmake --build $build --parallel --target muonlab cuda_tests

rows=()
row() { rows+=("| $1 | $2 |"); }
# attempt NAME COMMAND...: runs it, and notes whether it passed.
failed=0
attempt() {
  local name=$1
  shift
  echo "== $name"
  if "$@" 2>&1 | tee "$log"; then row "$name" passed; else row "$name" FAILED && failed=1; fi
}

attempt "tests on the GPU" $build/tests/cuda/cuda_tests
if grep -q "skipped:" "$log"; then
  echo "the tests found no GPU"
  exit 1
fi
if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck initcheck synccheck; do
    attempt "compute-sanitizer $tool" compute-sanitizer --tool $tool --error-exitcode 1 \
      $build/tests/cuda/cuda_tests "[cuda]~[gpt]"
  done
else
  row compute-sanitizer "not installed"
fi

for preset in shakespeare-gpu gpt2-124m; do
  for run in "adamw f32" "muon f32" "adamw bf16" "muon bf16"; do
    echo "== bench $preset $run"
    if $build/muonlab bench --device cuda --preset $preset --optimizer "${run% *}" --precision "${run#* }" --steps 50 --json >"$log"; then
      row "$preset, $run" "$(sed -E 's/.*"step_ms": ([0-9.]+).*"tokens_per_s": ([0-9]+).*/\1 ms a step, \2 tokens\/s/' "$log")"
    else
      row "$preset, $run" FAILED && failed=1
    fi
  done
done

echo
echo "Paste this into an issue:"
echo
echo "| $(git describe --always --dirty) | $gpu |"
echo "|---|---|"
printf '%s\n' "${rows[@]}"
exit $failed
