#!/usr/bin/env bash
# mpirun that saves before it stops:   launch/mpirun.sh -np 2 build/viaduct train --config configs/vit_flowers.cfg
# All arguments go to mpirun. Ctrl-C or SIGTERM: every rank ends its step, saves a checkpoint and exits with 75; a second one
# stops at once. (mpirun alone kills its ranks one second after either signal; only SIGUSR1 and SIGUSR2 reach them.)
# The exit code is that of the ranks.
set -u

# A rank that waits inside MPI gives its core away: 20 us instead of 24 ms a collective when ranks share cores, and free otherwise.
export OMPI_MCA_mpi_yield_when_idle=${OMPI_MCA_mpi_yield_when_idle:-1}

# mpirun refuses root, because a mistake there may harm the machine; in a container root is often the only user.
if [[ $(id -u) == 0 ]]; then
  echo "launch/mpirun.sh: running as root, so mpirun is told that this is intended (OMPI_ALLOW_RUN_AS_ROOT)" >&2
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 # mpirun wants both
fi

set -m # a process group of its own: the terminal's Ctrl-C must reach this script only
mpirun "$@" </dev/null &
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
