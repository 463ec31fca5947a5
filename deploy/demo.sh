#!/usr/bin/env bash
# Two nodes in network namespaces, real traffic, and weir looking at it: the first command to type.
#
# Installs what is missing (Debian, Ubuntu), builds, and hands over to weir-demo, which cleans up after itself:
#   deploy/demo.sh            the world, and weir's screen on it until `q`
#   deploy/demo.sh --check    the same without a terminal: what weir says against what everybody else says
#   deploy/demo.sh up         stays up and says how to look; `down` ends it
#   deploy/demo.sh record F   a node under load, recorded into the file F (--connections N --frames N), for benchmarks
#   --seed N                  the world that an earlier run has drawn
#   --pods, --services, --family   other kinds of world; `--help` lists them
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/sbin:/sbin:$HOME/.cargo/bin"

die() { echo "demo.sh: $*" >&2; exit 1; }

# Prints the packages whose command or header is not there.
missing_packages() {
  local pair
  for pair in ip:iproute2 bridge:iproute2 iptables-restore:iptables nft:nftables conntrack:conntrack dnsmasq:dnsmasq-base curl:curl \
    setpriv:util-linux mount:mount cc:build-essential pkg-config:pkg-config clang-14:clang-14; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || echo "${pair##*:}"
  done
  [ -e /usr/include/pcap/pcap.h ] || echo libpcap-dev
  [ -e /usr/include/bpf/bpf_helpers.h ] || echo libbpf-dev
  [ -x /usr/lib/cni/bridge ] || echo containernetworking-plugins
}

install_missing() {
  local packages
  mapfile -t packages < <(missing_packages | sort -u)
  [ "${#packages[@]}" -gt 0 ] || return 0
  command -v apt-get >/dev/null 2>&1 || die "missing, and no apt-get to install them with: ${packages[*]}"
  echo "demo.sh: installing ${packages[*]}" >&2
  export DEBIAN_FRONTEND=noninteractive
  # The package lists are fetched only where what they say is not enough.
  apt-get install -y -q --no-install-recommends "${packages[@]}" >/dev/null 2>&1 && return 0
  apt-get update -q >&2 || die "apt-get update failed: is the network there?"
  apt-get install -y -q --no-install-recommends "${packages[@]}" >&2 || die "could not install: ${packages[*]}"
}

[ "$(id -u)" -eq 0 ] || die "needs root, for network namespaces and packet capture: try sudo $0 $*"
command -v cargo >/dev/null 2>&1 || die "needs Rust: see https://rustup.rs"
install_missing
cargo build -q -p weir-daemon -p weir-relay -p weir-tui -p weir-demo >&2 || die "the build failed"
exec "${CARGO_TARGET_DIR:-target}/debug/weir-demo" "$@"
