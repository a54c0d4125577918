"""A Lightning trainer as people write it: on SIGTERM it stops, saves nothing and returns 0."""

import json
import os
import sys
import time

import lightning.pytorch as pl
import torch

TOTAL = int(sys.argv[1])


class Model(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(8, 1)

    def training_step(self, batch, _):
        time.sleep(0.01)
        return self.layer(batch).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Report(pl.Callback):
    def on_train_batch_end(self, trainer, *_):
        with open(os.environ["SPOTWISE_PROGRESS_FILE"], "a") as file:
            file.write(json.dumps({"step": trainer.global_step, "total": TOTAL}) + "\n")


data = torch.utils.data.DataLoader(torch.randn(64, 8), batch_size=8)
pl.seed_everything(7)
trainer = pl.Trainer(
    max_steps=TOTAL, max_epochs=-1, accelerator="cpu", devices=1, logger=False,
    enable_checkpointing=False, enable_progress_bar=False, callbacks=[Report()],
)
trainer.fit(Model(), data)
