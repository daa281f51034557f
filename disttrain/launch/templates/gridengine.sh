#!/bin/bash
#$ -N {{lettered}}
#$ -cwd
#$ -S /bin/bash
#$ -j y
# The name of the parallel environment is your site's (qconf -spl), and it decides how many slots
# are on each host.
#$ -pe mpi {{ranks}}
{{gridengine_memory}}
{{gridengine_gpus}}
{{gridengine_partition}}
{{gridengine_account}}
#$ -l h_rt={{time}}
#$ -r y
# Submit from a folder that all nodes share: qsub {{script}}

{{modules}}
newest() { local files=({{folder}}/checkpoints/step-*.h5); echo "${files[@]: -1}"; }
before=$(newest)
further() { [[ $(newest) != "$before" ]] || ! echo "not queued again: nothing new was saved" >&2; }
# Before the time is up the training is asked to save; it ends with 75.
timeout --preserve-status --signal=USR1 {{seconds}} \
  {{program}} launch --hostfile "$PE_HOSTFILE" --restarts 3 train {{run_file}} --resume
code=$?

# `disttrain launch` judges a run by its completion mark, so its exit code can be trusted: 75 the
# state is saved, 5 ranks were lost. Queued again where it has got further: else it would be for ever.
# Grid Engine queues a job again that ends with 99.
if [[ $code =~ ^(75|5)$ ]] && further; then
  exit 99
fi
exit $code
