#include "apps/run_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <limits>

#include "apps/json.h"
#include "core/error.h"
#include "core/options.h"

namespace muonlab {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStepPrefix = "step_";
constexpr std::size_t kKept = 2;  // numbered checkpoints

struct Column {
  const char* name;
  std::optional<double> MetricsRow::*member;
};
constexpr std::array<Column, 7> kColumns{{{"loss", &MetricsRow::loss},
                                          {"val_loss", &MetricsRow::val_loss},
                                          {"val_loss_whole", &MetricsRow::val_loss_whole},
                                          {"lr", &MetricsRow::lr},
                                          {"grad_norm", &MetricsRow::grad_norm},
                                          {"tokens_per_s", &MetricsRow::tokens_per_s},
                                          {"elapsed_s", &MetricsRow::elapsed_s}}};

std::string csv_header() {
  std::string line = "step";
  for (const Column& column : kColumns) line += fmt::format(",{}", column.name);
  return line + '\n';
}

std::string csv_line(const MetricsRow& row) {
  std::string line = std::to_string(row.step);
  for (const Column& column : kColumns) {
    const auto& value = row.*column.member;
    line += ',' + (value ? to_text(*value) : std::string());
  }
  return line + '\n';
}

std::string json_line(const MetricsRow& row) {
  JsonObject object;
  object.add("step", row.step);
  for (const Column& column : kColumns) object.add(column.name, row.*column.member);
  return object.str() + '\n';
}

/// The number at the start of `text`, behind `prefix`.
std::optional<std::int64_t> leading_number(std::string_view text, std::string_view prefix) {
  if (text.substr(0, prefix.size()) != prefix) return std::nullopt;
  text.remove_prefix(prefix.size());
  std::int64_t value = 0;
  const auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  return value;
}

/// Length of the leading part of a metrics file whose lines are whole and not behind `step`.
std::size_t length_up_to(std::string_view text, std::string_view prefix, std::int64_t step) {
  std::size_t length = 0;
  for (std::size_t end; (end = text.find('\n', length)) != std::string_view::npos;
       length = end + 1) {
    const auto number = leading_number(text.substr(length, end - length), prefix);
    const bool header = length == 0 && !number;
    if (!header && (!number || *number > step)) break;
  }
  return length;
}

/// A file of metrics, however long: it grows with the run.
std::string read_whole(const fs::path& path) {
  return read_text(path, std::numeric_limits<std::size_t>::max());
}

bool is_there(const fs::path& path) {
  std::error_code error;  // also links that lead nowhere
  return fs::symlink_status(path, error).type() != fs::file_type::not_found;
}

/// Those of the files named in the header that no start of a run left which was killed: one that
/// got no further than `create` has no line in its metrics, and their header comes before all else.
std::vector<std::string> foreign_files(const fs::path& folder) {
  const auto text_of = [&](const char* name) -> std::optional<std::string> {
    if (!is_there(folder / name)) return "";
    try {
      return read_text(folder / name);
    } catch (const IoError&) {  // a folder, a device, too long: nothing that a start makes
      return std::nullopt;
    }
  };
  const auto csv = text_of(kMetricsCsv), json = text_of(kMetricsJson);
  std::vector<std::string> names;
  if (!csv || !csv_header().starts_with(*csv)) names.emplace_back(kMetricsCsv);
  if (!json || !json->empty()) names.emplace_back(kMetricsJson);
  if (csv != csv_header())
    for (const char* name : {kRoutesFile, kTokenizerFile, kManifestFile})
      if (is_there(folder / name)) names.emplace_back(name);
  if (const fs::path best = fs::path(kCheckpoints) / kBestCheckpoint; is_there(folder / best))
    names.push_back(best.string());
  return names;
}

void remove_file(const fs::path& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) throw_errno("remove", path);
}

FileDescriptor lock_folder(const fs::path& path) {
  FileDescriptor lock(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (lock.get() < 0) throw_errno("open the run folder", path);
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) throw_errno("lock the run folder", path);
    throw IoError(fmt::format(
        "another process is training in {}; wait for it, or choose another --out", path.string()));
  }
  return lock;
}

fs::path checkpoint_path(const fs::path& folder, std::int64_t step) {
  return folder / kCheckpoints / fmt::format("{}{:08}{}", kStepPrefix, step, kCheckpointSuffix);
}

/// Removes what a process that was killed while writing a checkpoint left behind.
void remove_unfinished(const fs::path& folder) {
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder / kCheckpoints, error)) {
    const fs::path meant = entry.path().stem();
    if (entry.path().extension() == ".tmp" && (meant == kBestCheckpoint || step_in_name(meant)))
      remove_file(entry.path());
  }
}

}  // namespace

std::optional<std::int64_t> step_in_name(const fs::path& file) {
  const auto step = leading_number(file.filename().string(), kStepPrefix);
  if (!step || file.filename() != checkpoint_path("", *step).filename()) return std::nullopt;
  return step;
}

std::vector<CheckpointFile> list_checkpoints(const fs::path& folder) {
  std::vector<CheckpointFile> files;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder / kCheckpoints, error)) {
    if (const auto step = step_in_name(entry.path())) files.push_back({*step, entry.path()});
  }
  if (error && error != std::errc::no_such_file_or_directory)
    throw IoError(
        fmt::format("cannot read {}: {}", (folder / kCheckpoints).string(), error.message()));
  std::sort(files.begin(), files.end(),
            [](const CheckpointFile& a, const CheckpointFile& b) { return a.step < b.step; });
  return files;
}

std::vector<MetricsRow> read_metrics(const fs::path& folder) {
  std::vector<MetricsRow> rows;
  const std::string text = read_whole(folder / kMetricsCsv);
  std::string_view rest = text;
  const auto next_cell = [](std::string_view& line) {
    const std::size_t comma = std::min(line.find(','), line.size());
    const std::string_view cell = line.substr(0, comma);
    line.remove_prefix(std::min(comma + 1, line.size()));
    return cell;
  };
  std::vector<const Column*> columns;  // behind the step; null where the name is not known
  for (std::size_t end; (end = rest.find('\n')) != std::string_view::npos;
       rest.remove_prefix(end + 1)) {
    std::string_view line = rest.substr(0, end);
    const std::string_view first = next_cell(line);
    if (rest.data() == text.data()) {
      if (first != "step")
        throw FormatError(fmt::format(
            "{} begins with no line of column names; those that this version writes "
            "are {}",
            (folder / kMetricsCsv).string(), csv_header().substr(0, csv_header().size() - 1)));
      while (!line.empty()) {
        const std::string_view name = next_cell(line);
        const auto known = std::find_if(kColumns.begin(), kColumns.end(),
                                        [&](const Column& c) { return c.name == name; });
        columns.push_back(known == kColumns.end() ? nullptr : &*known);
      }
      continue;
    }
    const auto step = leading_number(first, "");
    if (!step) continue;
    MetricsRow row;
    row.step = *step;
    for (const Column* column : columns) {
      const std::string_view cell = next_cell(line);
      double value = 0;
      if (column &&
          std::from_chars(cell.data(), cell.data() + cell.size(), value).ec == std::errc())
        row.*column->member = value;
    }
    rows.push_back(row);
  }
  return rows;
}

bool RunFolder::holds_run(const fs::path& folder) {
  return is_there(folder / kConfigFile) || !list_checkpoints(folder).empty();
}

void RunFolder::require_no_run(const fs::path& folder) {
  if (holds_run(folder))
    throw ConfigError(
        fmt::format("{0} already holds a run; continue it with --resume {0}, replace it with "
                    "--force, or choose another --out",
                    folder.string()));
  if (const auto names = foreign_files(folder); !names.empty())
    throw ConfigError(
        fmt::format("{} already holds {}, where a run would write its own; choose another --out, "
                    "or replace them with --force",
                    folder.string(), fmt::join(names, ", ")));
}

RunFolder::RunFolder(fs::path path, FileDescriptor lock)
    : path_(std::move(path)), lock_(std::move(lock)) {}

RunFolder RunFolder::create(const fs::path& folder, bool force) {
  std::error_code error;
  fs::create_directories(folder / kCheckpoints, error);
  if (error)
    throw IoError(
        fmt::format("cannot make the run folder {}: {}", folder.string(), error.message()));
  RunFolder run(folder, lock_folder(folder));
  if (!force) require_no_run(folder);
  for (const char* name :
       {kConfigFile, kRoutesFile, kTokenizerFile, kManifestFile, kMetricsJson, kMetricsCsv})
    remove_file(folder / name);
  for (const CheckpointFile& file : list_checkpoints(folder)) remove_file(file.path);
  remove_file(folder / kCheckpoints / kBestCheckpoint);
  remove_unfinished(folder);
  run.open_metrics();
  write_all(run.csv_, csv_header(), folder / kMetricsCsv);
  return run;
}

RunFolder RunFolder::reopen(const fs::path& folder) {
  RunFolder run(folder, lock_folder(folder));
  run.open_metrics();
  return run;
}

void RunFolder::open_metrics() {
  const auto open = [this](const char* name) {
    const fs::path path = path_ / name;
    FileDescriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
    if (file.get() < 0) throw_errno("write", path);
    return file;
  };
  json_ = open(kMetricsJson);
  csv_ = open(kMetricsCsv);
}

void RunFolder::save(const std::string& name, std::string_view text) const {
  write_text(path_ / name, text);
}

void RunFolder::append(const MetricsRow& row) {
  write_all(json_, json_line(row), path_ / kMetricsJson);
  write_all(csv_, csv_line(row), path_ / kMetricsCsv);
}

RunFolder::Removed RunFolder::rewind(std::int64_t step) {
  if (const std::string text = read_whole(path_ / kMetricsCsv);
      !csv_header().starts_with(text) && !text.starts_with(csv_header()))
    throw FormatError(
        fmt::format("{} does not begin with the columns that this version writes, so no line can "
                    "be added to it; move it away, and the run goes on with a new one",
                    (path_ / kMetricsCsv).string()));
  Removed removed;
  const auto cut = [&](const FileDescriptor& file, const char* name, std::string_view prefix) {
    const fs::path path = path_ / name;
    const std::string text = read_whole(path);
    const std::size_t length = length_up_to(text, prefix, step);
    if (::ftruncate(file.get(), static_cast<off_t>(length)) != 0) throw_errno("shorten", path);
    removed.metrics =
        std::count(text.begin() + static_cast<std::ptrdiff_t>(length), text.end(), '\n');
    return length;
  };
  cut(json_, kMetricsJson, "{\"step\": ");
  if (cut(csv_, kMetricsCsv, "") == 0) write_all(csv_, csv_header(), path_ / kMetricsCsv);
  for (const CheckpointFile& file : list_checkpoints(path_)) {
    if (file.step <= step) continue;
    remove_file(file.path);
    removed.checkpoints.push_back(file.step);
  }
  remove_unfinished(path_);
  return removed;
}

fs::path RunFolder::write_checkpoint(std::int64_t step, std::span<const NamedTensor> tensors,
                                     Metadata metadata) const {
  const fs::path path = checkpoint_path(path_, step);
  write_tensors(path, tensors, std::move(metadata));
  const std::vector<CheckpointFile> files = list_checkpoints(path_);
  for (std::size_t i = 0; i + kKept < files.size(); ++i) remove_file(files[i].path);
  return path;
}

void RunFolder::write_best(std::span<const NamedTensor> tensors, Metadata metadata) const {
  write_tensors(path_ / kCheckpoints / kBestCheckpoint, tensors, std::move(metadata));
}

}  // namespace muonlab
