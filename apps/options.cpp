#include <fmt/format.h>

#include "apps/cli.h"
#include "apps/commands.h"
#include "apps/train_config.h"

namespace muonlab {
namespace {

/// Text for a cell of a table, where a bar would end it.
std::string cell(std::string text) {
  for (std::size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2)
    text.insert(at, 1, '\\');
  return text;
}

std::string code(const std::string& text) {
  return text.empty() ? "" : fmt::format("`{}`", cell(text));
}

}  // namespace

int options_command(std::span<const std::string> arguments) {
  const CommandSpec spec{"options",
                         "Every option of a training run and of the update rules, as a page in "
                         "Markdown: that of docs/options.md.",
                         "",
                         {}};
  if (!parse_flags(spec, arguments)) return 0;
  TrainConfig config;
  fmt::print(
      "# Options\n\nWritten by `muonlab options`: do not edit. The formulas are in "
      "[optimizers.md](optimizers.md).\n\nNumbers of the optimizer and of the rules, but for "
      "those of the learning rate, may go from one value to another over the first updates of a "
      "run: `--muon.momentum '0.85->0.95 over 300'`.\n");
  for (const OptionGroup& group : config.groups()) {
    if (group.options.empty()) continue;
    fmt::print("\n## {}\n| option | default | values | meaning |\n|---|---|---|---|\n",
               group.title);
    for (const Option& o : group.options)
      fmt::print("| {} | {} | {} | {} |\n", code(o.name), code(o.fallback), cell(o.range),
                 cell(o.doc));
  }
  return 0;
}

}  // namespace muonlab
