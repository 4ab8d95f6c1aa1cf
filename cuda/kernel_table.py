#!/usr/bin/env python3
"""Writes the tables of docs/cuda.md: what the compiler says of each kernel, and a roofline estimate.

Needs nvcc. Usage: cuda/kernel_table.py [--check]
--check changes nothing and fails if the document is not what it would write.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs/cuda.md"

# Per multiprocessor, from the table of technical specifications by compute capability in NVIDIA's
# CUDA C++ Programming Guide; every block reserves 1 KiB of shared memory for the system.
GPUS = {
    "80": {"threads": 2048, "registers": 65536, "shared": 164 << 10, "blocks": 32},
    "90": {"threads": 2048, "registers": 65536, "shared": 228 << 10, "blocks": 32},
}


def dynamic_shared(name):
    """Bytes that the launch asks for; the formulas are those of cuda/attention.cu and elementwise.cu."""
    if match := re.match(r"attention(_backward_kv|_backward_q)?<(\d+), (\d+)", name):
        size, rows = int(match[2]), 16 * int(match[3])
        own = 1 if match[1] is None else 2
        return 4 * ((own * rows + 2 * 32) * (size + 4) + rows * 40)
    if name.startswith("elementwise<"):
        return 7 * 128 * 16  # seven slots: AdamW
    return 0


def occupancy(gpu, threads, registers, shared):
    """Share of the multiprocessor's threads that its registers and shared memory let in."""
    warps = (threads + 31) // 32
    per_warp = (registers * 32 + 255) // 256 * 256
    by_registers = gpu["registers"] // per_warp // warps
    by_shared = gpu["shared"] // (shared + 1024)
    blocks = min(gpu["blocks"], gpu["threads"] // (warps * 32), by_registers, by_shared)
    return blocks * warps * 32 / gpu["threads"]


def short_name(mangled):
    name = subprocess.run(["c++filt", mangled], capture_output=True, text=True, check=True).stdout
    name = re.sub(r"^void |muonlab::cuda::(kern::)?", "", name.strip())
    depth, out = 0, ""  # the parameters of the function, and of no template
    for c in name:
        if c == "(" and depth == 0:
            break
        depth += (c == "<") - (c == ">")
        out += c
    return out


def compile_kernels(source, architecture):
    """(kernel, threads, registers, static shared memory) of every kernel of a file."""
    with tempfile.TemporaryDirectory() as folder:
        ptx, cubin = f"{folder}/k.ptx", f"{folder}/k.cubin"
        nvcc = ["nvcc", "-std=c++20", "-O3", f"-I{ROOT}", str(source)]
        subprocess.run([*nvcc, "-ptx", f"-arch=compute_{architecture}", "-o", ptx], check=True)
        text = pathlib.Path(ptx).read_text()
        ptxas = ["ptxas", "-v", f"-arch=sm_{architecture}", ptx, "-o", cubin]
        log = subprocess.run(ptxas, capture_output=True, text=True, check=True).stderr
    threads = {}
    for entry in re.finditer(r"\.entry (\w+)\((.*?)\n\{", text, re.S):
        size = re.search(r"\.maxntid (\d+)(?:, (\d+))?(?:, (\d+))?", entry[2])
        threads[entry[1]] = int(size[1]) * int(size[2] or 1) * int(size[3] or 1)
    for part in log.split("Compiling entry function ")[1:]:
        mangled = re.match(r"'(\w+)'", part)[1]
        registers = int(re.search(r"Used (\d+) registers", part)[1])
        shared = re.search(r"(\d+) bytes smem", part)
        spilled = [int(n) for n in re.findall(r"(\d+) bytes spill", part)]
        if any(spilled):
            sys.exit(f"{short_name(mangled)} spills registers on sm_{architecture}")
        yield short_name(mangled), threads[mangled], registers, int(shared[1]) if shared else 0


def kernel_table():
    rows = {}
    for source in sorted((ROOT / "cuda").glob("*.cu")):
        for architecture, gpu in GPUS.items():
            for name, threads, registers, static in compile_kernels(source, architecture):
                shared = static + dynamic_shared(name)
                row = rows.setdefault((source.name, name), {"threads": threads, "shared": shared})
                share = occupancy(gpu, threads, registers, shared)
                row[architecture] = f"{registers} | {100 * share:.0f} %"
    lines = ["| file | kernel | threads | shared, bytes | sm_80: registers | occupancy | sm_90: registers | occupancy |",
             "|---|---|---|---|---|---|---|---|"]
    for (file, name), row in sorted(rows.items()):
        lines.append(f"| {file} | `{name}` | {row['threads']} | {row['shared']:,} | {row['80']} | {row['90']} |")
    return lines


# GPT-2 124M, and an H100 SXM as its data sheet has it: 3.35 TB/s, 67 TFLOP/s in f32 without tensor cores.
B, T, C, H, V, PARAMETERS = 4, 1024, 768, 12, 50257, 124e6
BANDWIDTH, FLOPS = 3.35e12, 67e12


def roofline_table():
    n, pairs = B * T, B * H * T * T / 2  # positions; pairs of a query and a key that it sees
    d = C // H
    table = [  # one call: name, bytes read and written in global memory, operations
        ("embedding", 4 * n * C * 3, n * C),
        ("embedding_backward", 4 * n * C * 3 + 4 * V * C, 2 * n * C),
        ("position_backward", 4 * n * C + 8 * T * C, n * C),
        ("fill: gradients of the embedding", 4 * V * C, 0),
        ("norm", 4 * n * C * 2, 8 * n * C),
        ("norm_backward with column_partials", 4 * n * C * 5, 14 * n * C),
        ("activation, width 4 C", 4 * n * 4 * C * 2, 20 * n * 4 * C),
        ("activation_backward", 4 * n * 4 * C * 4, 30 * n * 4 * C),
        ("add_bias, width 4 C", 4 * n * 4 * C * 2, n * 4 * C),
        ("column_partials with add_column_partials: bias, width 4 C", 4 * n * 4 * C, n * 4 * C),
        ("round_to_bf16, width 4 C", 6 * n * 4 * C, n * 4 * C),
        ("attention", 4 * n * C * 4, pairs * (4 * d + 8)),
        ("attention_delta", 4 * n * C * 2, 2 * n * C),
        ("attention_backward_kv", 4 * n * C * 6, pairs * (8 * d + 8)),
        ("attention_backward_q", 4 * n * C * 5, pairs * (6 * d + 8)),
        ("cross_entropy", 4 * n * V, 4 * n * V),
        ("cross_entropy_backward", 4 * n * V * 2, 4 * n * V),
        ("dropout", 4 * n * C * 2, 30 * n * C),
        ("elementwise: AdamW, all parameters", 4 * PARAMETERS * 7, 15 * PARAMETERS),
        ("chunk_sums: norm of all gradients", 4 * PARAMETERS, 2 * PARAMETERS),
        ("tensor_sums: the same", 8 * PARAMETERS / 16384, PARAMETERS / 16384),
    ]
    lines = ["| kernel | MB | GFLOP | at best, us | bound by |", "|---|---|---|---|---|"]
    for name, moved, work in table:
        memory, arithmetic = moved / BANDWIDTH, work / FLOPS
        bound = "memory" if memory > arithmetic else "arithmetic"
        lines.append(f"| {name} | {moved / 1e6:,.0f} | {work / 1e9:,.1f} | "
                     f"{1e6 * max(memory, arithmetic):,.0f} | {bound} |")
    return lines


def main():
    text = old = DOCUMENT.read_text()
    for name, lines in (("kernels", kernel_table()), ("roofline", roofline_table())):
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, rest = text.split(begin)
        text = before + begin + "\n".join(lines) + "\n" + end + rest.split(end)[1]
    if sys.argv[1:] == ["--check"]:
        sys.exit("docs/cuda.md: run cuda/kernel_table.py" if text != old else 0)
    DOCUMENT.write_text(text)


main()
