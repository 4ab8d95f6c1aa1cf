#!/usr/bin/env bash
# Installs what is missing, builds, trains a small GPT for about a minute, and prints text that it wrote.
# Started again, it goes on where it was interrupted, or prints more text.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. .ci/setup.sh

muonlab=build/release/muonlab
run=runs/quickstart

# Runs muonlab with the arguments. Ctrl-C is for muonlab alone: it saves the run and tells how to go on.
interruptible() {
  local status=0
  trap : INT
  "$@" || status=$?
  trap - INT
  if [ "$status" = 130 ]; then printf '\n./quickstart.sh goes on from there.\n'; fi
  return "$status"
}

install_packages
configure_release
build_release --target muonlab

if [ -e "$run/config.toml" ]; then
  echo "$run is here already: going on with it (delete it to begin anew)."
  interruptible "$muonlab" train --resume "$run"
else
  data=builtin
  if data/get_shakespeare.sh --timeout 10; then
    data=shakespeare
  else
    echo "Without it, the model learns the builtin corpus: English-like text from a grammar."
  fi
  printf '\nTraining a small GPT on %s with Muon. Ctrl-C stops it, and nothing is lost.\n' "$data"
  interruptible "$muonlab" train --preset shakespeare-cpu --data "$data" --optimizer muon --out "$run"
fi

printf '\nText that it wrote:\n\n'
"$muonlab" sample "$run" --tokens 500 --seed "$RANDOM"

cat <<END

What to try next:
  $muonlab sample $run --prompt "To be" --temperature 0.7
  $muonlab eval $run
  $muonlab info $run
  $muonlab train --preset tiny --optimizer adamw --out runs/tiny
  $muonlab train --help
END
