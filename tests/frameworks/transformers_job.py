"""A Transformers trainer with just-in-time checkpoints: on SIGTERM it saves, train() returns, and
the script ends with 0."""

import json
import os
import pathlib
import sys
import time

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback
from transformers import TrainingArguments

TOTAL = int(sys.argv[1])
FOLDER = os.environ["SPOTWISE_CHECKPOINT_DIR"]


class Report(TrainerCallback):
    def on_step_end(self, args, state, control, **_):
        time.sleep(0.01)
        with open(os.environ["SPOTWISE_PROGRESS_FILE"], "a") as file:
            file.write(json.dumps({"step": state.global_step, "total": TOTAL}) + "\n")


def example(number):
    return {"input_ids": torch.arange(8) + number % 8, "labels": torch.tensor(number % 2)}


config = BertConfig(vocab_size=32, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                    intermediate_size=16, max_position_embeddings=16)
arguments = TrainingArguments(
    output_dir=FOLDER, max_steps=TOTAL, per_device_train_batch_size=4, use_cpu=True,
    enable_jit_checkpoint=True, save_strategy="no", report_to=[], disable_tqdm=True,
)
trainer = Trainer(model=BertForSequenceClassification(config), args=arguments,
                  train_dataset=[example(n) for n in range(64)], callbacks=[Report()])
whole = [path for path in pathlib.Path(FOLDER).glob("checkpoint-*")
         if not (path / "checkpoint-is-incomplete.txt").exists()]
newest = max(whole, key=lambda path: int(path.name.split("-")[1]), default=None)
print(f"resumes from {newest}", flush=True)
trainer.train(resume_from_checkpoint=str(newest) if newest else None)
