#!/bin/sh
#SBATCH --array=0%4
#SBATCH --cpus-per-task=2
#SBATCH --gres=gpu:1
#SBATCH --job-name=benchctl
#SBATCH --mem=400M
#SBATCH --open-mode=append
#SBATCH --output="/shared/my runs/sweep/slurm-%A_%a.log"
#SBATCH --partition=gpu
#SBATCH --requeue
#SBATCH --signal=B:TERM@60
#SBATCH --time=01:00:00
export OMP_WAIT_POLICY=passive
set -- 5
shift "$SLURM_ARRAY_TASK_ID"
/usr/bin/benchctl work '/shared/my runs' --manifest 0123456789abcdef.json --cell "$1" &
cell=$!
trap 'kill -TERM "$cell"' TERM INT
wait "$cell"; code=$?
if [ "$code" -gt 128 ]; then wait "$cell"; code=$?; fi
if [ "$code" -eq 130 ]; then scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}" || true; fi
exit "$code"
