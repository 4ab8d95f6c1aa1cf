#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "data/tokenizer.h"

namespace muonlab {

/// The vocabulary in the meta.pkl that nanoGPT's prepare.py for characters writes: a Python pickle
/// of
/// {"vocab_size": n, "itos": {0: "\n", ...}, "stoi": {...}}, protocol 2 to 5. Only dictionaries,
/// whole numbers and text are understood, and nothing is executed. `name` is for errors. Throws:
/// FormatError for anything else.
std::unique_ptr<CharTokenizer> read_nanogpt_meta(std::string_view pickle, const std::string& name);

}  // namespace muonlab
