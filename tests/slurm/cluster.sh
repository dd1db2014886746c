# shellcheck shell=bash
# A Slurm of two nodes on this host in a folder: no systemd, no cgroups, no root, loopback only, ports and keys of its own; whatever Slurm the
# host may have is not touched. To be sourced by a script with `set -euo pipefail`.
#   cluster_up FOLDER     leaves SLURM_CONF exported           cluster_down     ends jobs, daemons and what they started
PATH=$PATH:/usr/sbin
daemons=()  # of the cluster that is up

free_ports() {  # the first of three neighbours that nobody listens on
  local port next
  for ((port = 20000 + RANDOM % 10000; ; port += 3)); do
    for next in 0 1 2; do
      if { : >"/dev/tcp/127.0.0.1/$((port + next))"; } 2>/dev/null; then continue 2; fi
    done
    echo "$port"
    return
  done
}

# Two processors a node at least, so that two ranks fit on any host (config_overrides: whatever slurmd counts). linuxproc and none:
# what needs no cgroup. The scheduler looks every second, at once where a job comes in.
write_slurm_conf() {
  local host memory port
  host=$(hostname -s)
  memory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
  port=$(free_ports)
  cat >"$cluster/slurm.conf" <<END
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$cluster/munge.socket
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmctldPort=$port
SlurmctldPidFile=$cluster/slurmctld.pid
SlurmdPidFile=$cluster/slurmd-%n.pid
StateSaveLocation=$cluster/state
SlurmdSpoolDir=$cluster/spool-%n
TmpFS=$cluster/tmp-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=10
NodeName=n[1-2] NodeHostname=$host NodeAddr=127.0.0.1 Port=[$((port + 1))-$((port + 2))] CPUs=$(($(nproc) < 2 ? 2 : $(nproc))) RealMemory=$((memory / 2)) State=UNKNOWN
PartitionName=test Nodes=n[1-2] Default=YES OverSubscribe=FORCE:4 MaxTime=INFINITE State=UP
END
  echo CgroupPlugin=cgroup/v1 >"$cluster/cgroup.conf"  # read by newer versions even where nothing uses cgroups
}

# A daemon that ends with this shell, however that ends.
daemon() {
  setpriv --pdeathsig TERM -- "$@" >>"$cluster/$1.log" 2>&1 &
  daemons+=($!)
}

cluster_up() {
  cluster=$1
  if ! getent hosts "$(hostname -s)" >/dev/null; then
    echo "the host name $(hostname -s) has no address: add '127.0.0.1 $(hostname -s)' to /etc/hosts" >&2
    return 1
  fi
  mkdir -p "$cluster"/{state,spool-n1,spool-n2,tmp-n1,tmp-n2}
  write_slurm_conf
  export SLURM_CONF=$cluster/slurm.conf
  (umask 077 && head -c 1024 /dev/urandom >"$cluster/munge.key")
  daemon munged --foreground --force --key-file "$cluster/munge.key" --socket "$cluster/munge.socket" \
    --pid-file "$cluster/munged.pid" --seed-file "$cluster/munge.seed"
  within 10 test -S "$cluster/munge.socket"
  daemon slurmctld -D
  daemon slurmd -D -N n1
  daemon slurmd -D -N n2
  within 20 nodes_are_idle
}
nodes_are_idle() { [[ $(sinfo -h -o '%T %D' 2>/dev/null) == 'idle 2' ]]; }

# within SECONDS COMMAND ...: until it succeeds.
within() {
  local tries=$(($1 * 10))
  shift
  until "$@"; do
    if ((tries-- == 0)); then
      echo "timed out: $*" >&2
      return 1
    fi
    sleep 0.1
  done
}

# Every process that was started below the daemons has their SLURM_CONF, whatever it made of itself since.
of_the_cluster() { env -u SLURM_CONF grep -lzF "SLURM_CONF=$cluster/" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3 || true; }
nothing_left() { [[ -z $(of_the_cluster) ]]; }

cluster_down() {
  ((${#daemons[@]})) || return 0
  squeue -h -o %i 2>/dev/null | xargs -r scancel 2>/dev/null || true
  within 15 no_job 2>/dev/null || true
  kill "${daemons[@]}" 2>/dev/null || true
  wait "${daemons[@]}" 2>/dev/null || true
  daemons=()
  local left
  left=$(of_the_cluster)
  if [[ -n $left ]]; then
    # shellcheck disable=SC2086 # numbers
    kill -9 $left 2>/dev/null || true
  fi
}
no_job() { [[ -z $(squeue -h -o %i 2>/dev/null) ]]; }
