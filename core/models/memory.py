"""A device's memory: giving it back, how much is in use, and errors that say it is full."""

from __future__ import annotations

import gc


def free_memory(device: str) -> None:
    """Gives a GPU's memory back that nobody refers to any more, also in circles, as quantised layers do."""
    import torch

    if torch.device(device).type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


def memory_in_use(device: str) -> int:
    """Bytes of a GPU that this process' tensors take; 0 of a CPU, whose memory comes back by itself."""
    import torch

    return torch.cuda.memory_allocated(device) if torch.device(device).type == "cuda" else 0


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of torch's says that memory is full: of a GPU, of its libraries, or of this machine."""
    return any(words in str(error) for words in ("out of memory", "ALLOC_FAILED", "allocate memory"))
