#!/usr/bin/env bash
# Kills a run of two ranks with SIGKILL at random points, resumes it each time, and compares the final weights with those of a
# run that was left alone: they must be equal bit for bit.
#   tests/fault/kill_resume.sh [KILLS=10] [SEED=1]      PROGRAM=build/viaduct
set -euo pipefail
kills=${1:-10} RANDOM=${2:-1} program=${PROGRAM:-build/viaduct}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ "$(id -u)" = 0 ]; then  # mpirun refuses root otherwise
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1

"$program" scenes "$work/scenes" --scenes.count 300 --scenes.size 24 >"$work/log" 2>&1
train() { # run folder
  mpirun -np 2 "$program" train --data.train "$work/scenes/train" --data.eval "$work/scenes/eval" --run.output "$1" \
    --model.hidden_size 64 --model.num_hidden_layers 4 --model.num_attention_heads 4 --model.intermediate_size 128 \
    --model.image_size 24 --model.patch_size 4 --model.hidden_dropout_prob 0.1 --train.batch_size 8 --train.steps 900 \
    --train.lr 1e-3 --run.checkpoint_every 10 --run.keep_last 2 --run.log_every 5 --run.resume auto >>"$work/log" 2>&1
}

start=$(date +%s%N)
train "$work/whole" || { cat "$work/log"; exit 1; }
whole_ms=$((($(date +%s%N) - start) / 1000000))
echo "uninterrupted: $whole_ms ms"

done_kills=0
while :; do
  train "$work/killed" &
  run=$!
  if [ "$done_kills" -lt "$kills" ]; then
    delay=$((300 + RANDOM % (whole_ms / 6)))
    sleep "$(printf '%d.%03d' $((delay / 1000)) $((delay % 1000)))"
    victims=($(pgrep -f "run.output $work/killed" || true))
    if [ "${#victims[@]}" -gt 0 ]; then
      victim=${victims[$((RANDOM % ${#victims[@]}))]}
      what=$(ps -o comm= -p "$victim" || true)
      if kill -9 "$victim" 2>/dev/null; then
        done_kills=$((done_kills + 1))
        echo "kill $done_kills: $what after $delay ms, newest checkpoint: $(ls "$work/killed/checkpoints" 2>/dev/null | tail -1)"
      fi
    fi
  fi
  if wait "$run" 2>/dev/null; then break; fi
  while pgrep -f "run.output $work/killed" >/dev/null; do sleep 0.1; done  # what a dead mpirun left is gone within a second
done
[ "$done_kills" = "$kills" ] || { echo "the run ended after $done_kills of $kills kills"; exit 1; }
cmp "$work/whole/model/model.safetensors" "$work/killed/model/model.safetensors"
echo "$done_kills kills: the final weights are equal bit for bit"
