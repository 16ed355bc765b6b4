import subprocess
import sys


def test_reused_memory_is_not_given_back() -> None:
    """In a process of its own, as the setting is of the whole process: large tensors come from memory that is kept."""
    script = (
        "import torch\nfrom quickstudy.training import reuse_memory\n"
        "took = reuse_memory()\na = torch.ones(30_000_000)\naddress = a.data_ptr()\ndel a\n"
        "b = torch.ones(20_000_000)\nprint(took, b.data_ptr() == address)"
    )
    out = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert out in (["True", "True"], ["False", out[1]])
