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
int routes_command(std::span<const std::string> arguments);
int options_command(std::span<const std::string> arguments);
int lr_command(std::span<const std::string> arguments);
int info_command(std::span<const std::string> arguments);

/// A command to type: this program as it was called, with a subcommand and a path.
std::string command_text(const std::string& subcommand, const std::string& path);

}  // namespace muonlab
