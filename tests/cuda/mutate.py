#!/usr/bin/env python3
"""Mutates the CUDA kernels and says which mutants the tests on the emulated GPU kill.

Usage: tests/cuda/mutate.py BUILD [--only REGEX] [--cases REGEX] [--list] [--under COMMAND]

BUILD is a configured build folder. A mutant is one of: a barrier dropped, a bound (any comparison
of integers, and ::min) one higher or one lower, a guard (== or !=) dropped, an atomic made a plain
update or dropped, an exchange between lanes of a warp that gives each lane its own value. All of
them are compiled into one program, cuda_mutants, whose environment says which is on. Each is tried
on every test case in which it makes a difference where it stands, the quickest first, until one
fails. Those that are equivalent to the kernel are listed in equivalent_mutants.txt with the reason;
one that survives and is not listed, or is listed and does not survive, makes the exit code 1.

--only REGEX      mutants whose name it matches, for example "norm.cu|block_reduce"
--cases REGEX     test cases whose name it matches; without it, all of them
--list            name the mutants, run nothing
--under COMMAND   put in front of every command that takes long, for example "nice -n 19"
"""
import argparse
import collections
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
EQUIVALENT = pathlib.Path(__file__).with_name("equivalent_mutants.txt")
RELATIONS = {"<": "Less", "<=": "LessEqual", ">": "Greater", ">=": "GreaterEqual"}
ATOMICS = {"atomicMax": "atomic_max", "atomicMin": "atomic_min"}
SITES = re.compile(
    r"(?<=\s)(?P<relation>[<>]=?)(?=\s)|(?<=\s)(?P<guard>[=!]=)(?=\s)|(?P<min>::min)(?=\()"
    r"|\b(?P<barrier>__syncthreads|__syncwarp)(?=\()|\b(?P<atomic>atomic[A-Z]\w*)(?=\()"
    r"|\b(?P<exchange>__syncthreads_\w+|__any_sync|__ballot_sync|__shfl_xor_sync)(?=\()")
FAULTS = re.compile(  # as the checker names them
    r"\b(race-shared|race-global|out-of-bounds|use-after-free|uninitialised|misaligned|host-pointer|"
    r"foreign-local|barrier-diverged|barrier-exited|warp-diverged|warp-operation|shuffle-inactive|"
    r"deadlock|launch-limit|undefined)\b")


def blank(match):
    """As long and as many lines, and nothing to be found in it."""
    return re.sub(r"[^\n]", " ", match[0])


def closing(text, begin):
    """The index behind the bracket that closes the one at `begin`."""
    depth = 0
    for i in range(begin, len(text)):
        depth += (text[i] in "([{") - (text[i] in ")]}")
        if depth == 0:
            return i + 1
    raise ValueError(f"unbalanced: {text[begin:begin + 60]}")


def device_functions(code):
    """(name, begin, end) of the body of every function that runs on the device."""
    for marker in re.finditer(r"__(?:device|global)__", code):
        at = marker.end()
        while True:
            name = re.compile(r"(operator\(\)|\w+)\s*\(").search(code, at)
            at = closing(code, name.end() - 1)
            if name[1] != "__launch_bounds__":
                break
        if body := re.compile(r"[\s\w]*\{").match(code, at):
            yield name[1], body.end(), closing(code, body.end() - 1)


Mutant = collections.namedtuple("Mutant", "number name")


def mutate(path, first_number):
    """The mutants of a file, numbered, and its text with all of them in it."""
    text = path.read_text()
    code = re.sub(r"//[^\n]*|\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'", blank, text)
    code = re.sub(r"static_assert\([^;]*;|\bconstexpr [^;{]*;|#[^\n]*", blank, code)
    mutants, edits, seen = [], [], collections.Counter()

    def add(function, begin, end, *changes):
        """A mutant for each text to show in the place of what it changes."""
        line_begin, line_end = text.rfind("\n", 0, begin) + 1, text.find("\n", end)
        for change in changes:
            line = f"{text[line_begin:begin]}[{change}]{text[end:line_end]}"
            line = " ".join(re.sub(r"//.*", "", line).split())
            name = f"{path.name} {function}: {line}"
            seen[name] += 1
            name += f" #{seen[name]}" if seen[name] > 1 else ""
            mutants.append(Mutant(first_number + len(mutants), name))

    for function, body_begin, body_end in device_functions(code):
        for site in SITES.finditer(code, body_begin, body_end):
            number, kind, word = first_number + len(mutants), site.lastgroup, site[0]
            if kind == "relation":
                add(function, *site.span(), f"{word} 1 +", f"{word} -1 +")
            elif kind == "guard":
                add(function, *site.span(), f"{word} or {'always' if word == '==' else 'never'}")
            elif kind == "min":
                add(function, *site.span(), "1 + ::min", "-1 + ::min")
            elif kind == "atomic":
                add(function, *site.span(), f"plain {word}", f"no {word}")
            else:
                add(function, *site.span(), f"{'no' if kind == 'barrier' else 'own'} {word}")
            edits.append((site.start(), kind, word, number))

    for begin, kind, word, number in reversed(edits):  # from the back: places before do not move
        end = begin + len(word)
        if kind == "relation":
            new = f"< ::mutant::{RELATIONS[word]}{{{number}}} >"
        elif kind == "guard":
            new = f"{word} ::mutant::Guard{{{number}}} {word}"
        elif kind == "min":
            new, end = f"::mutant::least({number}, ", end + 1
        elif kind == "atomic":
            new, end = f"::mutant::{ATOMICS[word]}({number}, ", end + 1
        elif kind == "barrier":
            new = f"if (!::mutant::is({number})) {word}"
        else:
            end = closing(text, end)
            call = text[begin:end]
            new = f"(::mutant::is({number}) ? {own_value(word, call[len(word) + 1:-1])} : {call})"
        text = text[:begin] + new + text[end:]
    return mutants, text


def own_value(word, arguments):
    """What an exchange would give a thread that is alone."""
    if word.startswith("__syncthreads"):
        return f"int({arguments})"
    mask, value, *_ = re.split(r",\s*(?![^(\[]*[)\]])", arguments)
    return {"__any_sync": f"int({value})", "__shfl_xor_sync": f"({value})",
            "__ballot_sync": f"(({value}) ? 1u << threadIdx.x % 32 : 0u)"}[word]


def all_mutants():
    """Every mutant, and the mutated text of each file by its name."""
    mutants, texts = [], {}
    for path in sorted((ROOT / "cuda").glob("*.cu*")):
        found, texts[path.name] = mutate(path, len(mutants))
        mutants += found
    return mutants, texts


def write(folder):
    """The mutated files, as folder/cuda/*; what has not changed is left alone."""
    folder = pathlib.Path(folder) / "cuda"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in all_mutants()[1].items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def equivalents(names):
    """The mutants that are listed as equivalent. Ends the program if one of them does not exist."""
    listed = set()
    for number, line in enumerate(EQUIVALENT.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if line not in names:
            sys.exit(f"{EQUIVALENT}:{number}: there is no such mutant (any more): {line}")
        listed.add(line)
    return listed


class Tests:
    """The program with all mutants in it, run one test case at a time."""

    def __init__(self, build, cases, under):
        self.under = under
        self.program = pathlib.Path(build) / "tests/cuda/cuda_mutants"
        subprocess.run([*under, "cmake", "--build", build, "--target", "cuda_mutants"], check=True,
                       stdout=subprocess.DEVNULL)
        listing = subprocess.run([self.program, "--list-test-names-only"], capture_output=True, text=True)
        if "Unrecognised" in listing.stdout + listing.stderr:  # Catch2 v3
            listing = subprocess.run([self.program, "--list-tests", "--verbosity", "quiet"],
                                     capture_output=True, text=True)
        self.seconds, self.met = {}, {}
        for name in filter(re.compile(cases).search, map(str.strip, listing.stdout.splitlines())):
            with tempfile.NamedTemporaryFile("r") as file:
                begin = time.monotonic()
                code, output = self.run(name, 600, MUONLAB_MUTANTS_MET=file.name)
                if code != 0:
                    sys.exit(f"fails without any mutant: {name}\n{output}")
                self.seconds[name] = time.monotonic() - begin
                self.met[name] = set(file.read().split())

    def is_none(self, mutant):
        """Comparisons of floats have no neighbouring bound."""
        return any(f"-{mutant.number}" in met for met in self.met.values())

    def run(self, name, limit, **environment):
        case = re.sub(r"([\\,\[])", r"\\\1", name)
        result = subprocess.run(
            [*self.under, "timeout", "--kill-after=5", str(limit), self.program, "--abort", case],
            env={**os.environ, **environment}, capture_output=True, text=True, errors="replace")
        return result.returncode, result.stdout + result.stderr

    def kill(self, mutant):
        """(how it was found, by which test case), or why it was not."""
        cases = sorted((c for c in self.met if str(mutant.number) in self.met[c]), key=self.seconds.get)
        for case in cases:
            limit = 30 + 10 * self.seconds[case]  # what is stuck is soon beyond it
            code, output = self.run(case, int(limit), MUONLAB_MUTANT=str(mutant.number))
            if code != 0:
                how = ("time" if code == 124 else "checker" if FAULTS.search(output)
                       else "crash" if code < 0 or code > 128 else "result")
                return how, case
        return None, "no test case fails" if cases else "it makes no difference in any test case"


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("build")
    parser.add_argument("--only", default="")
    parser.add_argument("--cases", default=".")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--under", default="", type=shlex.split)
    options = parser.parse_args()
    mutants = all_mutants()[0]
    listed = equivalents({m.name for m in mutants})
    mutants = [m for m in mutants if re.search(options.only, m.name)]
    if options.list:
        print("\n".join(m.name for m in mutants))
        return 0

    tests = Tests(options.build, options.cases, options.under)
    table = collections.defaultdict(collections.Counter)
    wrong = 0
    for mutant in (m for m in mutants if not tests.is_none(m)):
        how, case = tests.kill(mutant)
        equivalent = mutant.name in listed
        state = how or ("equivalent" if equivalent else "survived")
        table[mutant.name.split()[0]]["killed" if how else state] += 1
        bad = (how is None) != equivalent
        wrong += bad
        print(f"{state:10} {mutant.name}  ({case}){'  <-- listed as equivalent' if bad and equivalent else ''}",
              flush=True)
    states = ["killed", "equivalent", "survived"]
    print("\n| file | mutants | " + " | ".join(states) + " |\n|" + "---|" * (len(states) + 2))
    for file, counts in [*table.items(), ("all", sum(table.values(), collections.Counter()))]:
        print(f"| {file} | {counts.total()} | " + " | ".join(str(counts[s]) for s in states) + " |")
    return 1 if wrong else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:  # what the build calls
        write(sys.argv[2])
    else:
        sys.exit(main())
