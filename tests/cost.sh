#!/usr/bin/env bash
# What watching costs a node: `tests/cost.sh --write`, on a machine that does nothing else.
#
# Installs what makes the loads (Debian, Ubuntu); arguments go to the benchmark, which is tests/benches/cost.
set -euo pipefail
cd "$(dirname "$0")/.."

export PATH="$PATH:/usr/sbin:/sbin"
missing=()
for pair in iperf3:iperf3 wrk:wrk nginx:nginx-light tcpdump:tcpdump bpftool:bpftool tc:iproute2; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || missing+=("${pair##*:}")
done
if [ "${#missing[@]}" -gt 0 ]; then
  echo "== installing ${missing[*]}"
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
fi
cargo build --release --workspace --all-features --bin weir-daemon --bin weir
exec cargo bench --workspace --all-features --bench cost -- "$@"
