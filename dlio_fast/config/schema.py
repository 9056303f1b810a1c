"""The typed configuration: every key of DLIO and of its successors that dlio_fast knows, with defaults.

The defaults are DLIO's. Keys that DLIO accepts and ignores are accepted here too. A key that was not
given is told from one that was by :meth:`Config.is_set`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import Field, PrivateAttr, model_validator

from .data import DatasetSection, Dims, ElementType, Names, StorageSection, data_address
from .fields import (
    Bytes,
    Count,
    Free,
    FreeMapping,
    FrozenDict,
    Int,
    LegacySeed,
    Limit,
    NonNegative,
    Positive,
    Section,
    Seed,
    ShuffleKind,
    words,
)
from .keys import canonical_path
from .profiles import FRAMEWORKS, JaxProfile, ProfilesSection, PyTorchProfile, TensorFlowProfile
from .reading import Dumper
from .times import TimeSpec

Shuffle = Annotated[Literal["off", "seed", "random"], words(off="off", on="seed")]
DataType = Annotated[Literal["int8", "uint8", "fp16", "bf16", "fp32", "fp64"], words()]
S = TypeVar("S", bound=Section)


def _with_stdev(section: S, name: str) -> S:
    """Put the value of the key ``{name}_stdev`` into the duration `name` next to it."""
    value = getattr(section, name).with_stdev(getattr(section, f"{name}_stdev"))
    object.__setattr__(section, name, value)  # around frozen, before anybody else has the section
    return section


class ParallelismSection(Section):
    """How a model is split over ranks."""

    tensor: Positive = 1
    pipeline: Positive = 1
    data: Limit = -1
    """Used in checkpoint mode "subset" only; otherwise it follows from the number of ranks."""
    zero_stage: Annotated[int, Field(ge=0, le=3)] = 0


class TransformerSection(Section):
    """Dimensions of a transformer."""

    vocab_size: Positive = 32000
    hidden_size: Positive = 2048
    ffn_hidden_size: Positive = 8192
    num_attention_heads: Positive = 32
    num_kv_heads: Positive = 8


class ModelSection(Section):
    """The model whose checkpoints are written; ``model: NAME`` is short for ``model: {name: NAME}``."""

    name: str = "default"
    type: str | None = None
    framework: Annotated[Literal["pytorch", "tensorflow", "jax", "none"], words(off="none")] | None = None
    model_size_bytes: Count = 10240
    model_datatype: DataType = "fp16"
    optimizer_datatype: DataType = "fp32"
    optimization_groups: tuple[Count, ...] = ()
    num_layers: Limit = -1
    layer_parameters: tuple[Count, ...] = ()
    parallelism: ParallelismSection = ParallelismSection()
    transformer: TransformerSection = TransformerSection()

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _layers_fit(self) -> ModelSection:
        stages = self.parallelism.pipeline
        if 0 < self.num_layers < stages:
            raise ValueError(
                f"num_layers = {self.num_layers} must not be less than parallelism.pipeline = {stages}"
            )
        if stages > 1 and self.parallelism.zero_stage == 3:
            raise ValueError(f"parallelism.pipeline = {stages} must be 1 with zero_stage 3")
        return self


class WorkflowSection(Section):
    """What a run does."""

    generate_data: bool = False
    train: bool = True
    evaluation: bool = False
    checkpoint: bool = False
    profiling: bool = False
    query: str | None = None
    debug: bool = False


class ReaderSection(Section):
    """How data are read; `data_reader` is the same section under its older name, and wins."""

    data_loader: Annotated[
        Literal["tensorflow", "pytorch", "jax", "dali", "native_dali", "synthetic", "custom", "none"],
        words(off="none"),
    ] = "tensorflow"
    data_loader_classname: str | None = None
    reader_classname: str | None = None
    data_loader_sampler: Annotated[Literal["iterative", "index", "none"], words(off="none")] | None = None
    read_threads: Count = 1
    computation_threads: Count = 1
    write_threads: Count = 1
    """1 means: as many as fit the machine."""
    batch_size: Positive = 1
    batch_size_eval: Positive = 1
    prefetch_size: Count = 2
    """Batches read ahead."""
    file_shuffle: Shuffle = "off"
    sample_shuffle: Shuffle = "off"
    """YAML's bare ``off`` and ``on`` work: on means "seed"."""
    shuffle: ShuffleKind | None = None
    """The seed system's one switch for both."""
    seed: Seed | None = None
    drop_last: bool | None = None
    shuffle_size: Count = 1024
    read_type: Annotated[Literal["memory", "on_demand"], words()] = "on_demand"
    file_access: Annotated[Literal["multi", "shared", "collective", "mpio", "posix"], words()] = "multi"
    transfer_size: Positive | None = None
    preprocess_time: TimeSpec = TimeSpec()
    """Seconds a sample, drawn; includes `preprocess_time_stdev`."""
    preprocess_time_stdev: NonNegative | None = None
    pin_memory: bool = True
    multiprocessing_context: Annotated[Literal["fork", "spawn", "forkserver"], words()] = "fork"
    odirect: bool = False
    dont_use_mmap: bool = False
    transformed_record_dims: Dims = ()
    transformed_record_element_type: ElementType = "uint8"

    @model_validator(mode="after")
    def _combine(self) -> ReaderSection:
        return _with_stdev(self, "preprocess_time")


class TrainSection(Section):
    """The training loop."""

    epochs: Count = 1
    computation_time: TimeSpec = TimeSpec()
    """Seconds a step, drawn; includes `computation_time_stdev`."""
    computation_time_stdev: NonNegative | None = None
    total_training_steps: Limit = -1
    """The limit of each epoch, as in DLIO; -1: none."""
    seed_change_epoch: bool = True
    seed: LegacySeed = 123

    @model_validator(mode="after")
    def _combine(self) -> TrainSection:
        return _with_stdev(self, "computation_time")


class EvaluationSection(Section):
    """The evaluation loop."""

    eval_time: TimeSpec = TimeSpec()
    """Seconds a step, drawn; includes `eval_time_stdev`."""
    eval_time_stdev: NonNegative | None = None
    eval_after_epoch: Count = 1
    epochs_between_evals: Positive = 1

    @model_validator(mode="after")
    def _combine(self) -> EvaluationSection:
        return _with_stdev(self, "eval_time")


class KsmSection(Section):
    """Kernel same-page merging; the presence of the section, though empty, turns it on; null is off."""

    madv_mergeable_id: Int = 12
    high_ram_trigger: NonNegative = 30.0
    low_ram_exit: NonNegative = 15.0
    await_time: NonNegative = 200.0


class CheckpointSection(Section):
    """Checkpoints; `checkpointing` is the same section under the seed system's name."""

    enabled: bool | None = None
    checkpoint_folder: str = "./checkpoints/"
    checkpoint_after_epoch: Count = 1
    epochs_between_checkpoints: Positive = 1
    steps_between_checkpoints: Limit = -1
    type: Annotated[Literal["rank_zero", "all_ranks"], words()] = "rank_zero"
    mode: Annotated[Literal["default", "subset"], words()] = "default"
    fsync: bool = False
    time_between_checkpoints: Annotated[float, Field(ge=-1)] = -1
    """Seconds; -1: no pause."""
    num_checkpoints_write: Limit = -1
    num_checkpoints_read: Limit = -1
    rank_sync: bool = False
    recovery_rank_shift: bool = False
    randomize_tensor: bool = True
    checkpoint_mechanism_classname: str | None = None
    ksm: KsmSection | None = None
    model_size: Bytes | None = None
    compression: Annotated[str, words(off="none")] | None = None
    compression_level: Int | None = None

    @model_validator(mode="after")
    def _agree(self) -> CheckpointSection:
        if 0 < self.num_checkpoints_write < self.num_checkpoints_read:
            raise ValueError("num_checkpoints_read must not exceed num_checkpoints_write")
        if self.ksm is not None and self.randomize_tensor:
            raise ValueError("ksm merges equal pages only: it needs randomize_tensor: false")
        return self


class OutputMetricSection(Section):
    """Which steps the metrics leave out."""

    exclude_start_steps: Count = 1
    exclude_end_steps: Count = 0


class OutputSection(Section):
    """Where results go."""

    folder: str | None = None
    log_file: str = "dlio.log"
    metric: OutputMetricSection = OutputMetricSection()


class MetricSection(Section):
    """Goals."""

    au: Annotated[NonNegative, Field(le=100)] = 0.90
    """Accelerator utilization to reach, a fraction; a value above 1 is given in percent."""

    @model_validator(mode="after")
    def _to_fraction(self) -> MetricSection:
        if self.au > 1:
            object.__setattr__(self, "au", self.au / 100.0)
        return self


class ProfilingSection(Section):
    """Profilers."""

    profiler: Annotated[Literal["none", "iostat", "darshan", "tensorboard"], words(off="none")] = "iostat"
    iostat_devices: Names = ()
    profile_folder: str | None = None
    iostat: Free = None


class Config(Section):
    """A whole configuration, as :func:`dlio_fast.load_config` returns it. Immutable, hashable, picklable.

    Two configurations are equal when they give the same keys the same values, wherever they came from.
    """

    framework: Annotated[Literal["pytorch", "tensorflow", "jax", "none"], words(off="none")] = "tensorflow"
    """Where absent: `model.framework`, else the first framework that has options, else DLIO's default."""
    model: ModelSection = ModelSection()
    pytorch_config: PyTorchProfile = PyTorchProfile()
    tensorflow_config: TensorFlowProfile = TensorFlowProfile()
    jax_config: JaxProfile = JaxProfile()
    framework_profiles: ProfilesSection = ProfilesSection()
    workflow: WorkflowSection = WorkflowSection()
    storage: StorageSection = StorageSection()
    dataset: DatasetSection = DatasetSection()
    reader: ReaderSection = ReaderSection()
    train: TrainSection = TrainSection()
    evaluation: EvaluationSection = EvaluationSection()
    checkpoint: CheckpointSection = CheckpointSection()
    output: OutputSection = OutputSection()
    metric: MetricSection = MetricSection()
    profiling: ProfilingSection = ProfilingSection()
    hydra: FreeMapping = FrozenDict()
    """Hydra's own settings, such as ``hydra.run.dir``, kept as given."""

    _source: str = PrivateAttr("")

    @model_validator(mode="after")
    def _complete(self) -> Config:
        if self.checkpoint.mode == "subset" and self.model.parallelism.data < 1:
            raise ValueError("checkpoint.mode subset needs model.parallelism.data, that of the whole job")
        if "framework" not in self.model_fields_set:
            by_options = [name for name in FRAMEWORKS if self.framework_options(name)]
            framework = self.model.framework or (by_options[0] if by_options else self.framework)
            object.__setattr__(self, "framework", framework)
        return self

    @property
    def source(self) -> str:
        """Where the configuration came from, for messages: a file, a workload's name or "dict"."""
        return self._source

    def is_set(self, key: str) -> bool:
        """Tell whether a key was given, by its path without ``workload.``: ``cfg.is_set("dataset.format")``.

        Aliases count as the key they stand for. Raises KeyError for a key that the schema does not have.
        """
        node: Any = self
        given = True
        for part in canonical_path(key.removeprefix("workload.").split(".")):
            if isinstance(node, Section):
                if part not in type(node).model_fields:
                    raise KeyError(f"no key {key!r} in the configuration's schema")
                given = given and part in node.model_fields_set
                node = getattr(node, part)
            else:
                given = given and isinstance(node, dict) and part in node
                node = node.get(part) if isinstance(node, dict) else None
        return given

    def framework_options(self, framework: str) -> dict[str, Any]:
        """Return the given options of a framework's wrapper: its own section over `framework_profiles`."""
        if framework not in FRAMEWORKS:
            return {}
        profile = getattr(self.framework_profiles, framework).to_dict()
        return {**profile, **getattr(self, f"{framework}_config").to_dict()}

    @property
    def data_address(self) -> str:
        """Complete address of the data: `storage.storage_root` and `dataset.data_folder` put together.

        A path, or ``scheme://`` and what follows; `reader.odirect` and storage type direct_fs make a local
        path ``direct://``.
        """
        return data_address(self.dataset, self.storage, direct=self.reader.odirect)

    def to_yaml(self) -> str:
        """Return the given keys as YAML that :func:`load_config` reads back to an equal configuration."""
        return yaml.dump(self.to_dict(), Dumper=Dumper, sort_keys=False)

    def __eq__(self, other: object) -> bool:
        return self.to_dict() == other.to_dict() if isinstance(other, Config) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.to_yaml())
