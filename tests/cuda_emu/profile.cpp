// How warps use memory. The k-th time that a thread comes to an instruction is taken as one request
// with the k-th time of the other lanes.

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <vector>

#include "tests/cuda_emu/emulator.h"
#include "tests/cuda_emu/source_lines.h"

namespace simt {

namespace {

constexpr std::uint32_t kSampledBlocks = 4;
constexpr std::uintptr_t kSectorBytes = 32, kBankBytes = 4, kBanks = 32;

struct Entry {
  const void* code;
  int warp;
  std::uint32_t round;
  int lane;
  std::uintptr_t address;
  unsigned size;
  bool write, shared;
  auto request() const { return std::tie(code, warp, round); }
};

struct Counts {
  std::string kernel;
  bool shared, write;
  unsigned size;
  std::uint64_t requests = 0, transactions = 0, ideal = 0;
};

std::vector<Entry> g_entries;
std::map<std::pair<const void*, int>, std::uint32_t> g_rounds;   // of (instruction, thread)
std::map<std::pair<const void*, const void*>, Counts> g_counts;  // by (kernel, instruction)

using Entries = std::vector<Entry>::const_iterator;

std::set<std::uintptr_t> units(Entries begin, Entries end, std::uintptr_t unit) {
  std::set<std::uintptr_t> touched;
  for (auto e = begin; e != end; ++e)
    for (auto u = e->address / unit; u <= (e->address + e->size - 1) / unit; ++u) touched.insert(u);
  return touched;
}

void count_global(Counts& counts, Entries begin, Entries end) {
  counts.transactions += units(begin, end, kSectorBytes).size();
  const std::size_t bytes = units(begin, end, 1).size();
  counts.ideal += (bytes + kSectorBytes - 1) / kSectorBytes;
}

// A wavefront serves 32 lanes of 4 bytes, 16 of 8 or 8 of 16; each bank gives it one word.
void count_shared(Counts& counts, Entries begin, Entries end) {
  const int lanes_at_once = begin->size <= 4 ? 32 : begin->size == 8 ? 16 : 8;
  for (auto part = begin; part != end;) {
    const int group = part->lane / lanes_at_once;
    const auto next =
        std::find_if(part, end, [&](const Entry& e) { return e.lane / lanes_at_once != group; });
    std::vector<std::uint64_t> words(kBanks);
    for (const auto word : units(part, next, kBankBytes)) ++words[word % kBanks];
    counts.transactions += *std::max_element(words.begin(), words.end());
    counts.ideal += 1;
    part = next;
  }
}

}  // namespace

void profile_begin_block() {
  now.profiled = config().profile && now.block < kSampledBlocks;
  g_entries.clear();
  g_rounds.clear();
}

void profile_access(const void* code, const void* address, unsigned size, bool write, bool shared) {
  const std::uint32_t round = g_rounds[{code, now.thread}]++;
  g_entries.push_back({code, now.thread / 32, round, now.thread % 32,
                       reinterpret_cast<std::uintptr_t>(address), size, write, shared});
}

void profile_end_block() {
  std::sort(g_entries.begin(), g_entries.end(), [](const Entry& a, const Entry& b) {
    return std::tuple_cat(a.request(), std::tie(a.lane)) <
           std::tuple_cat(b.request(), std::tie(b.lane));
  });
  for (Entries begin = g_entries.begin(); begin != g_entries.end();) {
    const Entries end = std::find_if(begin, Entries(g_entries.end()), [&](const Entry& e) {
      return e.request() != begin->request();
    });
    Counts& counts = g_counts[{now.launch->kernel, begin->code}];
    counts.kernel = function_name(now.launch->kernel);
    counts.shared = begin->shared;
    counts.write = begin->write;
    counts.size = begin->size;
    ++counts.requests;
    if (begin->shared)
      count_shared(counts, begin, end);
    else
      count_global(counts, begin, end);
    begin = end;
  }
}

std::vector<LineProfile> take_profile() {
  std::vector<const void*> codes;
  for (const auto& [key, counts] : g_counts) codes.push_back(key.second);
  look_up(codes);
  std::map<std::tuple<std::string, std::string, bool, bool, unsigned>, LineProfile> lines;
  for (const auto& [key, counts] : g_counts) {
    const SourceLine at = line_of(Place(key.second));
    LineProfile& line = lines[{at.where, counts.kernel, counts.shared, counts.write, counts.size}];
    line.where = at.where;
    line.source = at.source;
    line.kernel = counts.kernel;
    line.shared = counts.shared;
    line.write = counts.write;
    line.size = counts.size;
    line.requests += counts.requests;
    line.transactions += counts.transactions;
    line.ideal += counts.ideal;
  }
  g_counts.clear();
  std::vector<LineProfile> result;
  for (auto& [key, line] : lines) result.push_back(std::move(line));
  return result;
}

}  // namespace simt
