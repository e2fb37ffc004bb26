"""Running out of memory: how torch says so, and what frees some."""


def short_of_memory(message: str) -> bool:
    """Whether an error's message is torch's for too little memory: on a GPU, or a plain RuntimeError on a processor."""
    return "out of memory" in message.lower() or "can't allocate memory" in message.lower()


def free_memory() -> None:
    """Give back what torch keeps of the GPU's memory without using it."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
