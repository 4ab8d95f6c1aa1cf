# shellcheck shell=bash
# Sourced by quickstart.sh, test.sh and .ci/run, which are in the root of the repository then:
# installs what is missing, builds, and prints one line per phase.

packages="g++ make cmake libeigen3-dev libfmt-dev nlohmann-json3-dev libcli11-dev catch2 libssl-dev"
wanted_packages="libdnnl-dev curl ca-certificates"

log=$(mktemp "${TMPDIR:-/tmp}/muonlab.XXXXXX")
trap 'rm -f "$log"' EXIT

# phase NAME COMMAND...: runs the command with its output in the log. If it fails, shows the end of
# the log and keeps it.
phase() {
  local name=$1 start=$SECONDS
  shift
  printf '%-10s ' "$name"
  if "$@" >"$log" 2>&1 </dev/null; then
    echo "ok, $((SECONDS - start)) s"
    return 0
  fi
  trap - EXIT
  printf 'failed: %s\n\n' "$*"
  tail -n 20 "$log" | sed 's/^/  | /'
  printf '\nThe whole output is in %s\n' "$log"
  return 1
}

# Those of the named Debian packages that are not installed, each with a space before it.
missing() {
  local package
  for package in "$@"; do
    case $package in
      g++) command -v "${CXX:-c++}" ;;
      make) command -v make || command -v ninja ;;
      cmake | curl | clang-format) command -v "$package" ;;
      *) dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep ' installed$' ;;
    esac >/dev/null || printf ' %s' "$package"
  done
}

# Runs a command as root, and fails rather than ask for a password.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends \
    -o DPkg::Lock::Timeout=300 "$@"
}

update_and_install() {
  # One repository of many that does not answer need not stop the installation.
  as_root apt-get -q update || true
  apt_install "$@"
}

# Installs the named packages that are missing, or says which they are and how to get them.
need() {
  local lacking sudo
  lacking=$(missing "$@")
  if [ -z "$lacking" ]; then return 0; fi
  if as_root true 2>/dev/null; then
    echo "installing$lacking"
    # shellcheck disable=SC2086  # a list of words
    if phase packages update_and_install $lacking; then return 0; fi
    printf '\nNot installed:%s\nOnce the cause above is mended, start again, or install them by hand:\n' \
      "$(missing "$@")"
  else
    printf 'Not installed:%s\nTo install them takes root. Run this, then start again:\n' "$lacking"
  fi
  sudo=$(command -v sudo >/dev/null && echo "sudo ")
  printf '  %sapt-get update; %sapt-get install%s\n' "$sudo" "$sudo" "$(missing "$@")"
  return 1
}

# Installs those of the named packages that can be had without more ado, and says what is lacking.
want() {
  local package available="" lacking
  for package in $(missing "$@"); do
    if apt-cache show "$package" >/dev/null 2>&1; then available+=" $package"; fi
  done
  # shellcheck disable=SC2086
  if [ -n "$available" ] && as_root true 2>/dev/null; then phase extras apt_install $available || echo; fi
  lacking=$(missing "$@")
  if [ -n "$lacking" ]; then echo "Going on without$lacking."; fi
}

install_packages() {
  # Elsewhere than on Debian and its kin, CMake finds out what is missing.
  command -v apt-get >/dev/null || return 0
  # shellcheck disable=SC2086
  need $packages && want $wanted_packages
}

# configure_release [OPTION...]: the options go to cmake.
configure_release() {
  command -v make >/dev/null || export CMAKE_GENERATOR=Ninja
  if phase configure cmake --preset release "$@"; then return 0; fi
  if ! command -v apt-get >/dev/null; then
    printf '\nMuonlab needs CMake 3.21, a C++20 compiler with OpenMP, make or ninja, Eigen 3.4, fmt,\n'
    printf 'nlohmann-json, CLI11, Catch2 and OpenSSL; with oneDNN it is faster. Install what the\n'
    printf 'output above finds missing, then start again.\n'
  fi
  return 1
}

# build_release [OPTION...]: the options go to cmake --build.
build_release() {
  phase build cmake --build --preset release --parallel "$(nproc)" "$@"
}
