#!/usr/bin/env python3
"""Real trainers against a real scheduler whose spot machines are taken back once.

Not part of `make test`: torch takes 5.3 GB and minutes to install. It makes a virtual environment in
a temporary folder (or uses the one named by FRAMEWORKS_VENV), installs Lightning and Transformers
from PyPI, runs one job of each, and prints what happened to them.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
import venv

HERE = pathlib.Path(__file__).resolve().parent
SPOTWISE = pathlib.Path(os.environ.get("SPOTWISE", HERE.parents[1] / "target/debug/spotwise"))
PACKAGES = ["torch", "lightning", "transformers", "accelerate"]
ROOM = 8 * 10**9
URL = "http://127.0.0.1:7797"
# A market minute is a second. The machines go after a minute and a half, for ten seconds.
MARKET = """seconds,zone,instance_type,available,spot_usd_per_hour
0,us-east-1a,p3.2xlarge,2,0.05
5400,us-east-1a,p3.2xlarge,0,0.05
6000,us-east-1a,p3.2xlarge,2,0.05
3600000,us-east-1a,p3.2xlarge,2,0.05
"""
JOB = """name: {name}
deadline: 300h
work: {{duration: 3h}}
resources: {{cpus: 1, memory: 2GB}}
retries: {{errors: 0}}
checkpoint: {{interval: 100h, grace: 15s}}
command: [{python}, {script}, "{steps}"]
"""
JOBS = {"lightning": 12_000, "transformers": 6_000}


def python_with_frameworks(folder):
    """An interpreter that has the frameworks; installs them where none is named."""
    named = os.environ.get("FRAMEWORKS_VENV")
    place = pathlib.Path(named) if named else folder / "venv"
    python = place / "bin/python"
    if not python.exists():
        if shutil.disk_usage(place.parent).free < ROOM:
            sys.exit(f"skipped: {place.parent} has less than {ROOM // 10**9} GB free")
        venv.create(place, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
    return python


def ask(path, document=None):
    request = urllib.request.Request(f"{URL}{path}")
    if document is not None:
        request.data, request.method = document.encode(), "POST"
        request.add_header("content-type", "application/yaml")
        request.add_header("idempotency-key", str(uuid.uuid4()))
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def wait_until_ready():
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{URL}/readyz", timeout=1)
            return
        except OSError:
            time.sleep(0.1)
    sys.exit("the scheduler does not answer")


def run(folder, python):
    """Submits all jobs and answers their details when all are over."""
    ids = {}
    for name, steps in JOBS.items():
        script = HERE / f"{name}_job.py"
        document = JOB.format(name=name, python=python, script=script, steps=steps)
        ids[name] = ask("/api/v1/jobs", document)["jobs"][0]["id"]
    end = time.monotonic() + 1_200
    while time.monotonic() < end:
        found = {name: ask(f"/api/v1/jobs/{job}") for name, job in ids.items()}
        if all(job["job"]["ended"] for job in found.values()):
            return found
        time.sleep(2)
    sys.exit("the jobs do not end")


def judge(name, job):
    """What happened, in words; true where it is what a user expects."""
    total = JOBS[name]
    print(f"{name}: {job['job']['state']}, {job['job']['detail']}")
    for row in job["attempts"]:
        peak = row["peak_memory_bytes"] // 10**6
        print(f"  {row['id']}: {row['outcome']}, steps {row['resumed_from_step']} to {row['step']} "
              f"of {total}, peak {peak} MB")
    for event in job["events"]:
        if event["kind"] in ("ended", "resumed"):
            print(f"    {event['kind']}: {event['message']}")
    *before, last = job["attempts"]
    good = job["job"]["state"] == "succeeded" and last["step"] == total and len(before) > 0
    good &= all(row["outcome"] == "interrupted" and row["step"] < total for row in before)
    if name == "transformers":
        good &= last["resumed_from_step"] > 0
    print("  as expected" if good else "  NOT as expected")
    return good


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        python = python_with_frameworks(folder)
        market = folder / "market.csv"
        market.write_text(MARKET)
        with open(folder / "serve.log", "wb") as log:
            scheduler = subprocess.Popen(
                [SPOTWISE, "serve", "--data-dir", folder / "data", "--listen", URL[7:],
                 "--market", market, "--market-start", "2026-03-07T00:00:00Z", "--speed", "60",
                 "--notice-lead", "25s"], stdout=log, stderr=log)
        try:
            wait_until_ready()
            found = run(folder, python)
        finally:
            scheduler.terminate()
            scheduler.wait()
        good = [judge(name, job) for name, job in found.items()]
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
