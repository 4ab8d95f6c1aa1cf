#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace muonlab {

/// What an output stream can show.
struct Terminal {
  bool tty = false;    ///< read by a person as it comes, not a file or a pipe
  bool live = false;   ///< a terminal whose last line can be rewritten
  bool color = false;  ///< live, and NO_COLOR is not set (https://no-color.org)
  bool utf8 = false;   ///< the locale's characters are UTF-8
  int width = 80;      ///< columns

  /// Columns at which text is broken: a line in a file or a pipe has no end.
  int text_width() const { return tty ? width : std::numeric_limits<int>::max(); }
};
Terminal describe_terminal(std::FILE* stream);

/// How a run goes, for one step.
struct Progress {
  std::int64_t step = 0, steps = 0;
  double loss = 0, lr = 0;
  double tokens_per_s = 0;
  double eta_s = 0;  ///< seconds until the last step
};

/// A point of a curve.
struct CurvePoint {
  double x = 0, y = 0;
};

/// What `train` tells a person: one live line on a terminal, plain lines in a pipe. Output that
/// nobody reads any more (a closed pipe) is no reason to stop a run, so write errors are ignored.
class Display {
 public:
  /// `stream` gets everything but what `quiet` silences.
  Display(std::FILE* stream, bool quiet);
  ~Display();
  Display(const Display&) = delete;
  Display& operator=(const Display&) = delete;

  bool live() const { return terminal_.live && !quiet_; }
  /// A line that stays, broken where the terminal ends.
  void say(std::string_view text);
  /// Likewise, behind a label.
  void say(std::string_view label, std::string_view text);
  /// Likewise, emphasised where colour is on.
  void headline(std::string_view text);
  /// A command to type. It is not broken, so that it can be copied.
  void command(std::string_view text);
  /// Something that went wrong without ending the run; on standard error, also when quiet.
  void warn(std::string_view text);
  /// The live line, rewritten at most ten times a second; nothing in a pipe.
  void progress(const Progress& progress);
  /// On a terminal only: the points as a small picture.
  void curve(std::span<const CurvePoint> points);

 private:
  void clear_live_line();
  void print(std::string_view lines);
  std::string broken(std::string_view text) const;

  std::FILE* stream_;
  bool quiet_;
  Terminal terminal_;
  bool live_line_shown_ = false;
  std::chrono::steady_clock::time_point last_progress_{};
};

/// Breaks text at blanks into lines of at most `width` characters; a longer word stays whole.
std::vector<std::string> wrapped(std::string_view text, int width);
/// A label in `margin` columns and text beside it, broken at `width` columns. No line break at the
/// end.
std::string labelled(std::string_view label, std::string_view text, int margin, int width);

/// "step 250/2000  loss 2.1034  lr 9.8e-04  41,200 tokens/s  ETA 1:02", cut after the last part
/// that fits in `width` columns.
std::string progress_line(const Progress& progress, int width);

/// A curve of `width` columns and `height` rows of text plus an axis, in Unicode blocks or in
/// ASCII.
std::string draw_curve(std::span<const CurvePoint> points, int width, int height, bool utf8);

/// 12345678 -> "12,345,678"
std::string with_thousands(std::int64_t n);
/// Seconds as "0.4 s", "12 s", "3:25", "2:03:25".
std::string duration_text(double seconds);

}  // namespace muonlab
