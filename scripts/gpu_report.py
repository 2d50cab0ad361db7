#!/usr/bin/env python3
"""Gathers what the stages of scripts/gpu-check.sh left in a folder, and prints it.

    python3 scripts/gpu_report.py build/gpu-check/parts results.json

Writes results.json: the stages, every benchmark, the profile and the two measured
ceilings. Prints the ops, the stages, a table of the benchmarks with the floor of our step
(the larger of its operations over the rate and its bytes over the bandwidth, by the measured
ceilings where they are there, else by those of the H100 SXM's data sheet), and last what was to be
reached, with what was. What a stage that was cut short left half written is passed over.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

DATA_SHEET = {
    "copy_bytes_per_second": 3.35e12,
    "f32_flops_per_second": 67e12,
    "tf32_flops_per_second": 494.7e12,
    "bf16_flops_per_second": 989.4e12,
}


def lines(path: Path) -> list[Any]:
    """The JSON objects of a file, one a line; none if it is not there."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        with contextlib.suppress(ValueError):
            if line.startswith("{"):
                found.append(json.loads(line))
    return found


def whole(path: Path) -> Any:
    """A file's JSON; None where it is missing, or was cut off."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def gather(folder: Path) -> dict[str, Any]:
    stages = []
    for line in (folder / "stages.txt").read_text().splitlines():
        name, status, seconds = line.split("\t")
        stages.append({"stage": name, "status": status, "seconds": int(seconds)})
    return {
        "stages": stages,
        "ceilings": whole(folder / "ceilings.json"),
        "bench": lines(folder / "bench.jsonl"),
        "peer": lines(folder / "peer.jsonl"),
        "profile": whole(folder / "profile.json"),
        "ops": benchmarks(folder / "ops.txt"),
        "runs": [whole(path) for path in sorted((folder / "runs").glob("*.json"))],
    }


def benchmarks(path: Path) -> list[dict[str, Any]]:
    """The lines of Go benchmarks: a name, a count, and pairs of a number and its unit."""
    rows: list[dict[str, Any]] = []
    for line in path.read_text().splitlines() if path.exists() else []:
        if not line.startswith("Benchmark") or "\t" not in line:
            continue
        name, _, *metrics = (field.strip() for field in line.split("\t"))
        row: dict[str, Any] = {"name": name.removeprefix("BenchmarkOp/").rsplit("-", 1)[0]}
        with contextlib.suppress(ValueError):
            for metric in metrics:
                number, unit = metric.split()
                row[unit] = float(number)
            rows.append(row)
    return rows


def milliseconds(seconds: float | None) -> str:
    return f"{1e3 * seconds:.2f}" if seconds else "-"


def gibibytes(size: int | None) -> str:
    return f"{size / 2**30:.3f}" if size else "-"


def median(seconds: list[float] | None) -> float | None:
    return sorted(seconds)[len(seconds) // 2] if seconds else None


def floor_seconds(row: dict[str, Any], rates: dict[str, float]) -> float:
    """What our step takes at the least: the larger of its operations and its bytes, at the rates."""
    floor = row["ours"]["floor"]
    operations = floor["flops"] / rates[f"{row['precision']}_flops_per_second"]
    return max(operations, floor["bytes"] / rates["copy_bytes_per_second"])


def print_ladder(table: dict[str, Any]) -> None:
    """What each stage of setting up took of the device's memory, on one line."""
    rungs = [f"{row['stage']['text']} {row['delta_bytes']['text']}" for row in table["rows"]]
    print(f"{table['title']}: {', '.join(rungs)}")


def print_benchmarks(results: dict[str, Any]) -> None:
    rates = DATA_SHEET | (results["ceilings"] or {})
    print(
        f"{'step':34} {'ours ms':>8} {'peer ms':>8} {'ours dev':>8} {'peer dev':>8}"
        f" {'floor':>7} {'gap':>6} {'arena':>7} {'peer GiB':>8}"
    )
    for row in results["bench"]:
        ours, peer = row["ours"], row.get("peer", {})
        floor = floor_seconds(row, rates)
        device = median(row.get("device_step_seconds"))
        name = f"{row['network']} {row['method']} b{row['batch']} {row['precision']}"
        if row.get("book"):
            name += " tuned"
        if row.get("cudnn"):
            name += " cudnn"
        if row["overlap"] > 1:
            name += f" overlap {row['overlap']}"
        if row["budget_bytes"]:
            name += " budget"
        if row.get("fuse_norm"):
            name += f" fused {row['fuse_norm']}"
        if row.get("store"):
            name += f" stored {row['store']}"
        print(
            f"{name:34} {milliseconds(median(row['step_seconds'])):>8}"
            f" {milliseconds(median(row.get('peer_step_seconds'))):>8}"
            f" {milliseconds(device):>8} {milliseconds(median(row.get('peer_device_step_seconds'))):>8}"
            f" {milliseconds(floor):>7} {f'{device / floor:.2f}x' if device else '-':>6}"
            f" {gibibytes(ours['arena_bytes']):>7}"
            f" {gibibytes(peer.get('max_memory_allocated_bytes')):>8}"
        )
    for row in results["peer"]:
        name = f"{row['network']} {row['method']} b{row['batch']} {row['precision']}"
        if row["compiled"]:
            name += " compiled"
        print(
            f"{name:34} {'':>8} {milliseconds(row['step_seconds']['median']):>8} {'':>8}"
            f" {milliseconds(row['device_step_seconds']):>8} {'':>7} {'':>6} {'':>7}"
            f" {gibibytes(row['max_memory_allocated_bytes']):>8}"
        )


def print_ops(rows: list[dict[str, Any]]) -> None:
    print(f"{'op':60} {'us':>9} {'GB/s':>7}")
    for row in rows:
        print(f"{row['name']:60} {row.get('device-us/op', 0):9.1f} {row.get('GB/s', 0):7.0f}")


def print_runs(records: list[dict[str, Any]]) -> None:
    for record in records:
        spec, epochs = record["spec"], record.get("accuracy", {}).get("epochs", [])
        seconds = ", ".join(f"{epoch['seconds']:.2f}" for epoch in epochs)
        print(f"{spec['network']} {spec['method']} b{spec['batch']} {spec['precision']}: epochs of {seconds} s")


class Goal:
    """A figure that is to be reached; None where it was not measured."""

    def __init__(self, name: str, unit: str, got: float | None, least: float | None, most: float | None) -> None:
        self.name, self.unit, self.got, self.least, self.most = name, unit, got, least, most

    def verdict(self) -> str:
        if self.got is None:
            return "not measured"
        low = self.least is not None and self.got < self.least
        return "missed" if low or (self.most is not None and self.got > self.most) else "reached"

    def as_dict(self) -> dict[str, Any]:
        return vars(self) | {"verdict": self.verdict()}

    def __str__(self) -> str:
        got = "-" if self.got is None else f"{self.got:.2f}"
        want = f"at least {self.least:g}" if self.least is not None else f"at most {self.most:g}"
        return f"{self.name:64} {got:>8} {self.unit:6} {want:14} {self.verdict()}"


def ratio(over: float | None, under: float | None) -> float | None:
    return over / under if over and under else None


def least(numbers: list[float | None]) -> float | None:
    return min((number for number in numbers if number), default=None)


def goals(results: dict[str, Any]) -> list[Goal]:
    """What the backend is to reach with ResNet-110 at batch 1024.

    Times are the host's. Ours is the faster of the runs without and with the engines that tune chose;
    runs with modules in flight, or with a budget, do not count for speed, the latter for memory; with compressed
    activations they count for neither.
    """
    found = []

    def bench(method: str, precision: str) -> list[dict[str, Any]]:
        want = {"network": "resnet110", "method": method, "batch": 1024, "precision": precision}
        rows = [row for row in results["bench"] if want.items() <= row.items() and row["overlap"] <= 1]
        return [row for row in rows if not row.get("store")]

    def ours(method: str, precision: str) -> float | None:
        rows = [row for row in bench(method, precision) if not row["budget_bytes"]]
        return least([median(row["step_seconds"]) for row in rows])

    for method, wanted in ("bp", 1.9), ("auglocal", 2.4):
        eager = least([median(row.get("peer_step_seconds")) for row in bench(method, "tf32")])
        name = f"{method} tf32, times as fast as PyTorch eager"
        found.append(Goal(name, "x", ratio(eager, ours(method, "tf32")), wanted, None))
    compiled = least(
        [
            row["step_seconds"]["median"]
            for row in results["peer"]
            if row["compiled"] and row["network"] == "resnet110" and row["precision"] == "tf32"
        ]
    )
    name = "bp tf32, times as fast as torch.compile"
    found.append(Goal(name, "x", ratio(compiled, ours("bp", "tf32")), 1.3, None))
    rates = DATA_SHEET | (results["ceilings"] or {})
    for method in "bp", "auglocal":
        gaps = [
            ratio(median(row.get("device_step_seconds")), floor_seconds(row, rates))
            for row in bench(method, "bf16")
            if not row["budget_bytes"]
        ]
        found.append(Goal(f"{method} bf16, device's time over the floor", "x", least(gaps), None, 1.4))
    for method in "bp", "auglocal":
        rows = bench(method, "tf32")
        peer = least([row.get("peer", {}).get("max_memory_allocated_bytes") for row in rows])
        for budget in False, True:
            arena = least([row["ours"]["arena_bytes"] for row in rows if bool(row["budget_bytes"]) == budget])
            name = f"{method} tf32, arena{' with a budget' if budget else ''} of PyTorch's memory"
            share = ratio(arena, peer)
            found.append(Goal(name, "%", share and 100 * share, None, 60))
    for record in results["runs"]:
        epochs = (record or {}).get("accuracy", {}).get("epochs", [])
        spec = (record or {}).get("spec", {})
        if epochs and spec["method"] == "bp" and spec["network"] == "resnet110":
            found.append(Goal("bp bf16, last epoch of 50,000 images", "s", epochs[-1]["seconds"], None, 4))
    for table in (results["profile"] or {}).get("tables", []):
        for row in table["rows"]:
            if row.get("quantity", {}).get("text") == "arena, as the driver counts it":
                planned, measured = (row[key]["value"] for key in ("planned_bytes", "measured_bytes"))
                name = f"{table['title'].split(': ')[-1].split(' synth')[0]}, driver's arena beside the planned one"
                found.append(Goal(name, "%", 100 * abs(measured - planned) / planned, None, 2))
    return found


def main() -> None:
    results, target = gather(Path(sys.argv[1])), Path(sys.argv[2])
    target.write_text(json.dumps(results, indent=1) + "\n")
    reached = goals(results)
    results["goals"] = [goal.as_dict() for goal in reached]
    target.write_text(json.dumps(results, indent=1) + "\n")
    if results["ops"]:
        print_ops(results["ops"])
    print_runs([record for record in results["runs"] if record])
    for table in (results["profile"] or {}).get("tables", []):
        if any(column["key"] == "delta_bytes" for column in table["columns"]):
            print_ladder(table)
    if results["ceilings"]:
        print("ceilings", json.dumps(results["ceilings"]))
    for stage in results["stages"]:
        print(f"{stage['stage']:20} {stage['status']:14} {stage['seconds']:4} s")
    if results["bench"] or results["peer"]:
        print_benchmarks(results)
    for goal in reached:
        print(goal)


if __name__ == "__main__":
    main()
