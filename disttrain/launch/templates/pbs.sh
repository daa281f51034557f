#!/bin/bash
#PBS -N {{lettered}}
#PBS -l select={{nodes}}:ncpus={{node_cpus}}:mpiprocs={{per_node}}{{pbs_memory}}{{pbs_gpus}}
{{pbs_partition}}
{{pbs_account}}
#PBS -l walltime={{time}}
#PBS -j oe
# Submit from a folder that all nodes share: qsub {{script}}

cd "$PBS_O_WORKDIR" || exit 2
{{modules}}
newest() { local files=({{folder}}/checkpoints/step-*.h5); echo "${files[@]: -1}"; }
before=$(newest)
further() { [[ $(newest) != "$before" ]] || ! echo "not queued again: nothing new was saved" >&2; }
# Before the time is up the training is asked to save; it ends with 75.
timeout --preserve-status --signal=USR1 {{seconds}} \
  {{program}} launch --hostfile "$PBS_NODEFILE" --restarts 3 train {{run_file}} --resume
code=$?

# `disttrain launch` judges a run by its completion mark, so its exit code can be trusted: 75 the
# state is saved, 5 ranks were lost. Queued again where it has got further: else it would be for ever.
if [[ $code =~ ^(75|5)$ ]] && further; then
  qsub {{script}} || echo "{{script}} could not be queued again: qsub it" >&2
fi
exit $code
