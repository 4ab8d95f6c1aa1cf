#pragma once

#include <string>

#include "core/error.h"
#include "tests/cuda_emu/ptx_module.h"

namespace muonlab::ptx {

/// A PTX text that is not understood. The message names file, line and text of the instruction.
struct ParseError : FormatError {
  using FormatError::FormatError;
};

/// The module of a PTX text, ready to run. `path` names it in messages.
/// Throws ParseError for whatever the interpreter does not know.
Module parse(const std::string& text, const std::string& path);

}  // namespace muonlab::ptx
