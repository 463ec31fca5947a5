#!/usr/bin/env bash
# Lets libFuzzer look for inputs that break a parser or the pipeline, and keeps those that reach new code.
#
#   tests/fuzz.sh [TARGET...]    all of them without a name; `cargo run -p weir-fuzz` lists them
#   WEIR_EXECUTIONS=N            executions of each, instead of the number that the list asks for
#   WEIR_WRITE=1                 notes in tests/results/fuzzing.json what was seen
#   WEIR_MERGE=1                 makes the corpora anew: the fewest inputs that reach what all of them reach
#
# The instrumentation is LLVM's, which stable rustc has: no other toolchain, no other tool.
set -euo pipefail
cd "$(dirname "$0")/.."

host=$(rustc -vV | sed -n 's/^host: //p')
build=target/fuzzing
corpora=tests/fuzz/corpus
limits=(-max_len=4096 -timeout=5 -rss_limit_mb=1024)
llvm=(-sanitizer-coverage-level=4 -sanitizer-coverage-inline-8bit-counters -sanitizer-coverage-pc-table
  -sanitizer-coverage-trace-compares)
flags="--cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1"
for flag in "${llvm[@]}"; do flags+=" -Cllvm-args=$flag"; done

seen=$(mktemp)
trap 'rm -f "$seen"' EXIT

# The list, from the build that everything else uses too.
list() { cargo build -q --workspace --all-features --bins && target/debug/weir-fuzz; }

# A target triple of its own keeps build scripts and macros free of the instrumentation.
RUSTFLAGS="$flags -Cdebug-assertions -Coverflow-checks" cargo build -q --release --config 'profile.release.lto="off"' -p weir-fuzz --bin weir-fuzz --target "$host" --target-dir "$build"
program=$build/$host/release/weir-fuzz

# A corpus is a file of its inputs, one a line in base64.
unpack() { # FILE FOLDER
  local line number=0
  while read -r line; do base64 -d <<<"$line" >"$2/kept-$((++number))"; done <"$1"
}

pack() { # FOLDER FILE
  local file
  for file in "$1"/*; do base64 -w0 "$file" && echo; done | LC_ALL=C sort -u >"$2"
}

while read -r name executions _; do
  [ $# -eq 0 ] || [[ " $* " == *" $name "* ]] || continue
  found=$build/found/$name kept=$(mktemp -d)
  mkdir -p "$found" "$build/crashes"
  [ ! -e "$corpora/$name" ] || unpack "$corpora/$name" "$kept"
  export WEIR_FUZZ=$name
  echo "== $name"
  # What is found stays for the next run; what breaks the target is named and fails this one.
  begun=$SECONDS
  "$program" -runs="${WEIR_EXECUTIONS:-$executions}" "${limits[@]}" -print_final_stats=1 -verbosity=0 \
    -artifact_prefix="$build/crashes/$name-" "$found" "$kept" 2>&1 | tail -n 40 | tee "$build/told"
  executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$build/told")
  printf '%s\t%s\texecutions\t`%s`, on %s in %s s, none of which broke it\n' \
    "$name" "$executed" "$name" "$(date -u +%F)" "$((SECONDS - begun))" >>"$seen"
  if [ -n "${WEIR_MERGE:-}" ]; then
    merged=$(mktemp -d)
    "$program" -merge=1 -max_len=512 -verbosity=0 "$merged" "$kept" "$found" 2>/dev/null
    pack "$merged" "$corpora/$name"
    rm -r "$merged"
  fi
  rm -r "$kept"
done < <(list)

if [ -n "${WEIR_WRITE:-}" ]; then
  target/debug/weir-results fuzzing "tests/fuzz.sh" "release, overflow checks, debug assertions, $(rustc --version)" <"$seen"
fi
