#!/usr/bin/env bash
# `make test-slurm`: training under a real Slurm, which it installs (Debian's packages), starts on this host and ends again.
#   srun --mpi=pmix          two ranks train, on one node and on two, and launches that go wrong are refused with the line that helps
#   launch/slurm.sbatch      the job is signalled twice, as by a time limit and as by pre-emption: each time it saves, is
#                            requeued and resumes; the final weights are those of the run that was left alone, bit for bit
#   tests/slurm/run.sh       PROGRAM=build/viaduct
set -euo pipefail
cd "$(dirname "$0")/../.."
program=$(realpath "${PROGRAM:-build/viaduct}")
launch/install-deps slurm
# shellcheck source=tests/slurm/cluster.sh
. tests/slurm/cluster.sh

work=$(mktemp -d /tmp/viaduct-slurm.XXXXXX)
chmod 755 "$work"  # munged wants its socket within everybody's reach
finish() {
  local code=$?
  trap - EXIT
  cluster_down
  if ((code)); then tail -n 30 "$work"/*.log "$work"/cluster/*.log 2>/dev/null || true; fi
  rm -rf "$work"
  exit "$code"
}
trap finish EXIT
trap 'exit 1' INT TERM HUP

if [[ $(id -u) == 0 ]]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
export OMP_NUM_THREADS=1 OMPI_MCA_mpi_yield_when_idle=1 VIADUCT=$program

passed=0
ok() { passed=$((passed + 1)) && printf 'ok  %3d s  %s\n' "$SECONDS" "$*"; }
no() { echo "FAILED  $*" >&2 && echo "$passed passed, 1 failed" && exit 1; }
srun() { timeout -k 5 240 srun "$@"; }  # whatever hangs, the test ends
says() { grep -qF -- "$2" "$work/$1.log" || no "$1 should say: $2"; }  # NAME TEXT

# refused NAME TEXT COMMAND ...: it ends with a configuration error that says TEXT.
refused() {
  local name=$1 text=$2 code=0
  shift 2
  "$@" >"$work/$name.log" 2>&1 || code=$?
  ((code == 2)) || no "$name: exit code $code instead of 2"
  says "$name" "$text"
}

cluster_up "$work/cluster" || no "Slurm does not start"
ok "$(srun --version) with munge: two nodes on $(hostname -s)"
srun --mpi=list 2>&1 | grep -q pmix || no "this Slurm has no PMIx plugin: $(srun --mpi=list 2>&1 | tr '\n' ' ')"

refused srun "srun --mpi=pmix -n 2 $program doctor launch" srun -n 2 "$program" doctor launch
ok "srun without PMIx is refused with the line to use"
# As on a node that has the host's name; these have not, and mpirun would look for them by another srun.
OMPI_MCA_ras=^slurm OMPI_MCA_plm=isolated refused mpiruns "srun started mpirun 2 times" srun -n 2 mpirun -np 1 "$program" doctor launch
ok "srun of several mpiruns is refused with the line to use"
srun --mpi=pmix -n 2 "$program" doctor launch >"$work/doctor.log" 2>&1 || true  # a host of one core has a problem to tell
for text in 'rank 1 of 2, 1 of 2 on ' 'srun (slurmstepd), which said so by PMIX_RANK = 1'; do says doctor "$text"; done
ok "doctor sees two ranks of srun"

"$program" scenes "$work/scenes" --scenes.count 300 --scenes.size 24 >"$work/scenes.log" 2>&1
train=(--data.train "$work/scenes/train" --data.eval "$work/scenes/eval" --model.hidden_size 64 --model.num_hidden_layers 4
  --model.num_attention_heads 4 --model.intermediate_size 128 --model.image_size 24 --model.patch_size 4
  --model.hidden_dropout_prob 0.1 --train.batch_size 8 --train.steps 200 --train.lr 1e-3 --run.log_every 2)
srun --mpi=pmix -n 2 "$program" train "${train[@]}" --run.output "$work/whole" >"$work/whole.log" 2>&1 ||
  no "training with srun --mpi=pmix"
says whole "2 ranks on $(hostname -s)"
grep -q '"outcome": "completed"' "$work/whole/verdict.json" || no "the verdict of srun's training is not: completed"
ok "srun --mpi=pmix trained on two ranks"

# Nodes that are one host have one name, and the ranks of different nodes nothing but the loopback.
# shellcheck disable=SC2016 # for the shell of the task
OMPI_MCA_btl_tcp_if_include=lo srun --mpi=pmix --nodes=2 --ntasks-per-node=1 bash -c 'VIADUCT_HOST=$SLURMD_NODENAME exec "$@"' - \
  "$program" train "${train[@]}" --run.output "$work/nodes" >"$work/nodes.log" 2>&1 || no "training on two nodes"
says nodes "2 ranks on 2 hosts: 1 rank on n1, n2: "
cmp "$work/whole/model/model.safetensors" "$work/nodes/model/model.safetensors" || no "on two nodes the weights differ"
ok "two nodes trained to the same weights"

job=$(sbatch --parsable --ntasks-per-node=2 --cpus-per-task=1 --time=10 --output="$work/job.log" launch/slurm.sbatch \
  "${train[@]}" --run.output "$work/stopped")
restarts() { scontrol show job "$job" | grep -o 'Restarts=[0-9]*' | cut -d= -f2; }
state() { scontrol show job "$job" | grep -o 'JobState=[A-Z]*' | cut -d= -f2; }
trained() { [[ -e $work/stopped/metrics.jsonl ]] && (($(wc -l <"$work/stopped/metrics.jsonl") > $1)); }
requeued() { (($(restarts) == $1)) && [[ $(state) == PENDING ]]; }

# interrupt NUMBER LINES SCANCEL-OPTIONS: once there are more lines of metrics.
interrupt() {
  local number=$1 lines=$2
  shift 2
  within 120 trained "$lines" || no "the job does not train ($(state))"
  [[ $(state) == RUNNING ]] || no "the job is $(state) before signal $number: make the training longer"
  scancel "$@" "$job"
  within 60 requeued "$number" || no "the job is not requeued after signal $number ($(state), restarts: $(restarts))"
  grep -q '"outcome": "preempted"' "$work/stopped/verdict.json" || no "the verdict is not: preempted"
  (($(grep -c 'have saved and stopped (exit code 75)' "$work/job.log") == number)) || no "exit code 75 was not seen"
  # Slurm keeps a requeued job back for two minutes, slurmd a job that ended in the same second.
  scontrol update jobid="$job" StartTime=now+3
}
interrupt 1 15 --signal=USR1              # to the ranks, as #SBATCH --signal does before the time limit
ok "SIGUSR1 to the ranks: saved, exit code 75, requeued"
interrupt 2 40 --batch --signal=TERM      # to the script, as pre-emption does
ok "SIGTERM to the batch script: saved, exit code 75, requeued"
finished() { [[ $(state) == COMPLETED ]]; }
within 300 finished || no "the job does not complete ($(state))"
(($(grep -c 'resumed from ' "$work/job.log") == 2)) || no "the job did not resume twice"
grep -q '"outcome": "completed"' "$work/stopped/verdict.json" || no "the verdict is not: completed"
cmp "$work/whole/model/model.safetensors" "$work/stopped/model/model.safetensors" || no "the weights differ"
ok "the job resumed twice and ended with the weights of the run that was left alone"

cluster_down
within 10 nothing_left || no "processes are left: $(of_the_cluster)"
ok "nothing is left running"
echo "$passed passed, 0 failed"
