#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test. Options go to cmake: ./test.sh -DMUONLAB_WERROR=ON
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. .ci/setup.sh

install_packages
configure_release "$@"
build_release
ctest --preset release --parallel "$(nproc)" </dev/null
