"""Batch scripts and host files, filled in for a run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from disttrain.errors import UsageError

__all__ = ["FILES", "Site", "fill"]

FOLDER = Path(__file__).parent / "templates"
# What it is called, its file, and the name under which it is usually kept.
FILES = {
    "slurm": ("slurm.sh", "train.sbatch"),
    "slurm-srun": ("slurm-srun.sh", "train-srun.sbatch"),
    "pbs": ("pbs.sh", "train.pbs"),
    "lsf": ("lsf.sh", "train.lsf"),
    "gridengine": ("gridengine.sh", "train.sge"),
    "flux": ("flux.sh", "train.flux"),
    "kubernetes": ("kubernetes.yaml", "train.yaml"),
    "kubeflow-trainer": ("kubeflow-trainer.yaml", "trainjob.yaml"),
    "hosts": ("hosts.txt", "hosts"),
}
# Where a kind of GPU is asked for in one way at all sites.
TYPED = ("slurm", "slurm-srun", "lsf")
OF_SLURM = ("slurm_gpus_per_node", "slurm_gpus")
GRACE_SECONDS = 120
# As schedulers take it: 90 (minutes), 30:00, 01:30:00, 1-12 (a day and 12 hours), 1-12:00:00.
TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::([0-5]\d))?(?::([0-5]\d))?")
MEMORY = re.compile(r"([1-9]\d*) ?([MGT])(?:i?B)?", re.IGNORECASE)
# Words that need no quotes in a shell.
PLAIN = re.compile(r"[A-Za-z0-9@%+=:,./_][A-Za-z0-9@%+=:,./_-]*")
# The longest name of a Service in Kubernetes, less what the operator adds.
DNS_NAME = 50


@dataclass(frozen=True)
class Site:
    """What a run needs of a cluster.

    `ranks` on `nodes`, each with `cpus` cores and, with `gpus`, a GPU of its own; `time` as in
    "01:30:00", "90" (minutes) or "1-12:00:00"; `memory` of a node as in "64G"; `partition` is what
    other schedulers call a queue, `account` what they call a project; `gpu_type` is
    the site's word for a kind of GPU, as in "a100"; `gres` is what a node needs of Slurm's generic
    resources, as in "gpu:a100:4"; `modules` are loaded before. `program` is the command
    `disttrain` as all nodes find it. `grace` is how many seconds before the end of its time a
    training is asked to save.
    """

    run_file: str
    name: str
    ranks: int
    nodes: int
    time: str
    program: str = "disttrain"
    cpus: int = 1
    gpus: bool = False
    grace: int = GRACE_SECONDS
    memory: str = ""
    partition: str = ""
    account: str = ""
    gpu_type: str = ""
    gres: str = ""
    modules: tuple[str, ...] = ()

    def values(self, script: str) -> dict[str, str]:
        """Return what stands in for each placeholder. Raises UsageError for what can't be."""
        if self.ranks % self.nodes:
            raise UsageError(
                f"--ranks {self.ranks} can't be divided among --nodes {self.nodes}: give a "
                f"multiple, as in --ranks {-(-self.ranks // self.nodes) * self.nodes}"
            )
        words = (self.run_file, self.program, script, self.partition, self.account, self.gpu_type)
        for word in (*words, self.gres, *self.modules):
            if word and not PLAIN.fullmatch(word):
                raise UsageError(f"{word!r} can't be written in a batch script: rename it")
        each, seconds = self.ranks // self.nodes, self._seconds()
        lines = "\n".join(f"node{i + 1} slots={each}" for i in range(self.nodes))
        return {
            "name": self.name,
            "lettered": _lettered(self.name),
            "dns_name": _as_label(self.name),
            "run_file": self.run_file,
            "folder": f"runs/{self.name}",
            "program": self.program,
            "script": script,
            "ranks": str(self.ranks),
            "nodes": str(self.nodes),
            "per_node": str(each),
            "cpus": str(self.cpus),
            "node_cpus": str(each * self.cpus),
            "time": f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}",
            "grace": str(self.grace),
            "limit": str(seconds),
            "seconds": str(seconds - self.grace),
            "minutes": str(-(-seconds // 60)),
            "host_lines": lines,
            "modules": f"module load {' '.join(self.modules)}" if self.modules else "",
            **self._gpus(each), **self._memory(each), **self._shares(),
        }  # fmt: skip

    def _gpus(self, each: int) -> dict[str, str]:
        """Return what asks for a GPU for each rank."""
        kind = f"{self.gpu_type}:" if self.gpu_type else ""
        model = f":gmodel={self.gpu_type}" if self.gpu_type else ""
        return {
            # A daemon of mpirun is one task of Slurm's, and starts all ranks of its node.
            "slurm_gpus_per_node": f"#SBATCH --gpus-per-node={kind}{each}" if self.gpus else "",
            "slurm_gpus": f"#SBATCH --gpus-per-task={kind}1" if self.gpus else "",
            **(dict.fromkeys(OF_SLURM, f"#SBATCH --gres={self.gres}") if self.gres else {}),
            "pbs_gpus": f":ngpus={each}" if self.gpus else "",
            "lsf_gpus": f'#BSUB -gpu "num=1/task{model}"' if self.gpus else "",
            "gridengine_gpus": "#$ -l gpu=1" if self.gpus else "",
            "flux_gpus": "#FLUX: --gpus-per-slot=1" if self.gpus else "",
            "flux_gpus_each": " --gpus-per-task=1" if self.gpus else "",
            "image": "disttrain-gpu" if self.gpus else "disttrain",
            "kubernetes_gpus": f", nvidia.com/gpu: {each}" if self.gpus else "",
        }

    def _memory(self, each: int) -> dict[str, str]:
        """Return what states the memory of a node; Grid Engine counts that of a slot."""
        read = MEMORY.fullmatch(self.memory)
        if self.memory and read is None:
            raise UsageError(f"--memory {self.memory}: write it as in 500M, 64G or 1T, for a node")
        count, unit = (read[1], read[2].upper()) if read else ("", "")
        slot = -(-int(count or 0) * {"": 0, "M": 1, "G": 1 << 10, "T": 1 << 20}[unit] // each)
        lines = {
            "slurm_memory": f"#SBATCH --mem={count}{unit}",
            "pbs_memory": f":mem={count}{unit.lower()}b",
            "lsf_memory": f'#BSUB -R "rusage[mem={count}{unit}B]"',
            "gridengine_memory": f"#$ -l h_vmem={slot}M",
            "kubernetes_memory": f", memory: {count}{unit}i",
        }
        return lines if read else dict.fromkeys(lines, "")

    def _shares(self) -> dict[str, str]:
        """Return the lines that say in which queue a job waits and whose it is."""
        lines = {}
        for name, queue, account in (
            ("slurm", "#SBATCH --partition=", "#SBATCH --account="),
            ("pbs", "#PBS -q ", "#PBS -A "),
            ("lsf", "#BSUB -q ", "#BSUB -P "),
            ("gridengine", "#$ -q ", "#$ -P "),
            ("flux", "#FLUX: --queue=", "#FLUX: --bank="),
        ):
            lines[f"{name}_partition"] = queue + self.partition if self.partition else ""
            lines[f"{name}_account"] = account + self.account if self.account else ""
        return lines

    def _seconds(self) -> int:
        read = TIME.fullmatch(self.time)
        if read is None:
            raise UsageError(
                f"--time {self.time}: write it as HH:MM:SS, as in 01:30:00, as minutes, as in 90, "
                "or as days-hours, as in 1-12:00:00"
            )
        days, first, *rest = read.groups()
        parts = [int(part) for part in (first, *rest) if part]
        # Slurm's way: hours stand first after days or where there are three numbers, else minutes.
        units = (3600, 60, 1) if days or len(parts) == 3 else (60, 1)
        whole = int(days or 0) * 24 * 3600 + sum(n * u for n, u in zip(parts, units, strict=False))
        if whole <= self.grace:
            raise UsageError(
                f"--time {self.time} is {whole} s, as Slurm reads it, and the job is asked to stop "
                f"{self.grace} s before its end: give more, as in 01:30:00"
            )
        return whole


def fill(template: str, site: Site, script: str | None = None) -> str:
    """Return the template of that name for `site`; `script` is the name it will be kept under.

    Raises UsageError for a name that is not known and for what does not fit.
    """
    if template not in FILES:
        raise UsageError(f"no template {template!r}: there are {', '.join(FILES)}")
    if template in ("kubernetes", "kubeflow-trainer", "hosts") and (site.partition or site.account):
        raise UsageError(f"--partition and --account are for schedulers, and {template} has none")
    if template == "flux" and site.memory:
        raise UsageError("--memory is not for flux, which counts nodes, cores and GPUs")
    if template == "gridengine" and site.cpus > 1:
        raise UsageError(
            "--cpus is not for gridengine, where a slot is a rank: choose a parallel environment "
            "whose slots have as many cores"
        )
    if site.modules and not FILES[template][0].endswith(".sh"):
        raise UsageError(f"--module is for batch scripts, and {template} is not one")
    if site.gres and not template.startswith("slurm"):
        raise UsageError(f"--gres is Slurm's, and this is for {template}: use --gpus, --gpu-type")
    if site.gpu_type and template not in TYPED:
        raise UsageError(
            f"--gpu-type is for {', '.join(TYPED)}: for {template} sites have words of their "
            "own, to be added to the script"
        )
    file, usual = FILES[template]
    values = site.values(script or usual)
    lines = (FOLDER / file).read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not _is_empty(line, values)]
    filled = [re.sub(r"\{\{(\w+)\}\}", lambda m: values[m[1]], line) for line in kept]
    return "\n".join(filled) + "\n"


def _lettered(name: str) -> str:
    """Return a name that begins with a letter, as some schedulers want it."""
    return name if name[:1].isalpha() else f"run-{name}"


def _as_label(name: str) -> str:
    """Return a name as Kubernetes wants it: a letter first, small letters, digits and hyphens."""
    return _lettered(re.sub(r"[^a-z0-9]+", "-", name.lower()))[:DNS_NAME].strip("-")


def _is_empty(line: str, values: dict[str, str]) -> bool:
    """Return True for a line that is one placeholder for which there is nothing."""
    alone = re.fullmatch(r"\{\{(\w+)\}\}", line)
    return alone is not None and not values[alone[1]]
