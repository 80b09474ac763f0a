"""Memory and speed of fine-tuning steps with regions, of the shapes of CLIP, beside what the arithmetic says beforehand.

    python -m benchmarks.memory [--batch 12] [--repeats 5] [--shapes b32,b16,l14]

Random weights, 98 attributes, bf16 where there is a GPU. Without one, memory is not measured. Prints Markdown.
"""

import argparse
import time

import torch

from benchmarks.step_times import ATTRIBUTES, MIB, Subject
from dsva.config import Config
from dsva.cost import Shape, memory_bytes, peak_flops

# patch side, width, layers, heads, width of the feed-forward layers
SHAPES = {
    "b32": (32, 768, 12, 12, 3072),
    "b16": (16, 768, 12, 12, 3072),
    "l14": (14, 1024, 24, 16, 4096),
    "tiny": (32, 64, 2, 2, 64),
}


def row(name: str, batch: int, repeats: int, device: torch.device) -> str:
    """Measure a shape; return its row of the table."""
    patch, width, layers, heads, mlp = SHAPES[name]
    on_gpu = device.type == "cuda"
    config = Config.model_validate(
        {
            "model": {"patch": patch, "width": width, "layers": layers, "heads": heads, "mlp": mlp, "regions": True},
            "data": {"batch_size": batch},
            "train": {"precision": "bf16" if on_gpu else "no"},
        }
    )
    subject = Subject(batch, device, on_gpu, config.model)
    for _ in range(2):
        subject.step(fine_tuning=True)
        subject.update()
    if on_gpu:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    begun = time.perf_counter()
    for _ in range(repeats):
        subject.step(fine_tuning=True)
        subject.update()
    if on_gpu:
        torch.cuda.synchronize(device)
    seconds = (time.perf_counter() - begun) / repeats
    shape = Shape.of(config, ATTRIBUTES)
    expected = memory_bytes(config, shape, 1).total / MIB
    measured = f"{torch.cuda.max_memory_allocated(device) / MIB:,.0f}" if on_gpu else "-"
    peak = peak_flops(torch.cuda.get_device_name(device)) if on_gpu else None
    share = f"{100 * batch * shape.step_flops(regions=True, heads_only=False) / seconds / peak:.1f}" if peak else "-"
    return f"| {name} | {batch} | {1e3 * seconds:.1f} | {batch / seconds:,.0f} | {share} | {measured} | {expected:,.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--shapes", default="b32,b16,l14")
    given = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print("| shape | images | step with update, ms | images/s | % of the bf16 peak | measured, MiB | by arithmetic, MiB |")
    print("|:--|--:|--:|--:|--:|--:|--:|")
    for name in given.shapes.split(","):
        print(row(name, given.batch, given.repeats, device), flush=True)


if __name__ == "__main__":
    main()
