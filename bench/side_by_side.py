#!/usr/bin/env python3
"""Times muonlab against PyTorch in turn, on this machine, and prints the medians as a table.

    bench/side_by_side.py --muonlab build/release/muonlab --repeats 5 > table.md

Needs `pip install torch numpy` for the rival (bench/rival_torch.py); muonlab itself needs no Python.
Each repeat runs every program once, so that a drift of the machine's speed meets all of them.
"""
import argparse, json, statistics, subprocess, sys
from pathlib import Path

HERE = Path(__file__).parent
STEPS = {"shakespeare-cpu": 100, "shakespeare-mid": 8, "gpt2-124m": 4}
ROWS = [(preset, optimizer) for optimizer in ("adamw", "muon") for preset in STEPS]


def run(command):
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().splitlines()
    return json.loads(lines[-1])


def contenders(a, preset, optimizer):
    common = ["--preset", preset, "--optimizer", optimizer, "--threads", str(a.threads), "--steps", str(STEPS[preset])]
    rival = [sys.executable, str(HERE / "rival_torch.py"), *common]
    yield "muonlab", [a.muonlab, "bench", *common, "--json"]
    yield "PyTorch", rival
    if not a.no_compile:
        yield "PyTorch compiled", [*rival, "--compile"]


def generation(a):
    yield "muonlab", [a.muonlab, "bench", "--preset", "shakespeare-mid", "--generate", "400", "--threads", str(a.threads), "--json"]
    yield "PyTorch", [sys.executable, str(HERE / "rival_torch.py"), "--preset", "shakespeare-mid", "--generate", "100", "--threads", str(a.threads)]


def medians(commands, repeats, keys):
    seen = {}
    for repeat in range(repeats):
        for name, command in commands:
            result = run(command)
            print(f"repeat {repeat + 1}: {name}: {json.dumps(result)}", file=sys.stderr, flush=True)
            for key in keys:
                if key in result:
                    seen.setdefault(name, {}).setdefault(key, []).append(result[key])
    return {name: {key: statistics.median(values) for key, values in figures.items()} for name, figures in seen.items()}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--muonlab", default="build/release/muonlab")
    ap.add_argument("--repeats", type=int, default=5)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    ap.add_argument("--only", help="part of a row's name, such as adamw or gpt2-124m")
    a = ap.parse_args()

    print("| preset, optimizer | muonlab ms/step (optimizer) | PyTorch eager | PyTorch compiled | faster than the best | peak MiB: muonlab, PyTorch |")
    print("|---|---|---|---|---|---|", flush=True)
    for preset, optimizer in ROWS:
        if a.only and a.only not in f"{preset} {optimizer}":
            continue
        m = medians(list(contenders(a, preset, optimizer)), a.repeats, ("step_ms", "optimizer_ms", "peak_rss_mib"))
        own, best = m["muonlab"], min(f["step_ms"] for name, f in m.items() if name != "muonlab")
        cell = lambda name: f"{m[name]['step_ms']:.1f} ({m[name]['optimizer_ms']:.1f})" if name in m else "-"
        print(f"| {preset}, {optimizer} | {cell('muonlab')} | {cell('PyTorch')} | {cell('PyTorch compiled')} | {best / own['step_ms']:.2f}x "
              f"| {own['peak_rss_mib']:.0f}, {m['PyTorch']['peak_rss_mib']:.0f} |", flush=True)
    if not a.only or a.only in "generation":
        g = medians(list(generation(a)), a.repeats, ("generate_tokens_per_s",))
        own, rival = (g[name]["generate_tokens_per_s"] for name in ("muonlab", "PyTorch"))
        print(f"\nGeneration at shakespeare-mid's shape: muonlab {own:.0f} tokens/s, PyTorch {rival:.0f}: {own / rival:.1f}x")


if __name__ == "__main__":
    main()
