#!/usr/bin/env bash
# Measures weir beside its peers over one capture, and its memory with a million connections: `tests/bench.sh --write`.
#
# Installs the peers (Debian, Ubuntu); arguments go to the benchmark, which is daemon/benches/peers. The capture is made by its
# recipe and takes some 2 GB in target/bench.
set -euo pipefail
cd "$(dirname "$0")/.."

export PATH="$PATH:/usr/sbin:/sbin"
missing=()
for pair in softflowd:softflowd nfpcapd:nfdump tshark:tshark tcpdump:tcpdump; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || missing+=("${pair##*:}")
done
if [ "${#missing[@]}" -gt 0 ]; then
  echo "== installing ${missing[*]}"
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
fi
exec cargo bench --workspace --all-features --bench peers -- "$@"
