#!/usr/bin/env bash
# Downloads tiny Shakespeare (A. Karpathy, char-rnn) once into the user's cache folder, where
# `--data shakespeare` finds it, and prints the path. A file that is not exactly the expected one is
# never kept.
set -u

url=https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt
timeout=60
size=1115394
sha256=86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed

usage="usage: data/get_shakespeare.sh [--url URL] [--timeout SECONDS]"

fail() {
  echo "get_shakespeare.sh: $1; train on a text of your own with --data PATH" >&2
  exit 1
}

while [ $# -gt 0 ]; do
  case "$1" in
    --url | --timeout)
      [ $# -ge 2 ] || { echo "$usage" >&2; exit 2; }
      if [ "$1" = --url ]; then url=$2; else timeout=$2; fi
      shift 2
      ;;
    -h | --help) echo "$usage"; exit 0 ;;
    *) echo "get_shakespeare.sh: unknown option '$1'; $usage" >&2; exit 2 ;;
  esac
done
case "$timeout" in
  '' | *[!0-9]* | 0*) echo "get_shakespeare.sh: --timeout takes a whole number of seconds, not '$timeout'" >&2; exit 2 ;;
esac

# The same rule as shakespeare_path() in data/corpus.cpp.
case "${XDG_CACHE_HOME:-}" in
  /*) folder=$XDG_CACHE_HOME/muonlab ;;
  *)
    [ -n "${HOME:-}" ] || fail "neither XDG_CACHE_HOME nor HOME is set, so there is no cache folder"
    folder=$HOME/.cache/muonlab
    ;;
esac
file=$folder/tinyshakespeare.txt

checksum() {
  if command -v sha256sum; then sha256sum <"$1"; else shasum -a 256 <"$1"; fi 2>/dev/null | grep -o '[0-9a-f]\{64\}'
}

# Sets `fault` to what is wrong with a file, or to nothing.
check() {
  local bytes found
  bytes=$(($(wc -c <"$1")))
  found=$(checksum "$1")
  fault=
  if [ "$bytes" -ne $size ]; then
    fault="it has $bytes bytes instead of $size"
  elif [ -z "$found" ]; then
    fault="neither sha256sum nor shasum is installed to check it"
  elif [ "$found" != $sha256 ]; then
    fault="its sha256 is $found instead of $sha256"
  fi
}

if [ -f "$file" ]; then
  check "$file"
  [ -n "$fault" ] || { echo "$file"; exit 0; }
fi

mkdir -p "$folder" 2>/dev/null || fail "cannot create the folder $folder"
part=$(mktemp "$folder/.tinyshakespeare.XXXXXX" 2>/dev/null) || fail "cannot write to the folder $folder"
trap 'rm -f "$part"' EXIT
trap 'exit 130' INT TERM

if command -v curl >/dev/null; then
  error=$(curl --fail --silent --show-error --location --max-time "$timeout" --output "$part" "$url" 2>&1)
elif command -v wget >/dev/null; then
  error=$(timeout "$timeout" wget --no-verbose --tries=1 --timeout="$timeout" --output-document="$part" "$url" 2>&1)
else
  fail "neither curl nor wget is installed to download $url"
fi
# shellcheck disable=SC2181  # the status of whichever command ran
[ $? -eq 0 ] || fail "cannot download $url ($(echo "${error:-no answer within $timeout s}" | tail -n 1))"

check "$part"
[ -z "$fault" ] || fail "$url is not tiny Shakespeare: $fault"
{ chmod 644 "$part" && mv -f "$part" "$file"; } || fail "cannot write $file"
echo "$file"
