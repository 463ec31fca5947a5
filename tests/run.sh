#!/usr/bin/env bash
# Runs every test, the privileged ones included: `tests/run.sh` is all the set-up there is.
#
# Installs what is missing (Debian, Ubuntu), then format, lints, tests and the demo's own check. The privileged tests make
# network namespaces of their own and remove them, whatever happens.
#   --long            as well what takes hours: the fuzzer's full number of executions of every target, and ten times as many
#                     connections given to both policy evaluators
#   WEIR_CORPUS=DIR   the capture corpus; without it the tests that need it are skipped, and the last lines say how many
#   WEIR_NO_SKIP=1    a skip is a failure
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n== %s\n' "$*"; }

install_missing() {
  local missing=() pair
  for pair in ip:iproute2 bridge:iproute2 iptables:iptables nft:nftables conntrack:conntrack dnsmasq:dnsmasq-base curl:curl socat:socat tmux:tmux \
    setpriv:util-linux pkg-config:pkg-config cc:build-essential clang-14:clang-14 bpftool:bpftool capsh:libcap2-bin tshark:tshark patch:patch; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing+=("${pair##*:}")
  done
  [ -e /usr/include/pcap/pcap.h ] || missing+=(libpcap-dev)
  [ -e /usr/include/bpf/bpf_helpers.h ] || missing+=(libbpf-dev)
  [ -x /usr/lib/cni/bridge ] || missing+=(containernetworking-plugins)
  [ "${#missing[@]}" -eq 0 ] && return
  say "installing ${missing[*]}"
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
}

long=
case "${1:-}" in
  "") ;;
  --long) long=1 ;;
  *) echo "tests/run.sh: $1 is no option of it: try --long" >&2; exit 2 ;;
esac
export PATH="$PATH:/usr/sbin:/sbin"
[ "$(id -u)" -eq 0 ] || { echo "tests/run.sh: needs root, for network namespaces and packet capture" >&2; exit 1; }
install_missing
log=$(mktemp)
trap 'rm -f "$log"' EXIT

if cargo fmt --version >/dev/null 2>&1; then
  say "format"
  cargo fmt --all --check
fi
if cargo clippy --version >/dev/null 2>&1; then
  say "lints"
  cargo clippy --workspace --all-targets --all-features -- -D warnings
fi
say "tests"
# The programs that tests run: cargo builds them for nobody else's tests by itself.
cargo build --workspace --all-features --bins
cargo test --workspace --all-features --no-fail-fast -- --show-output 2>&1 | tee "$log"
# The tests above let the daemon choose its source, which is eBPF here; the same with the other.
WEIR_DAEMON_SOURCE=pcap cargo test --workspace --all-features --no-fail-fast --test node --test faults --test carried \
  -- --show-output 2>&1 | tee -a "$log"
say "faults of the policy evaluator, which the tests must catch"
tests/faults.sh
say "the demo, checked"
deploy/demo.sh --check
# Every second kind, in two worlds.
deploy/demo.sh --check --pods bridge --services nft --family dual --source pcap
deploy/demo.sh --check --pods cni --family ipv6

if [ -n "$long" ]; then
  say "both policy evaluators"
  WEIR_DRAWS=1000000 cargo test --workspace --all-features --test policies -- --show-output both_evaluators 2>&1 | tee -a "$log"
  say "fuzzing"
  tests/fuzz.sh
fi

skipped=$(grep -c '^skipped: ' "$log" || true)
if [ "$skipped" -gt 0 ]; then
  grep '^skipped: ' "$log" | sort | uniq -c
  echo "tests skipped: $skipped"
  [ -z "${WEIR_NO_SKIP:-}" ] || exit 1
fi
grep -h '^test result:' "$log" | awk '{p+=$4; f+=$6} END {printf "%d passed, %d failed, '"$skipped"' skipped\n", p, f}'
