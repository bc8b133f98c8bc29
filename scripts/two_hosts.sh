#!/usr/bin/env bash
# Trains on two hosts that are network namespaces of this machine, joined by one cable, and pulls it:
# the ranks on both must end with the reason within the deadline, and the same command must go on to
# the bits of one process. Their token cache, which they make together, must have its bytes too.
# mpirun itself waits for the cable much longer, and is ended here. Needs root, iproute2 and MPI.
# Closes with 'N passed, N failed'.
set -euo pipefail
. "$(dirname "$0")/common.sh"

program=$root/build/levanter
[ -x "$program" ] || fail "no $program: scripts/build.sh makes it"
command -v mpirun >/dev/null || fail "no mpirun here (scripts/packages.txt, group mpi)"
folder=$(cd "$(mktemp -d)" && pwd -P)
one=levanter-one-$$
two=levanter-two-$$
clean() {
  hosts_processes 2>/dev/null | xargs -r kill -KILL 2>/dev/null || true
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
# Files of more than a MiB, so that each host reads some of them.
for part in 1 2 3 4; do
  seq 36000 | awk '{ printf "{\"text\": \"%d is %d and %d\"}\n", $1, $1 * $1 % 1009, $1 % 17 }' \
    >records-$part.jsonl
done
cat >run.toml <<'TOML'
[model]
max_seq_len = 32
hidden_dim = 64
num_layers = 3
num_heads = 4
[data]
tokenizer = { type = "char" }
[data.components.text]
train = ["records-*.jsonl"]
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
    --mca oob_tcp_if_include 10.77.0.0/24 $program train --config run.toml --trainer.id=two --data.cache_dir=cache-two $*"
}
# hosts_processes: those of both hosts; ranks_left: the ranks among them.
hosts_processes() {
  ip netns pids "$one"
  ip netns pids "$two"
}
ranks_left() {
  local process
  for process in $(hosts_processes); do
    [ "$(readlink "/proc/$process/exe")" != "$program" ] || echo "$process"
  done
}

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

"$program" train --config run.toml --trainer.id=one --data.cache_dir=cache-one >/dev/null 2>&1
on_two_hosts >out.first 2>&1 &
launched=$!
while [ ! -s logs/two/metrics.jsonl ]; do sleep 0.1; done
sleep 2
ip -n "$one" link set cable down
SECONDS=0
while [ -n "$(ranks_left)" ] && [ "$SECONDS" -lt 60 ]; do sleep 0.1; done
say "the cable was pulled: the ranks had ended after $SECONDS s"
expect "all ranks end within the deadline and some seconds" test "$SECONDS" -le 15
for host in one two; do
  expect "a rank on host $host says who is late" grep -qs " on $host has waited" logs/two/ranks/*.log
done
grep -h ' failed: ' logs/two/ranks/*.log >&2 || true
hosts_processes | xargs -r kill -KILL
wait "$launched" 2>/dev/null || true
ip -n "$one" link set cable up
expect "the token cache of two hosts is that of one process" \
  diff -r --exclude=lock cache-one cache-two
expect "the same command goes on" on_two_hosts >out.second 2>&1
say "$(grep -a ' ranks, ' out.second || tail -n 3 out.second)"
expect "to the bits of one process" test "$(params_hash_of logs/two)" = "$(params_hash_of logs/one)"
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
