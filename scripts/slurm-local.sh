#!/usr/bin/env bash
# Starts a real Slurm on this machine, with two nodes, for tests and for trying --launcher slurm. Needs root, and the packages
# slurmctld, slurmd, slurm-client and munge of the distribution, which it installs where apt-get can.
#
#   scripts/slurm-local.sh start DIR     prints the variable to set: SLURM_CONF; ends with 3 if Slurm can't be installed or
#                                        does not run jobs here
#   scripts/slurm-local.sh restart DIR   the controller alone, as after a crash
#   scripts/slurm-local.sh stop DIR
set -euo pipefail
command=${1:?usage: slurm-local.sh start|restart|stop DIR} dir=$(mkdir -p "${2:?usage: slurm-local.sh start|restart|stop DIR}" && cd "$2" && pwd)
conf=$dir/slurm.conf
export SLURM_CONF=$conf

end() { # a daemon that wrote its process number
	[ -s "$1" ] || return 0
	local pid; pid=$(cat "$1")
	kill "$pid" 2>/dev/null || true
	for _ in $(seq 100); do [ -d "/proc/$pid" ] || break; sleep 0.1; done
	kill -9 "$pid" 2>/dev/null || true
}

down() {
	for n in n1 n2; do end "$dir/slurmd-$n.pid"; done
	end "$dir/ctld.pid"
}

controller() {
	slurmctld -f "$conf"
	for _ in $(seq 100); do [ -s "$dir/ctld.pid" ] && scontrol ping 2>/dev/null | grep -q UP && return 0; sleep 0.1; done
	echo "slurm-local.sh: the controller does not answer; see $dir/ctld.log" >&2
	return 1
}

case $command in
start)
	if ! command -v slurmctld >/dev/null || ! command -v slurmd >/dev/null || ! command -v munged >/dev/null; then
		export DEBIAN_FRONTEND=noninteractive
		get() { timeout 300 apt-get -o DPkg::Lock::Timeout=60 "$@" >>"$dir/packages.log" 2>&1; }
		packages="slurmctld slurmd slurm-client munge"
		get install -y -q $packages || { get update -q && get install -y -q $packages; } || {
			tail -n 3 "$dir/packages.log" >&2
			echo "slurm-local.sh: Slurm can't be installed; see $dir/packages.log" >&2
			exit 3
		}
	fi
	trap 'code=$?; [ $code -eq 0 ] || { down; exit 3; }' EXIT # not half a cluster
	mkdir -p "$dir/state" "$dir/spool"
	pgrep -x munged >/dev/null || { mkdir -p /run/munge && chown munge: /run/munge && runuser -u munge -- munged; }
	host=$(hostname -s)
	cat >"$conf" <<-CONF
		ClusterName=local
		SlurmctldHost=$host(127.0.0.1)
		AuthType=auth/munge
		SlurmUser=root
		SlurmdUser=root
		StateSaveLocation=$dir/state
		SlurmdSpoolDir=$dir/spool/%n
		SlurmctldPidFile=$dir/ctld.pid
		SlurmdPidFile=$dir/slurmd-%n.pid
		SlurmctldLogFile=$dir/ctld.log
		SlurmdLogFile=$dir/slurmd-%n.log
		ProctrackType=proctrack/linuxproc
		TaskPlugin=task/none
		SelectType=select/cons_tres
		SelectTypeParameters=CR_Core_Memory
		ReturnToService=2
		SlurmdParameters=config_overrides
		SlurmctldTimeout=10
		MinJobAge=600
		NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=17001 CPUs=2 RealMemory=4000
		NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=17002 CPUs=2 RealMemory=4000
		PartitionName=p Nodes=n1,n2 Default=YES State=UP
	CONF
	controller
	for n in n1 n2; do
		mkdir -p "$dir/spool/$n"
		slurmd -f "$conf" -N $n
	done
	for _ in $(seq 200); do [ "$(sinfo -h -t idle -o %D)" = 2 ] && break; sleep 0.1; done
	[ "$(sinfo -h -t idle -o %D)" = 2 ] || { echo "slurm-local.sh: the nodes do not become idle; see $dir/slurmd-n1.log" >&2; exit 1; }
	for n in n1 n2; do
		timeout 60 srun --immediate=30 --nodelist=$n --ntasks=1 true || { echo "slurm-local.sh: node $n runs no job" >&2; exit 1; }
	done
	kill -0 "$(cat "$dir/ctld.pid")" # or else another cluster on this machine ran them
	echo "export SLURM_CONF=$conf"
	;;
restart)
	end "$dir/ctld.pid"
	controller
	;;
stop)
	down
	;;
*)
	echo "usage: slurm-local.sh start|restart|stop DIR" >&2
	exit 2
	;;
esac
