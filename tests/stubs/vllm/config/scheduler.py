from dataclasses import dataclass


@dataclass
class SchedulerConfig:
    max_num_seqs: int
