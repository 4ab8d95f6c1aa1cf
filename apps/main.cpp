#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "apps/commands.h"
#include "apps/training_loop.h"
#include "core/error.h"
#include "core/options.h"

namespace muonlab {
namespace {

struct Command {
  std::string_view name, summary;
  int (*run)(std::span<const std::string> arguments);
};

constexpr std::array<Command, 8> kCommands{
    {{"train", "train a model, or continue a run", train_command},
     {"sample", "write text with a trained model", sample_command},
     {"eval", "loss of a trained model on its whole validation split", eval_command},
     {"bench", "time training steps or generation", bench_command},
     {"routes", "which parameter goes to which update rule, and why", routes_command},
     {"lr", "translate a learning rate between conventions", lr_command},
     {"options", "every option of a training run, as a page", options_command},
     {"info", "describe a run, a checkpoint, or this machine", info_command}}};

std::string g_program = "muonlab";

void print_usage() {
  fmt::print(
      "muonlab {}: train small GPTs, with every optimizer that people argue about\n\n"
      "Usage: muonlab COMMAND [options]\n\n",
      MUONLAB_VERSION);
  for (const Command& command : kCommands) fmt::print("  {:<9}{}\n", command.name, command.summary);
  fmt::print(
      "\nA first run:  muonlab train --preset tiny --out my-run && muonlab sample my-run\n"
      "All options:  muonlab COMMAND --help\n");
}

int dispatch(const std::vector<std::string>& arguments) {
  const std::string first = arguments.empty() ? "" : arguments[0];
  if (first == "--version") {
    fmt::print("muonlab {}\n", MUONLAB_VERSION);
    return 0;
  }
  const bool help = first == "--help" || first == "-h" || first == "help";
  if (help && arguments.size() == 1) {
    print_usage();
    return 0;
  }
  if (help) return dispatch({arguments[1], "--help"});
  std::vector<std::string> names;
  for (const Command& command : kCommands) {
    if (command.name == first) return command.run(std::span(arguments).subspan(1));
    names.emplace_back(command.name);
  }
  if (first.empty()) throw ConfigError("which command? See muonlab --help");
  const std::string near = nearest_name(first, names);
  throw ConfigError(
      fmt::format("there is no command '{}'; {}", first,
                  near.empty() ? "see muonlab --help" : fmt::format("did you mean '{}'?", near)));
}

/// A word as a POSIX shell reads it back.
std::string shell_quoted(const std::string& word) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./+:=@%,";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + '\'';
}

int report(const char* message, int code) {
  fmt::print(stderr, "muonlab: {}\n", message);
  return code;
}

}  // namespace

std::string command_text(const std::string& subcommand, const std::string& path) {
  return fmt::format("{} {} {}", shell_quoted(g_program), subcommand, shell_quoted(path));
}

}  // namespace muonlab

int main(int argc, char** argv) {
  using namespace muonlab;
  if (argc > 0) g_program = argv[0];
  try {
    const int code = dispatch({argv + (argc > 0 ? 1 : 0), argv + argc});
    // What was printed last may still be in a buffer. A reader that went away is none of our
    // errors.
    if ((std::fflush(stdout) != 0 || std::ferror(stdout)) && errno != EPIPE && code == 0)
      return report("standard output could not be written", 1);
    return code;
  } catch (const ConfigError& error) {
    return report(error.what(), 2);
  } catch (const DivergedError& error) {
    return report(error.what(), 3);
  } catch (const std::bad_alloc&) {
    return report("out of memory; a smaller --batch, --block_size or model needs less", 1);
  } catch (const std::exception& error) {
    return report(error.what(), 1);
  }
}
