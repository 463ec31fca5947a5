#!/usr/bin/env bash
# Measures which lines of each parser its corpus of the fuzzer's inputs reaches: `tests/coverage.sh --write`.
#
# Installs Valgrind and binutils (Debian, Ubuntu); arguments go to the program, which is tests/fuzz/benches/coverage.
#   --missing        name the lines that are not reached
#   --only TARGET    one target alone
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
for pair in valgrind:valgrind readelf:binutils; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || missing+=("${pair##*:}")
done
if [ "${#missing[@]}" -gt 0 ]; then
  echo "== installing ${missing[*]}"
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
fi
exec cargo bench -q --workspace --all-features --profile dev --bench coverage -- "$@"
