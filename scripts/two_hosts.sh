#!/usr/bin/env bash
# Trains on two hosts that are network namespaces of this machine, joined by one cable, and pulls it:
# both must end with the reason within the deadline, and the same command must go on to the bits of
# one process. Needs root, iproute2 and MPI. Closes with 'N passed, N failed'.
set -euo pipefail
. "$(dirname "$0")/common.sh"

program=$root/build/levanter
[ -x "$program" ] || fail "no $program: scripts/build.sh makes it"
command -v mpirun >/dev/null || fail "no mpirun here (scripts/packages.txt, group mpi)"
folder=$(cd "$(mktemp -d)" && pwd -P)
one=levanter-one-$$
two=levanter-two-$$
clean() {
  ip netns del "$one" 2>/dev/null || true
  ip netns del "$two" 2>/dev/null || true
  rm -rf "$folder"
}
trap clean EXIT
cd "$folder"

ip netns add "$one" 2>/dev/null || fail "network namespaces are not permitted here"
ip netns add "$two"
ip link add cable netns "$one" type veth peer name cable netns "$two"
for host in "$one 10.77.0.1" "$two 10.77.0.2"; do
  read -r name address <<<"$host"
  ip -n "$name" addr add "$address/24" dev cable
  ip -n "$name" link set cable up
  ip -n "$name" link set lo up
done
cat >agent.sh <<AGENT
#!/bin/sh
shift
exec ip netns exec $two unshare --uts sh -c "hostname two; \$*"
AGENT
chmod +x agent.sh
printf '10.77.0.1 slots=2\n10.77.0.2 slots=2\n' >hosts
awk 'BEGIN { srand(1); for (i = 0; i < 4000; ++i) printf "%c", rand() < 0.2 ? 32 : 97 + int(rand() * 20) }' >text.txt
cat >run.toml <<'TOML'
[model]
max_seq_len = 32
hidden_dim = 64
num_layers = 3
num_heads = 4
[data]
tokenizer = { type = "char" }
[data.components.text]
train = ["text.txt"]
[trainer]
num_train_steps = 600
train_batch_size = 16
microbatch_size = 1
threads = 1
tracker = ["jsonl"]
checkpointer = { save_interval = "1s" }
watchdog = { step = "4s" }
TOML

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
on_two_hosts() {
  ip netns exec "$one" unshare --uts sh -c "hostname one; exec mpirun --hostfile hosts -np 4 \
    --mca plm_rsh_agent $folder/agent.sh --mca btl_tcp_if_include 10.77.0.0/24 \
    --mca oob_tcp_if_include 10.77.0.0/24 $program train --config run.toml --trainer.id=two $*"
}
hash_of() { sed -n 's/.*"params_hash": *"\([0-9a-f]*\)".*/\1/p' "logs/$1/summary.json" 2>/dev/null || true; }

passed=0
failed=0
# expect NAME COMMAND...: counts whether the command succeeds.
expect() {
  local name=$1
  shift
  if "$@"; then
    passed=$((passed + 1))
    say "ok      $name"
  else
    failed=$((failed + 1))
    say "FAILED  $name"
  fi
}

"$program" train --config run.toml --trainer.id=one >/dev/null 2>&1
on_two_hosts >out.first 2>&1 &
launched=$!
while [ ! -s logs/two/metrics.jsonl ]; do sleep 0.1; done
sleep 2
ip -n "$one" link set cable down
SECONDS=0
code=0
wait "$launched" || code=$?
say "the cable was pulled: ended with $code after $SECONDS s"
grep -a '^error: ' out.first >&2 || tail -n 3 out.first >&2
expect "a pulled cable ends the run" test "$code" -ne 0
expect "within the deadline and some seconds" test "$SECONDS" -le 15
expect "nobody is left" test -z "$(ip netns pids "$one")$(ip netns pids "$two")"
ip -n "$one" link set cable up
expect "the same command goes on" on_two_hosts >out.second 2>&1
say "$(grep -a ' ranks, ' out.second || tail -n 3 out.second)"
expect "to the bits of one process" test "$(hash_of two)" = "$(hash_of one)"
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
