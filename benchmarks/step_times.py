"""What DSVA's steps cost beside the plain backbone, measured interleaved in one run; no GPU is needed, one is used.

    python -m benchmarks.step_times [--batch 24] [--repeats N] [--threads 2] [--golden FOLDER]

The backbone is CLIP ViT-B/32 with random weights, 98 attributes in 3 groups. Prints Markdown.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from dsva.config import LossConfig, ModelConfig, OptimizerConfig, ScoresConfig
from dsva.model.dsva import DSVA
from dsva.model.losses import Losses
from dsva.model.scores import class_rows
from dsva.train.optimizer import build_optimizer

GROUPS = (tuple(range(40)), tuple(range(40, 70)), tuple(range(70, 98)))
ATTRIBUTES = sum(map(len, GROUPS))
CLASSES = 60
B32 = ModelConfig(width=768, layers=12, heads=12, mlp=3072, patch=32, regions=True)
MIB = 2**20


class Subject:
    """The network and the pieces of work that are timed."""

    def __init__(self, batch: int, device: torch.device, autocast: bool, config: ModelConfig = B32) -> None:
        torch.manual_seed(0)
        self.model = DSVA(config, 224, GROUPS).to(device)
        self.optimizer = build_optimizer(self.model, OptimizerConfig())
        rows = class_rows(torch.rand(CLASSES, ATTRIBUTES), CLASSES, ScoresConfig()).to(device)
        self.losses = Losses(rows, LossConfig(), config.region_weight)
        self.images = torch.randn(batch, 3, 224, 224, device=device)
        self.labels = torch.arange(batch, device=device) % CLASSES
        self._device, self._autocast = device, autocast

    def tokens(self) -> Tensor:
        """Pass the images through the backbone."""
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._autocast):
            tokens: Tensor = self.model.backbone(pixel_values=self.images).last_hidden_state
        return tokens

    @torch.no_grad()
    def forward(self) -> None:
        """Pass the images through the backbone only."""
        self.tokens()

    def forward_backward(self) -> None:
        """Pass the images through the backbone only, and back."""
        self.tokens().float().square().mean().backward()

    @torch.no_grad()
    def evaluate_prototypes(self) -> None:
        """Classify the images by the prototype head."""
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._autocast):
            outputs = self.model(self.images)
        self.losses.rows.scores(outputs.proto).argmax(1)

    def step(self, fine_tuning: bool) -> None:
        """Compute loss and gradients: heads only, or everything with regions."""
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._autocast):
            outputs = self.model(self.images, regions=fine_tuning, backbone_grad=fine_tuning)
        self.losses(outputs, self.labels, share=1.0, fine_tuning=fine_tuning)["total"].backward()

    def update(self) -> None:
        """Take the optimizer's step."""
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def measure(subject: Subject, device: torch.device, repeats: int) -> dict[str, float]:
    """Return the median seconds of each piece of work; short pieces, which noise blurs more, take twice the turns."""
    short = {
        "forward": subject.forward,
        "prototype evaluation": subject.evaluate_prototypes,
        "heads-only step": lambda: subject.step(fine_tuning=False),
        "heads-only update": subject.update,
    }
    long = {
        "forward + backward": subject.forward_backward,
        "dropping its gradients": lambda: subject.optimizer.zero_grad(set_to_none=True),
        "fine-tuning step": lambda: subject.step(fine_tuning=True),
        "fine-tuning update": subject.update,
    }
    return take_turns(short, device, 2 * repeats) | take_turns(long, device, repeats)


def take_turns(pieces: dict[str, Callable[[], None]], device: torch.device, turns: int) -> dict[str, float]:
    """Return the median seconds of each piece; they take turns, so that a slow moment hits all alike."""
    # A GPU's first turns choose kernels and fill its memory pool; a CPU's cold first turn is left to the median.
    warm_up = 3 if device.type == "cuda" else 0
    seconds: dict[str, list[float]] = {name: [] for name in pieces}
    for turn in range(turns + warm_up):
        for name, piece in pieces.items():
            taken = timed(piece, device)
            if turn >= warm_up:
                seconds[name].append(taken)
    return {name: median(values) for name, values in seconds.items()}


def timed(piece: Callable[[], None], device: torch.device) -> float:
    """Return the seconds between two CUDA events, or the seconds of all CPU threads: a shared machine's load does not count."""
    if device.type != "cuda":
        start = time.process_time()
        piece()
        return time.process_time() - start
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize(device)
    begin.record()
    piece()
    end.record()
    torch.cuda.synchronize(device)
    return begin.elapsed_time(end) / 1e3


def ratios(s: dict[str, float]) -> list[tuple[str, float, float, str]]:
    """Return (what, numerator in seconds, ratio, target) of each comparison; updates are counted in and also shown alone."""
    heads = s["heads-only step"] + s["heads-only update"]
    tuning, twice = s["fine-tuning step"] + s["fine-tuning update"], 2 * s["forward + backward"]
    return [
        ("prototype evaluation / forward", s["prototype evaluation"], s["prototype evaluation"] / s["forward"], "<= 1.05"),
        ("heads-only step with update / forward", heads, heads / s["forward"], "<= 1.15"),
        (
            "fine-tuning step with regions / 2 x (forward + backward)",
            s["fine-tuning step"],
            s["fine-tuning step"] / twice,
            "<= 1.05",
        ),
        ("the same with update", tuning, tuning / twice, "<= 1.05"),
    ]


def report(precision: str, batch: int, device: torch.device, repeats: int) -> None:
    subject = Subject(batch, device, precision == "bf16")
    seconds = measure(subject, device, repeats)
    print(f"\n### {precision}, batch {batch}, median of {repeats} (short pieces: {2 * repeats})\n\n| piece | ms |\n|---|---|")
    for name, value in seconds.items():
        print(f"| {name} | {1e3 * value:.1f} |")
    print("\n| comparison | ms | ratio | target |\n|---|---|---|---|")
    for name, value, ratio, target in ratios(seconds):
        print(f"| {name} | {1e3 * value:.1f} | {ratio:.3f} | {target} |")
    if device.type == "cuda":
        print("\n| piece | peak memory, MiB |\n|---|---|")
        for name, piece in (("forward + backward", subject.forward_backward), ("fine-tuning step", lambda: subject.step(True))):
            subject.update()
            torch.cuda.reset_peak_memory_stats(device)
            piece()
            print(f"| {name} | {torch.cuda.max_memory_allocated(device) / MIB:.0f} |")


@torch.no_grad()
def check_golden(folder: Path, device: torch.device) -> None:
    """Print how far each case's results on this device are from the recorded ones, as a share of their largest value."""
    from tests.helpers.golden_case import load_case  # noqa: PLC0415

    names = sorted(path.stem.removeprefix("case_") for path in folder.glob("case_*.npz"))
    if not names:
        sys.exit(f"error: {folder} holds no case_NAME.npz: give the folder of the golden cases")
    print("\n### golden cases\n\n| case | precision | result | largest deviation |\n|---|---|---|---|")
    for name in names:
        case = load_case(folder, name, str(device))
        for precision in ("fp32", "bf16"):
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                outputs = case.model(case.images, regions=case.regions)
            terms = case.losses(outputs, case.labels, share=1.0, fine_tuning=True)
            compared = {
                "attributes_final": outputs.main,
                "attributes_local": outputs.proto,
                "attention": outputs.maps,
                "loss_total": terms["total"],
            }
            if outputs.boxes is not None:
                compared["crop_sizes"] = outputs.boxes[:, 2:] - outputs.boxes[:, :2]
            for result, value in compared.items():
                expected = torch.from_numpy(case.results[result])
                deviation = ((value.cpu() - expected).abs().max() / expected.abs().max()).item()
                print(f"| {name} | {precision} | {result} | {deviation:.1e} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--repeats", type=int, help="default: 30 on a GPU, 3 without")
    parser.add_argument("--threads", type=int, default=2, help="without a GPU; 1 is the steadiest on a busy machine")
    parser.add_argument("--golden", type=Path, help="folder of the golden cases: check them on this device too")
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    on_gpu = device.type == "cuda"
    if not on_gpu:
        torch.set_num_threads(arguments.threads)
    name = torch.cuda.get_device_name(device) if on_gpu else f"CPU, {torch.get_num_threads()} threads, CPU time"
    print(f"## Step times on {name}, torch {torch.__version__}")
    if arguments.golden:
        check_golden(arguments.golden, device)
    for precision in ("fp32", "bf16") if on_gpu else ("fp32",):
        report(precision, arguments.batch, device, arguments.repeats or (30 if on_gpu else 3))


if __name__ == "__main__":
    main()
