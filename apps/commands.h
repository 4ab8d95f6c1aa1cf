#pragma once

#include <span>
#include <string>

// The subcommands. Each takes the arguments behind its name and returns the exit code of the
// program; errors are thrown (core/error.h) and reported by main.
namespace muonlab {

int train_command(std::span<const std::string> arguments);
int sample_command(std::span<const std::string> arguments);
int eval_command(std::span<const std::string> arguments);
int bench_command(std::span<const std::string> arguments);
int info_command(std::span<const std::string> arguments);

/// How the program was called, for the commands that it tells people to type.
const std::string& program_name();
/// A word as a POSIX shell reads it back.
std::string shell_quoted(const std::string& word);

}  // namespace muonlab
