#include "optim/steps/matrix_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "core/error.h"

namespace muonlab {

MatrixView::MatrixView(const ParamInfo& info, Split split) {
  const Shape& shape = info.shape;
  if (shape.rank() != 2 && shape.rank() != 3)
    throw ConfigError(fmt::format(
        "parameter '{}' is a {} of shape {}; a matrix rule needs (rows, cols) or a stack of them",
        info.name, name_of(info.kind), shape.str()));
  const std::int64_t rows = shape[-2], stack = shape.rank() == 3 ? shape[0] : 1;
  cols_ = shape[-1];

  std::vector<std::int64_t> one;
  std::int64_t covered = 0;
  for (const Block& b : info.blocks) {
    if (b.begin != covered || b.end <= b.begin || b.end > rows)
      throw ConfigError(
          fmt::format("parameter '{}': block '{}' has rows [{}, {}); expected it to begin at {} "
                      "and to end within {} rows",
                      info.name, b.role, b.begin, b.end, covered, rows));
    const std::int64_t height = b.end - b.begin, heads = split == Split::head ? b.heads : 1;
    if (heads < 1 || height % heads != 0)
      throw ConfigError(fmt::format("parameter '{}': block '{}' of {} rows cannot be {} heads",
                                    info.name, b.role, height, heads));
    one.insert(one.end(), static_cast<std::size_t>(heads), height / heads);
    covered = b.end;
  }
  if (info.blocks.empty() || split == Split::none) one = {rows};
  if (!info.blocks.empty() && covered != rows)
    throw ConfigError(
        fmt::format("parameter '{}': its blocks end at row {} of {}", info.name, covered, rows));
  for (std::int64_t i = 0; i < stack; ++i) heights_.insert(heights_.end(), one.begin(), one.end());
}

std::vector<Tensor> MatrixView::split(const Tensor& whole) const {
  const Tensor flat =
      whole.reshape({std::accumulate(heights_.begin(), heights_.end(), std::int64_t{0}), cols_});
  std::vector<Tensor> matrices;
  std::int64_t begin = 0;
  for (const std::int64_t height : heights_) {
    matrices.push_back(flat.slice(begin, begin + height));
    begin += height;
  }
  return matrices;
}

std::vector<Shape> MatrixView::shapes() const {
  std::vector<Shape> list;
  for (const std::int64_t height : heights_) list.push_back({height, cols_});
  return list;
}

std::string MatrixView::str() const {
  std::string text;
  for (auto run = heights_.begin(); run != heights_.end();) {
    const auto next = std::find_if(run, heights_.end(), [&](std::int64_t h) { return h != *run; });
    if (!text.empty()) text += " + ";
    if (next - run > 1) text += fmt::format("{} x ", next - run);
    text += Shape{*run, cols_}.str();
    run = next;
  }
  return text;
}

}  // namespace muonlab
