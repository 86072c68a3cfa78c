#!/bin/sh
# One run of a study as one task of a Slurm job array, for clusters without Ray. The folder must be on a shared disk:
#
#   n=$(vime compare --tasks vime/SparseMountainCar-v0 --bonuses none vime --seeds 10 --out runs/study --count)
#   sbatch --array=0-$((n - 1)) scripts/slurm_array.sh runs/study
#   vime report runs/study          # at any time
#
# Submitted again, as after a time limit, it runs what is unfinished, each run from its last checkpoint; finished runs
# end at once. Options of `sbatch` on the command line come before those below. `VIME` names the command, if not `vime`.
#SBATCH --job-name=vime
#SBATCH --cpus-per-task=1
#SBATCH --mem=2G
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --signal=B:TERM@60
set -eu
folder=${1:?"usage: sbatch --array=0-LAST scripts/slurm_array.sh FOLDER"}
# exec: the signal that comes a minute before the end must reach the run, which then saves itself
exec ${VIME:-vime} compare --out "$folder" --only "${SLURM_ARRAY_TASK_ID:?"submit this script with sbatch --array"}"
