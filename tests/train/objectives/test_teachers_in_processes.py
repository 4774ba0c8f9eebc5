"""Two processes train what one trains on the joined batch: teachers, queues, centres and prototypes included."""

import os
import subprocess
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
import two_teachers


def test_states_equal_those_of_one_process(tmp_path: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launch, two_teachers.__file__, str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for name, expected in two_teachers.train().items():
        for rank in ranks:
            for key, value in expected.items():
                torch.testing.assert_close(
                    rank[name][key], value, rtol=1e-8, atol=1e-10, msg=lambda m, at=f"{name}.{key}": f"{at}: {m}"
                )
