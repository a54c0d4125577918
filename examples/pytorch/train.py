#!/usr/bin/env python3
"""Train a small character-level transformer under a spotwise worker.

The contract is the same as for any other command: checkpoints go to
SPOTWISE_CHECKPOINT_DIR under a temporary name and are renamed when whole,
SIGTERM means "save and end with 75", and an earlier attempt's checkpoints are
found in SPOTWISE_RESUME_FROM. Without those variables it runs by hand.
"""

import argparse
import hashlib
import json
import math
import os
import shutil
import signal
import sys
import time
from pathlib import Path

try:
    import torch
    from torch import nn
    from torch.nn import functional
except ImportError as error:
    print(f"error: this example needs PyTorch ({error}): pip install torch", file=sys.stderr)
    sys.exit(1)

SAVED = 75  # EX_TEMPFAIL: saved, requeue me
STOPPED = 143  # 128 + SIGTERM: stopped with nowhere to save to
KEEP = 2  # the second is there for a newest checkpoint that cannot be read


def folder(name):
    """The folder of a SPOTWISE_ variable; None if it is empty or not set."""
    value = os.environ.get("SPOTWISE_" + name)
    return Path(value) if value else None


def arguments():
    env = os.environ.get
    parser = argparse.ArgumentParser(description="Train a small character-level transformer.")
    parser.add_argument("--text", nargs="+", type=Path, help="text files [default: this script]")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--lr", type=float, default=float(env("SPOTWISE_PARAM_LR", "0.003")))
    parser.add_argument("--seed", type=int, default=int(env("SPOTWISE_PARAM_SEED", "1")))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--context", type=int, default=32)
    parser.add_argument("--checkpoint-every", type=int, default=100, metavar="STEPS")
    parser.add_argument("--log-every", type=int, default=25, metavar="STEPS")
    parser.add_argument("--pace", type=float, default=0.0, help="least seconds of a step")
    return parser.parse_args()


class CharTransformer(nn.Module):
    def __init__(self, vocab, context, width=32, heads=4):
        super().__init__()
        self.characters = nn.Embedding(vocab, width)
        self.positions = nn.Embedding(context, width)
        # The dropout makes the global generator part of the state to be saved.
        self.layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.1, batch_first=True, norm_first=True
        )
        self.output = nn.Linear(width, vocab)
        mask = torch.full((context, context), float("-inf")).triu(1)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, tokens):
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        hidden = self.characters(tokens) + self.positions(positions)
        return self.output(self.layer(hidden, src_mask=self.mask))


class Run:
    """Everything that the next step depends on."""

    def __init__(self, args, text, device):
        torch.manual_seed(args.seed)
        chars = sorted(set(text))
        numbers = {char: number for number, char in enumerate(chars)}
        self.tokens = torch.tensor([numbers[char] for char in text])
        self.args, self.device = args, device
        self.settings = {
            "lr": args.lr, "seed": args.seed, "steps": args.steps,
            "batch": args.batch, "context": args.context,
            "text": hashlib.sha256(text.encode()).hexdigest(),
        }
        self.model = CharTransformer(len(chars), args.context).to(device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=args.lr)
        self.step, self.loss = 0, 0.0

    def advance(self):
        args = self.args
        starts = torch.randint(len(self.tokens) - args.context, (args.batch,)).tolist()
        windows = torch.stack([self.tokens[s : s + args.context + 1] for s in starts])
        windows = windows.to(self.device)
        share = self.step / args.steps
        for group in self.optimizer.param_groups:
            group["lr"] = args.lr * (0.1 + 0.45 * (1 + math.cos(math.pi * share)))
        logits = self.model(windows[:, :-1])
        loss = functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.step += 1
        value = loss.item()
        if not math.isfinite(value):
            sys.exit(f"error: the loss is {value} at step {self.step}: try a lower --lr")
        self.loss = value if self.step == 1 else 0.95 * self.loss + 0.05 * value

    def save(self, target):
        """Write all of it beside `target`, then rename: whole or not there."""
        if target.exists():
            return
        temporary = target.with_name(".tmp-" + target.name)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        on_gpu = self.device.type == "cuda"
        state = {
            "model": self.model.state_dict(),
            # Its groups are not saved: they follow from the settings and the step.
            "optimizer": self.optimizer.state_dict()["state"],
            "random": torch.get_rng_state(),
            "random_gpu": torch.cuda.get_rng_state() if on_gpu else None,
        }
        torch.save(state, temporary / "state.pt")
        meta = {"step": self.step, "loss": self.loss, "settings": self.settings}
        (temporary / "meta.json").write_text(json.dumps(meta, indent=2) + "\n")
        os.replace(temporary, target)
        for old in checkpoints(target.parent)[KEEP:]:
            shutil.rmtree(old)

    def load(self, source):
        meta = json.loads((source / "meta.json").read_text())
        if meta["settings"] != self.settings:
            raise ValueError("it was made with other settings or another text")
        # weights_only: a checkpoint is data, and must not run code.
        state = torch.load(source / "state.pt", map_location="cpu", weights_only=True)
        self.model.load_state_dict(state["model"])
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state["optimizer"], "param_groups": groups})
        torch.set_rng_state(state["random"])
        if self.device.type == "cuda" and state["random_gpu"] is not None:
            torch.cuda.set_rng_state(state["random_gpu"])
        self.step, self.loss = meta["step"], meta["loss"]


def checkpoints(where):
    """The whole checkpoints of a folder, newest first."""
    found = where.glob("step-*") if where else []
    return sorted(found, key=lambda path: int(path.name[len("step-") :]), reverse=True)


def resume(run, where):
    """Load the newest checkpoint that can be read; fail if there are some but none can."""
    failure = None
    for source in checkpoints(where):
        try:
            run.load(source)
            print(f"resumed from step {run.step} (loss {run.loss:.4f})", flush=True)
            return
        except Exception as error:  # a torn file fails in many ways
            failure = f"cannot resume from {source}: {error}"
            print(failure, flush=True)
    if failure:
        sys.exit("error: " + failure)


def report(run):
    print(f"step {run.step}/{run.args.steps} loss {run.loss:.4f}", flush=True)
    file = folder("PROGRESS_FILE")
    if file:
        line = json.dumps({"step": run.step, "total": run.args.steps, "loss": run.loss})
        with open(file, "a") as progress:
            progress.write(line + "\n")


def finish(run):
    output = folder("OUTPUT_DIR")
    if output:
        output.mkdir(parents=True, exist_ok=True)
        torch.save(run.model.state_dict(), output / "model.pt")
        metrics = {"steps": run.step, "loss": run.loss, "lr": run.args.lr, "seed": run.args.seed}
        (output / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")


def main():
    args = arguments()
    # Sums over another number of threads round differently: no bit-exact resume.
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    paths = args.text or [Path(__file__)]
    run = Run(args, "".join(path.read_text() for path in paths), device)
    stop = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: stop.append(number))
    where, notice = folder("CHECKPOINT_DIR"), folder("INTERRUPTION_FILE")
    resume(run, folder("RESUME_FROM") or where)

    def save():
        if where:
            run.save(where / f"step-{run.step:06}")

    noticed = False
    due = time.monotonic()
    while run.step < args.steps:
        if stop:
            save()
            report(run)
            print(f"stopped at step {run.step}: {'saved' if where else 'not saved'}", flush=True)
            return SAVED if where else STOPPED
        if not noticed and notice and notice.exists():
            noticed = True
            save()
            print(f"interruption notice at step {run.step}: saved, going on", flush=True)
        run.advance()
        if run.step % args.log_every == 0 or run.step == args.steps:
            report(run)
        if run.step % args.checkpoint_every == 0 or run.step == args.steps:
            save()
        due += args.pace
        time.sleep(max(0.0, due - time.monotonic()))
    finish(run)
    return 0


if __name__ == "__main__":
    sys.exit(main())
