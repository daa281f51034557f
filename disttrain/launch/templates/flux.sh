#!/bin/bash
#FLUX: --job-name={{name}}
#FLUX: --nodes={{nodes}}
#FLUX: --nslots={{ranks}}
#FLUX: --cores-per-slot={{cpus}}
{{flux_gpus}}
{{flux_partition}}
{{flux_account}}
#FLUX: --time-limit={{limit}}s
#FLUX: --output={{name}}.out
# Submit from a folder that all nodes share: flux batch {{script}}
# For an MPI that Flux can start: Open MPI 5 with PMIx (the shell plugin `pmix`), or MPICH.

{{modules}}
newest() { local files=({{folder}}/checkpoints/step-*.h5); echo "${files[@]: -1}"; }
before=$(newest)
further() { [[ $(newest) != "$before" ]] || ! echo "not queued again: nothing new was saved" >&2; }
# The ranks are told before the time is up; they save and end with 75.
flux run --nodes={{nodes}} --ntasks={{ranks}} --cores-per-task={{cpus}}{{flux_gpus_each}} -o pmi=pmix \
  --time-limit={{limit}}s --signal=USR1@{{grace}}s \
  {{program}} train {{run_file}} --output {{folder}} --resume
code=$?

# A run has ended when its summary says so.
status=$(sed -n 's/^  "status": "\([a-z-]*\)".*/\1/p' {{folder}}/summary.json 2>/dev/null)
case $status in
  completed | stopped-early) exit 0 ;;
  diverged | failed) exit $((code ? code : 1)) ;;
esac
# What can't work would end the same way again, and so would what has got no further.
case $code in 1 | 2 | 3 | 4 | 126 | 127) exit $code ;; esac
further || exit $((code ? code : 5))
flux --parent batch {{script}}
exit 75
