#!/bin/bash
#SBATCH --job-name=ddranking
#SBATCH --cpus-per-task=4
#SBATCH --time=12:00:00
#SBATCH --output=ddranking-%A-%a.log
#
# One score over many nodes, without a service that has to run between them. From the login node:
#
#   bash slurm_array.sh 8 dc.safetensors --track cifar10-ipc1-convnet3 --recipe dc
#
# submits eight shards that share a store, and one run after them that trains what a shard left
# (a killed one too) and writes the record. What follows the number goes to "ddranking score" as it
# is: "--all sets" scores a folder. Submitted again, it goes on where it was.
#
#   STORE     a folder that every node sees; ./store by default
#   SBATCH    more options of sbatch, as "--partition=gpu --gres=gpu:1"
set -euo pipefail

STORE=${STORE:-$PWD/store}

if [ -z "${SLURM_JOB_ID:-}" ]; then  # on the login node: submit this very file
    shards=$1
    shift
    export STORE
    # shellcheck disable=SC2086  # options are several words
    array=$(sbatch --parsable ${SBATCH:-} --array="1-$shards" "$0" "$@")
    # After any end of the shards: what a killed one left is trained by this run.
    # shellcheck disable=SC2086
    sbatch ${SBATCH:-} --dependency="afterany:${array%%;*}" "$0" "$@"
elif [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then  # one shard
    ddranking score "$@" --store "$STORE" \
        --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"
else  # the run after them
    ddranking score "$@" --store "$STORE"
fi
