#include "apps/display.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <utility>

namespace muonlab {
namespace {

constexpr std::chrono::milliseconds kRedraw{100};

bool environment_set(const char* name) {
  const char* value = std::getenv(name);
  return value && *value;
}

bool locale_is_utf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    if (!environment_set(name)) continue;
    std::string value = std::getenv(name);
    std::transform(value.begin(), value.end(), value.begin(),
                   [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    return value.find("UTF-8") != std::string::npos || value.find("UTF8") != std::string::npos;
  }
  return false;
}

}  // namespace

Terminal describe_terminal(std::FILE* stream) {
  Terminal t;
  const int fd = ::fileno(stream);
  const char* term = std::getenv("TERM");
  t.tty = ::isatty(fd) != 0;
  t.live = t.tty && term && std::string_view(term) != "dumb";
  t.color = t.live && !environment_set("NO_COLOR");
  t.utf8 = locale_is_utf8();
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) t.width = size.ws_col;
  return t;
}

Display::Display(std::FILE* stream, bool quiet)
    : stream_(stream), quiet_(quiet), terminal_(describe_terminal(stream)) {}

Display::~Display() { clear_live_line(); }

void Display::clear_live_line() {
  if (!live_line_shown_) return;
  std::fputs("\r\x1b[K", stream_);
  std::fflush(stream_);
  live_line_shown_ = false;
}

void Display::print(std::string_view text) {
  if (quiet_) return;
  clear_live_line();
  std::fwrite(text.data(), 1, text.size(), stream_);
  std::fputc('\n', stream_);
  std::fflush(stream_);
}

std::string Display::broken(std::string_view text) const {
  return labelled("", text, 0, describe_terminal(stream_).text_width());
}

void Display::say(std::string_view text) { print(broken(text)); }

void Display::command(std::string_view text) { print(fmt::format("  {}", text)); }

void Display::say(std::string_view label, std::string_view text) {
  constexpr int kMargin = 11;
  print(labelled(label, text, kMargin, describe_terminal(stream_).text_width()));
}

void Display::headline(std::string_view text) {
  if (terminal_.color)
    print(fmt::format("\x1b[1m{}\x1b[0m", broken(text)));
  else
    say(text);
}

void Display::warn(std::string_view text) {
  clear_live_line();
  std::fprintf(stderr, "muonlab: %.*s\n", static_cast<int>(text.size()), text.data());
}

void Display::progress(const Progress& progress) {
  if (!live()) return;
  const auto now = std::chrono::steady_clock::now();
  if (live_line_shown_ && now - last_progress_ < kRedraw) return;
  last_progress_ = now;
  terminal_.width = describe_terminal(stream_).width;  // the window may have changed
  const std::string line = progress_line(progress, terminal_.width - 1);
  std::fprintf(stream_, "\r%s\x1b[K", line.c_str());
  std::fflush(stream_);
  live_line_shown_ = true;
}

void Display::curve(std::span<const CurvePoint> points) {
  if (!live() || points.size() < 3) return;
  print(draw_curve(points, std::min(terminal_.width - 1, 72), 6, terminal_.utf8));
}

std::vector<std::string> wrapped(std::string_view text, int width) {
  const auto columns = static_cast<std::size_t>(std::max(width, 1));
  std::vector<std::string> lines;
  while (text.size() > columns) {
    std::size_t cut = text.rfind(' ', columns);
    if (cut == std::string_view::npos || cut == 0) cut = text.find(' ', 1);
    if (cut == std::string_view::npos) break;
    const std::size_t next = text.find_first_not_of(' ', cut);
    lines.emplace_back(text.substr(0, cut));
    text.remove_prefix(std::min(next, text.size()));
  }
  lines.emplace_back(text);
  return lines;
}

std::string labelled(std::string_view label, std::string_view text, int margin, int width) {
  std::string block = fmt::format("{:<{}}", label, margin);
  const std::string indent = '\n' + std::string(static_cast<std::size_t>(margin), ' ');
  bool first = true;
  for (const std::string& line : wrapped(text, width - margin)) {
    if (!std::exchange(first, false)) block += indent;
    block += line;
  }
  return block;
}

std::string progress_line(const Progress& p, int width) {
  const std::array<std::string, 5> parts{
      fmt::format("step {}/{}", p.step, p.steps), fmt::format("loss {:.4f}", p.loss),
      fmt::format("lr {:.2e}", p.lr),
      fmt::format("{} tokens/s", with_thousands(std::llround(p.tokens_per_s))),
      fmt::format("ETA {}", duration_text(p.eta_s))};
  std::string line;
  for (const std::string& part : parts) {
    const std::string longer = line.empty() ? part : line + "  " + part;
    if (static_cast<int>(longer.size()) > width) break;
    line = longer;
  }
  return line;
}

std::string draw_curve(std::span<const CurvePoint> points, int width, int height, bool utf8) {
  const auto [low, high] =
      std::minmax_element(points.begin(), points.end(),
                          [](const CurvePoint& a, const CurvePoint& b) { return a.y < b.y; });
  const double bottom = low->y, top = high->y;
  const double first = points.front().x, last = points.back().x;
  const std::string label_top = fmt::format("{:.2f}", top),
                    label_bottom = fmt::format("{:.2f}", bottom);
  const int margin = static_cast<int>(std::max(label_top.size(), label_bottom.size()));
  const int columns = std::max(width - margin - 2, 8);

  // A column shows the mean of the points that fall in it; one without points repeats its left.
  std::vector<double> sums(static_cast<std::size_t>(columns)), counts(sums.size());
  for (const CurvePoint& p : points) {
    const double share = last > first ? (p.x - first) / (last - first) : 0;
    const auto c = static_cast<std::size_t>(std::min(share * columns, columns - 1.0));
    sums[c] += p.y;
    counts[c] += 1;
  }
  const int steps_per_row = utf8 ? 8 : 1;
  std::vector<int> levels(sums.size());
  double value = points.front().y;
  for (std::size_t c = 0; c < sums.size(); ++c) {
    if (counts[c] > 0) value = sums[c] / counts[c];
    const double share = top > bottom ? (value - bottom) / (top - bottom) : 0;
    levels[c] = 1 + static_cast<int>(std::lround(share * (height * steps_per_row - 1)));
  }

  static constexpr std::array<const char*, 9> kBlocks{" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  std::string picture;
  for (int row = height - 1; row >= 0; --row) {
    picture += fmt::format("{:>{}} {}",
                           row == height - 1 ? label_top
                           : row == 0        ? label_bottom
                                             : "",
                           margin, utf8 ? "│" : "|");
    for (const int level : levels) {
      const int fill = std::clamp(level - row * steps_per_row, 0, steps_per_row);
      if (utf8)
        picture += kBlocks[static_cast<std::size_t>(fill)];
      else
        picture += fill ? '#' : ' ';
    }
    picture += '\n';
  }
  const std::string from = fmt::format("{:g}", first), to = fmt::format("step {:g}", last);
  picture += fmt::format("{:{}}{}{:>{}}", "", margin + 2, from, to,
                         std::max(columns - static_cast<int>(from.size()), 0));
  return picture;
}

std::string with_thousands(std::int64_t n) {
  std::string text = std::to_string(n);
  for (std::ptrdiff_t i = std::ssize(text) - 3; i > (n < 0 ? 1 : 0); i -= 3)
    text.insert(static_cast<std::size_t>(i), 1, ',');
  return text;
}

std::string duration_text(double seconds) {
  if (!std::isfinite(seconds)) return "?";
  if (seconds < 9.95) return fmt::format("{:.1f} s", seconds);
  const std::int64_t s = std::llround(seconds);
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{}:{:02}", s / 60, s % 60);
  return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

}  // namespace muonlab
