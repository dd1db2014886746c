#!/usr/bin/env bash
# mpirun that places the ranks and saves before it stops:
#   launch/mpirun.sh -np 2 build/viaduct train --config configs/vit_flowers.cfg
#   launch/mpirun.sh --per gpu build/viaduct ...                    a rank for every GPU of this host
#   launch/mpirun.sh --per numa --hostfile hosts build/viaduct ...  a rank for every memory node (NUMA domain) of hosts,
#   launch/mpirun.sh --per gpu --hostfile hosts build/viaduct ...   and hosts with as many GPUs, or memory nodes, as this one
# All other arguments go to mpirun. The first line of the program says which cores each rank got, and a warning what is wrong
# with that; `viaduct doctor launch` in place of the command says more.
# Ctrl-C or SIGTERM: every rank ends its step, saves a checkpoint and exits with 75; a second one
# stops at once. (mpirun alone kills its ranks one second after either signal; only SIGUSR1 and SIGUSR2 reach them.)
# The exit code is that of the ranks.
set -u

options=()
if [[ ${1:-} == --per ]]; then
  case ${2:-} in
    gpu)
      ranks=$(find /proc/driver/nvidia/gpus -mindepth 1 -maxdepth 1 2>/dev/null | wc -l)
      if [[ -n ${CUDA_VISIBLE_DEVICES:-} ]]; then ranks=$(tr ',' '\n' <<<"$CUDA_VISIBLE_DEVICES" | grep -c .); fi
      ;;
    numa) ranks=$(grep -l '[0-9]' /sys/devices/system/node/node[0-9]*/cpulist 2>/dev/null | wc -l) ;;  # those with cores
    *)
      echo "launch/mpirun.sh: --per ${2:-}: expected gpu or numa" >&2
      exit 2
      ;;
  esac
  if ((ranks == 0)); then
    echo "launch/mpirun.sh: --per $2: none was found on this host (nvidia-smi and lscpu list them); use -np N" >&2
    exit 2
  fi
  # No binding: the program divides the cores of a host among its ranks in the order of sockets and memory nodes, so that each
  # of as many ranks gets one with its memory. A binding of mpirun's would be kept to instead.
  options=(--npernode "$ranks")
  shift 2
fi

default() { export "$1=${!1:-$2}"; }  # NAME VALUE; what is set already stays
default OMPI_MCA_mpi_yield_when_idle 1  # a waiting rank gives its core away: 20 us instead of 24 ms where ranks share cores
default CUDA_DEVICE_ORDER PCI_BUS_ID    # GPU 3 is nvidia-smi's 3; CUDA by itself puts the fastest first
default NCCL_DEBUG WARN                 # why a collective failed; by default only that it did
# OpenMP needs nothing: the program takes a thread for each core of its share, waits asleep (OMP_WAIT_POLICY=passive) and keeps
# to what you set: OMP_NUM_THREADS, OMP_PROC_BIND, OMP_PLACES.
case "$* $(compgen -e)" in
  *btl_tcp_if_*) ;;  # networks were chosen
  *) export OMPI_MCA_btl_tcp_if_exclude=127.0.0.0/8,docker0,virbr0 ;;  # bridges, which have one address on every host
esac

# mpirun hands its environment to the ranks of this host only; those of others get what is named.
if mpirun --version 2>/dev/null | grep -q 'Open MPI'; then
  for name in $(compgen -e); do
    if [[ $name =~ ^(OMP|GOMP|CUDA|NCCL)_ ]]; then options+=(-x "$name"); fi
  done
fi

# mpirun refuses root, because a mistake there may harm the machine; in a container root is often the only user.
if [[ $(id -u) == 0 ]]; then
  echo "launch/mpirun.sh: running as root, so mpirun is told that this is intended (OMPI_ALLOW_RUN_AS_ROOT)" >&2
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 # mpirun wants both
fi

set -m # a process group of its own: the terminal's Ctrl-C must reach this script only
mpirun "${options[@]}" "$@" </dev/null &
mpirun_pid=$!
set +m

asked=0
# shellcheck disable=SC2317 # called by the trap
stop() {
  if ((asked++ == 0)); then
    echo "launch/mpirun.sh: the ranks will save and stop at the end of their step; once more stops at once" >&2
    kill -USR1 "$mpirun_pid" 2>/dev/null
  else
    kill -TERM "$mpirun_pid" 2>/dev/null
  fi
}
trap stop INT TERM

# A trapped signal ends `wait` early; a child that has ended keeps its code for the next one.
while kill -0 "$mpirun_pid" 2>/dev/null; do wait "$mpirun_pid"; done
wait "$mpirun_pid"
exit $?
