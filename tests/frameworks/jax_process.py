"""One of two JAX processes: `python -m tests.frameworks.jax_process ADDRESS PROCESS CASES`.

CASES is JSON, {name: (folder, options)}; the last line printed is JSON, too: {name: what this process got}.
"""

import json
import sys

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dlio_fast.errors import ConfigError
from dlio_fast.jax import DlioJaxDataset

PROCESSES, DEVICES_EACH = 2, 2


def read(folder, options):
    """An epoch as numpy batches, and the same one sharded over both processes."""
    mesh = Mesh(np.array(jax.devices()), ("d",))
    rows, everywhere = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (["d"], []))
    gather = jax.jit(lambda x: x[:, 0, 0], out_shardings=everywhere)

    ds = DlioJaxDataset(data_folder=folder, **options)
    got = {"numpy": [batch[:, 0, 0].tolist() for batch in ds], "own": [], "all": []}
    ds.set_epoch(0)
    try:
        for batch in ds.device_iter(rows):
            own = sorted(batch.addressable_shards, key=lambda shard: shard.index[0].start)
            got["own"].append(np.concatenate([shard.data for shard in own])[:, 0, 0].tolist())
            got["all"].append(np.asarray(gather(batch)).tolist())
    except ConfigError as error:
        got["error"] = str(error)
    stats = ds.stats()
    return {
        **got,
        "ranks": [stats["rank"], stats["world_size"], stats["ranks_from"]],
        "state": ds.state_dict(),
    }


def main():
    address, process, cases = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
    jax.config.update("jax_num_cpu_devices", DEVICES_EACH)
    jax.distributed.initialize(address, num_processes=PROCESSES, process_id=process)
    print(json.dumps({name: read(*case) for name, case in cases.items()}))


if __name__ == "__main__":
    main()
