#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/catch.h"

// Runs the built program as a user does.
namespace muonlab::test {

namespace fs = std::filesystem;
using Arguments = std::vector<std::string>;

inline Arguments operator+(Arguments a, const Arguments& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// An empty folder that goes away with the object.
class TempFolder {
 public:
  TempFolder() {
    std::string name = (fs::temp_directory_path() / "muonlab-test-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()));
    path_ = name;
  }
  ~TempFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const fs::path& path() const { return path_; }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  fs::path path_;
};

inline std::string slurp(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

inline void spill(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

struct Outcome {
  int code = -1;  ///< exit code, or 128 + signal
  std::string out, err;
};

struct Setup {
  std::vector<std::pair<std::string, std::string>> environment{};
  rlim_t file_size = RLIM_INFINITY;      ///< the largest file that the program may write, in bytes
  rlim_t address_space = RLIM_INFINITY;  ///< in bytes
  fs::path folder{};                     ///< to start in
  std::string program = MUONLAB_BINARY;
};

inline int exit_code(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// The program, running. Its output goes to files.
class Program {
 public:
  explicit Program(const Arguments& arguments, const Setup& setup = {}) {
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) exec(arguments, setup, (files_ / "out"), (files_ / "err"));
  }
  ~Program() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  void send(int signal) { ::kill(pid_, signal); }
  bool running() {
    int status = 0;
    if (pid_ > 0 && ::waitpid(pid_, &status, WNOHANG) == pid_) finished(status);
    return pid_ > 0;
  }
  /// Waits until the condition holds or the program ends. False if it ended first.
  bool wait_until(const std::function<bool()>& condition) {
    while (running()) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }
  Outcome wait() {
    if (pid_ > 0) {
      int status = 0;
      ::waitpid(pid_, &status, 0);
      finished(status);
    }
    return {code_, slurp(files_ / "out"), slurp(files_ / "err")};
  }

  [[noreturn]] static void exec(const Arguments& arguments, const Setup& setup,
                                const std::string& out, const std::string& err) {
    const auto redirect = [](const std::string& path, int fd) {
      if (path.empty()) return;
      const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
      ::dup2(file, fd);
    };
    redirect(out, 1);
    redirect(err, 2);
    for (const auto& [name, value] : setup.environment) ::setenv(name.c_str(), value.c_str(), 1);
    const auto restrict_to = [](auto resource, rlim_t value) {
      const rlimit limit{value, value};
      if (value != RLIM_INFINITY) ::setrlimit(resource, &limit);
    };
    restrict_to(RLIMIT_FSIZE, setup.file_size);
    restrict_to(RLIMIT_AS, setup.address_space);
    if (!setup.folder.empty() && ::chdir(setup.folder.c_str()) != 0) ::_exit(98);
    std::vector<char*> argv{const_cast<char*>(setup.program.c_str())};
    for (const std::string& argument : arguments)
      argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    ::execv(argv[0], argv.data());
    ::_exit(99);
  }

 private:
  void finished(int status) {
    code_ = exit_code(status);
    pid_ = -1;
  }

  TempFolder files_;
  pid_t pid_ = -1;
  int code_ = -1;
};

inline Outcome run(const Arguments& arguments, const Setup& setup = {}) {
  return Program(arguments, setup).wait();
}

/// Runs to success and returns standard output.
inline std::string run_well(const Arguments& arguments, const Setup& setup = {}) {
  const Outcome outcome = run(arguments, setup);
  INFO(fmt::format("muonlab {}\n{}{}", fmt::join(arguments, " "), outcome.out, outcome.err));
  REQUIRE(outcome.code == 0);
  return outcome.out;
}

/// Runs on a terminal of `columns`; returns everything that it showed.
inline Outcome run_on_terminal(const Arguments& arguments, unsigned short columns,
                               const Setup& setup = {}) {
  winsize size{};
  size.ws_row = 24;
  size.ws_col = columns;
  int terminal = -1;
  const pid_t pid = ::forkpty(&terminal, nullptr, nullptr, &size);
  REQUIRE(pid >= 0);
  if (pid == 0) Program::exec(arguments, setup, "", "");
  Outcome outcome;
  char part[4096];
  for (ssize_t n; (n = ::read(terminal, part, sizeof part)) > 0;)
    outcome.out.append(part, static_cast<std::size_t>(n));
  ::close(terminal);
  int status = 0;
  ::waitpid(pid, &status, 0);
  outcome.code = exit_code(status);
  return outcome;
}

/// A training run of a fraction of a second.
inline Arguments train(const std::string& folder, int steps, const Arguments& more = {}) {
  return Arguments{"train",
                   "--preset",
                   "tiny",
                   "--builtin_size",
                   "20000",
                   "--threads",
                   "1",
                   "--steps",
                   std::to_string(steps),
                   "--out",
                   folder,
                   "--batch",
                   "2",
                   "--eval_batches",
                   "2",
                   "--warmup",
                   "4",
                   "--n_embd",
                   "16",
                   "--block_size",
                   "16"} +
         more;
}

/// The value of a top-level text or number in a line of JSON.
inline std::string field(const std::string& json, const std::string& key) {
  const std::string start = '"' + key + "\": ";
  const std::size_t at = json.find(start);
  if (at == std::string::npos) return "";
  const std::size_t begin = at + start.size();
  const bool text = json[begin] == '"';
  const std::size_t end = text ? json.find('"', begin + 1) : json.find_first_of(",}", begin);
  return json.substr(begin + text, end - begin - text);
}

inline std::string weights_of(const std::string& run_or_checkpoint) {
  const std::string hash = field(run_well({"info", run_or_checkpoint, "--json"}), "weights_sha256");
  REQUIRE(hash.size() == 64);
  return hash;
}

inline std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size())
    ++count;
  return count;
}

inline std::string checkpoint(const std::string& folder, int step) {
  return fmt::format("{}/checkpoints/step_{:08}.safetensors", folder, step);
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// One sentence for a person: it has a name in front, no trace of the program's inside, and an end.
inline void check_error(const Outcome& outcome, int code, const Arguments& parts) {
  INFO(fmt::format("code {}\nout: {}\nerr: {}", outcome.code, outcome.out, outcome.err));
  CHECK(outcome.code == code);
  CHECK(outcome.err.rfind("muonlab: ", 0) == 0);
  CHECK(!contains(outcome.err, "terminate called"));
  CHECK(!contains(outcome.err, ".cpp"));
  for (const std::string& part : parts) {
    INFO("expected to read: " << part);
    CHECK(contains(outcome.err, part));
  }
}

}  // namespace muonlab::test
