#!/usr/bin/env bash
# Faults put into the policy evaluator, one at a time: the second evaluator must catch each within 10,000 draws.
#
# A fault is a patch in tests/faults, against daemon/cluster. The package and the differential test are copied into target/faults,
# without whatever else the workspace holds, so that a fault costs seconds. A patch that no longer applies, a fault that does not
# build and one that is not caught fail the script, each by its name.
#   NAME...   only the faults whose names hold one of these words
set -euo pipefail
cd "$(dirname "$0")/.."

draws=${WEIR_DRAWS:-10000}
seed=${WEIR_SEED:-1}
root=$PWD
work=$root/target/faults
copy=$work/tree
rm -rf "$copy"
mkdir -p "$copy/daemon" "$copy/differential/tests"
cp -a daemon/cluster "$copy/daemon/cluster"
cp -a tests/tests/policies "$copy/differential/tests/policies"
cp -a Cargo.lock .clippy.toml "$copy/"
# What was built last is of a fault.
touch "$copy/daemon/cluster/src/lib.rs"

# The workspace's own manifest with other members; its lints are not what is tried here.
sed -e '/^members = /c members = ["daemon/cluster", "differential"]' \
  -e '/^\[workspace.lints/,/^$/d' -e 's/^opt-level = 1$/opt-level = 0/' Cargo.toml >"$copy/Cargo.toml"
printf '\n[workspace.lints.rust]\n' >>"$copy/Cargo.toml"
sed -i '/^\[dev-dependencies\]/,$d' "$copy/daemon/cluster/Cargo.toml"
cat >"$copy/differential/Cargo.toml" <<'TOML'
[package]
name = "weir-differential"
version.workspace = true
edition.workspace = true

[dependencies]
weir-cluster = { workspace = true }
ipnet = { workspace = true }

[[test]]
name = "differential"
path = "tests/policies/alone.rs"
TOML
mkdir -p "$copy/differential/src"
: >"$copy/differential/src/lib.rs"
cat >"$copy/differential/tests/policies/alone.rs" <<'RUST'
mod differential;
mod draw;
mod naive;
mod rules;
mod seed;
RUST

build() {
  (cd "$copy" && CARGO_TARGET_DIR="$work/target" cargo test -q --offline -p weir-differential --test differential --no-run) \
    >"$work/build.log" 2>&1
}
try() {
  (cd "$copy" && WEIR_SEED=$seed WEIR_DRAWS=$draws CARGO_TARGET_DIR="$work/target" \
    cargo test -q --offline -p weir-differential --test differential -- --nocapture) >"$work/test.log" 2>&1
}

# Without a fault nothing is caught.
build || { cat "$work/build.log" >&2; echo "tests/faults.sh: the evaluator does not build without faults" >&2; exit 1; }
try || { tail -40 "$work/test.log" >&2; echo "tests/faults.sh: a difference without any fault" >&2; exit 1; }

tried=0
bad=0
for patch in tests/faults/*.patch; do
  name=$(basename "$patch" .patch)
  if [ $# -gt 0 ] && ! printf '%s\n' "$@" | grep -qF -f - <<<"$name"; then
    continue
  fi
  tried=$((tried + 1))
  if ! patch -s -f -d "$copy" -p1 <"$patch" >"$work/patch.log" 2>&1; then
    echo "$name: does not apply"
    bad=$((bad + 1))
  elif ! build; then
    echo "$name: does not build"
    grep -m3 '^error' "$work/build.log" || true
    bad=$((bad + 1))
  elif try; then
    echo "$name: not caught in $draws draws"
    bad=$((bad + 1))
  elif ! grep -o 'caught at draw [0-9]*' "$work/test.log" | sed -n "1s/^/$name: /p"; then
    echo "$name: the test failed without a difference"
    bad=$((bad + 1))
  fi
  rm -rf "$copy/daemon/cluster/src"
  cp -a daemon/cluster/src "$copy/daemon/cluster/src"
done
[ "$tried" -gt 0 ] || { echo "tests/faults.sh: no fault of that name" >&2; exit 2; }
echo "$((tried - bad)) of $tried faults caught"
[ "$bad" -eq 0 ]
