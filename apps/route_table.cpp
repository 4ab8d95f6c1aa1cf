#include "apps/route_table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <vector>

#include "apps/display.h"

namespace muonlab {

std::string fitted(std::span<const Route> routes, int width) {
  struct Column {
    std::string title;
    std::vector<std::string> cells;
    int width() const {
      std::size_t longest = title.size();
      for (const std::string& cell : cells) longest = std::max(longest, cell.size());
      return static_cast<int>(longest);
    }
  };
  std::string full = to_string(routes);
  int longest = 0;
  for (std::size_t at = 0, end; (end = full.find('\n', at)) != std::string::npos; at = end + 1)
    longest = std::max(longest, static_cast<int>(end - at));
  if (longest <= width) return full;

  std::vector<std::string> reasons;
  std::vector<Column> columns{{"parameter", {}}, {"kind", {}},  {"seen as", {}}, {"rule", {}},
                              {"rate", {}},      {"decay", {}}, {"why", {}}};
  for (const Route& r : routes) {
    auto reason = std::find(reasons.begin(), reasons.end(), r.reason);
    if (reason == reasons.end()) reason = reasons.insert(reason, r.reason);
    const std::array<std::string, 7> cells{r.param,
                                           name_of(r.kind),
                                           r.seen_as,
                                           r.rule,
                                           to_text(r.lr),
                                           to_text(r.decay),
                                           fmt::format("[{}]", reason - reasons.begin() + 1)};
    for (std::size_t c = 0; c < cells.size(); ++c) columns[c].cells.push_back(cells[c]);
  }
  std::vector<std::string> left_out;
  for (const char* title : {"kind", "decay", "rate", "seen as"}) {
    int total = -2;
    for (const Column& column : columns) total += column.width() + 2;
    if (total <= width) break;
    std::erase_if(columns, [&](const Column& column) { return column.title == title; });
    left_out.emplace_back(title);
  }

  std::string text;
  const auto add_row = [&](const auto& cell) {
    for (const Column& column : columns)
      text += fmt::format("{:<{}}", cell(column),
                          column.width() + (&column == &columns.back() ? 0 : 2));
    text += '\n';
  };
  add_row([](const Column& column) { return column.title; });
  for (std::size_t row = 0; row < routes.size(); ++row)
    add_row([&](const Column& column) { return column.cells[row]; });
  for (std::size_t i = 0; i < reasons.size(); ++i)
    text += labelled(fmt::format("[{}]", i + 1), reasons[i], 4, width) + '\n';
  if (!left_out.empty())
    text += labelled("", fmt::format("(a wider terminal shows {} too)", fmt::join(left_out, ", ")),
                     4, width) +
            '\n';
  return text;
}

JsonObject to_json(const Route& route) {
  JsonObject object;
  object.add("parameter", route.param)
      .add("kind", name_of(route.kind))
      .add("shape", route.shape.str())
      .add("rule", route.rule)
      .add("seen_as", route.seen_as)
      .add("lr", route.lr)
      .add("decay", route.decay)
      .add("reason", route.reason);
  return object;
}

}  // namespace muonlab
