#include "tests/cuda/mutant.h"

#include <cstdio>
#include <cstdlib>
#include <vector>

// MUONLAB_MUTANT is the number of the mutant to try. Without it MUONLAB_MUTANTS_MET names a file
// for the numbers of all mutants that would have made a difference where they stand, and, less than
// zero, of those that are none.
namespace mutant {
namespace {

const int g_turn = [] {
  const char* number = std::getenv("MUONLAB_MUTANT");
  return number != nullptr ? std::atoi(number) : -1;
}();

class Numbers {
 public:
  void add(int number) {
    const auto at = static_cast<std::size_t>(number);
    if (at >= there_.size()) there_.resize(at + 1);
    there_[at] = true;
  }
  void write(std::FILE* file, const char* sign) const {
    for (std::size_t i = 0; i < there_.size(); ++i)
      if (there_[i]) std::fprintf(file, "%s%zu\n", sign, i);
  }

 private:
  std::vector<bool> there_;
};

struct Met {
  Numbers mutants, none;
  ~Met() {
    const char* path = std::getenv("MUONLAB_MUTANTS_MET");
    std::FILE* file = path != nullptr ? std::fopen(path, "w") : nullptr;
    if (file == nullptr) return;
    mutants.write(file, "");
    none.write(file, "-");
    std::fclose(file);
  }
};
Met& met() {
  static Met m;
  return m;
}

// True if it is this one's turn, now that it makes a difference.
bool meet(int number) {
  if (g_turn < 0) met().mutants.add(number);
  return number == g_turn;
}

}  // namespace

bool is(int number) { return meet(number); }

bool choose(int number, bool value, bool first, bool second) {
  if (first != value && meet(number)) return first;
  if (second != value && meet(number + 1)) return second;
  return value;
}

bool choose(int number, bool value, bool other) {
  return other != value && meet(number) ? other : value;
}

void are_none(int number) {
  met().none.add(number);
  met().none.add(number + 1);
}

int shift(int number) { return meet(number) ? 1 : meet(number + 1) ? -1 : 0; }

}  // namespace mutant
