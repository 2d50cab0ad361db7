#!/usr/bin/env python3
"""Gathers what the stages of scripts/gpu-check.sh left in a folder, and prints it.

    python3 scripts/gpu_report.py build/gpu-check/parts results.json

Writes results.json: the stages, every benchmark, the profile and the two measured
ceilings. Prints the ops, the stages, and last a table of the benchmarks with the floor of our step:
the larger of its operations over the rate and its bytes over the bandwidth, by the measured
ceilings where they are there, else by those of the H100 SXM's data sheet.
"""

from __future__ import annotations

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
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]


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
        floor = max(
            ours["floor"]["flops"] / rates[f"{row['precision']}_flops_per_second"],
            ours["floor"]["bytes"] / rates["copy_bytes_per_second"],
        )
        device = median(row.get("device_step_seconds"))
        name = f"{row['network']} {row['method']} b{row['batch']} {row['precision']}"
        if row.get("book"):
            name += " tuned"
        if row["overlap"] > 1:
            name += f" overlap {row['overlap']}"
        if row["budget_bytes"]:
            name += " budget"
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
        print(f"{row['name']:60} {row['device-us/op']:9.1f} {row['GB/s']:7.0f}")


def print_runs(records: list[dict[str, Any]]) -> None:
    for record in records:
        spec, epochs = record["spec"], record.get("accuracy", {}).get("epochs", [])
        seconds = ", ".join(f"{epoch['seconds']:.2f}" for epoch in epochs)
        print(f"{spec['network']} {spec['method']} b{spec['batch']} {spec['precision']}: epochs of {seconds} s")


def main() -> None:
    results = gather(Path(sys.argv[1]))
    Path(sys.argv[2]).write_text(json.dumps(results, indent=1) + "\n")
    if results["ops"]:
        print_ops(results["ops"])
    print_runs([record for record in results["runs"] if record])
    for table in (results["profile"] or {}).get("tables", []):
        if any(column["key"] == "delta_bytes" for column in table["columns"]):
            print_ladder(table)
    if results["ceilings"]:
        print("ceilings", json.dumps(results["ceilings"]))
    for stage in results["stages"]:
        print(f"{stage['stage']:18} {stage['status']:14} {stage['seconds']:4} s")
    if results["bench"] or results["peer"]:
        print_benchmarks(results)


if __name__ == "__main__":
    main()
