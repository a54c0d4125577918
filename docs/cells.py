"""Policies on the cells of a reference table: a cell is a market, machine type, set of
zones, job length, changeover and deadline factor. Only windows that start after the
first 40 % of a recording count: what precedes a window is its history.

    python3 docs/cells.py target/dist/spotwise ../shared/data [POLICY,... [REFERENCE]]

Prints, for each policy, the mean over cells of (mean cost / mean cost of the reference),
which is `optimal` unless another policy is named. With another, the gangs of 2023-08 are cells
too. The first policy is also compared, cell by cell, with the better of greedy and Uniform
Progress.
"""
import collections
import csv
import json
import subprocess
import sys

spotwise, spot = sys.argv[1], sys.argv[2] + "/spot/"
policies = (sys.argv[3:] + ["spotwise,greedy,uniform-progress,on-demand"])[0].split(",")
reference = (sys.argv[4:] + ["optimal"])[0]
published = ["greedy", "uniform-progress"]


def backtest(cell, factors):
    market, zones, machine, hours, changeover = cell
    wanted = dict.fromkeys(policies + published + [reference])
    command = [
        spotwise, "backtest", "single", "--market", spot + market, "--index", spot + "index.json",
        "--type", machine, *(["--zones", zones.replace("+", ",")] if zones else []), "--hours", hours,
        "--deadline-factor", ",".join(map(str, factors)), "--windows", "12",
        "--changeover", f"{round(float(changeover) * 60)}m",
        "--policies", ",".join(wanted), "--output", "json",
    ]
    return json.loads(subprocess.check_output(command))


steps = {entry["file"]: entry["steps"] for entry in json.load(open(spot + "index.json"))}
factors = {}
for row in csv.DictReader(open(spot + "reference.csv")):
    names = ("market", "zones", "instance_type", "job_hours", "changeover_hours")
    cell = tuple(row[name] for name in names)
    factors.setdefault(cell, set()).add(float(row["deadline_factor"]))
if reference != "optimal":
    for market in ("aws-2023-08-03-preemption-x4.csv", "aws-2023-08-27-availability-x16.csv"):
        factors[market, "", "p3.2xlarge", "24", "0.2"] = {1.1, 1.25, 1.5}

groups = collections.defaultdict(lambda: collections.defaultdict(list))
excess, missed, windows = [], collections.Counter(), 0
for cell, of in factors.items():
    rows = [row for row in backtest(cell, sorted(of)) if row["start_step"] > 0.4 * steps[cell[0]]]
    for factor in sorted(of):
        cost = collections.defaultdict(list)
        for row in rows:
            if row["deadline_factor"] == factor:
                cost[row["policy"]].append(row["cost_fraction"])
                missed[row["policy"]] += row["missed"]
        windows += len(cost[reference])
        mean = {policy: sum(costs) / len(costs) for policy, costs in cost.items()}
        market, zones, machine, _, changeover = cell
        kind = (market[4:14], machine, zones.replace("+", " ") or "all, gangs")
        for policy in policies:
            groups[kind][policy].append(mean[policy] / mean[reference])
        better = min(mean[policy] for policy in published)
        excess.append((mean[policies[0]] / better - 1, *kind, f"x{factor}", f"{changeover} h"))

print("| market | type | zones | cells |", " | ".join(policies), "|")
print("|---|---|---|---:|" + "---:|" * len(policies))
lines = [(kind, groups[kind]) for kind in groups]
every = {policy: [r for _, of in lines for r in of[policy]] for policy in policies}
for kind, of in lines + [(("**all**", "", ""), every)]:
    means = [f"{sum(of[policy]) / len(of[policy]):.3f}" for policy in policies]
    print("|", " | ".join(kind), "|", len(of[policies[0]]), "|", " | ".join(means), "|")
print("| missed | | |", windows, "windows |", " | ".join(str(missed[p]) for p in policies), "|")
print(f"\nCells where {policies[0]} is farthest above the better of", " and ".join(published))
for above, *kind in sorted(excess, reverse=True)[:8]:
    print(f"- {100 * above:+.1f} %:", ", ".join(kind))
