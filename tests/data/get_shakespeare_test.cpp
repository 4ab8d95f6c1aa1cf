#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <thread>
#include <vector>

#include "data/corpus.h"
#include "tests/data/files.h"
#include "tests/support/catch.h"

using namespace muonlab;
using test::ScopedEnv;
using test::TempFolder;

namespace {

// Listens on a free port of the loopback interface and answers the first request with given bytes,
// or, if there are none, not at all until the client hangs up.
class OneAnswer {
 public:
  explicit OneAnswer(std::string answer) : OneAnswer() {
    thread_ = std::thread([this, answer = std::move(answer)] {
      const int client = ::accept(socket_, nullptr, nullptr);
      if (client < 0) return;
      std::string request;
      char buffer[1024];
      while (request.find("\r\n\r\n") == std::string::npos) {
        const auto n = ::recv(client, buffer, sizeof buffer, 0);
        if (n <= 0) break;
        request.append(buffer, static_cast<std::size_t>(n));
      }
      while (answer.empty() && ::recv(client, buffer, sizeof buffer, 0) > 0) {
      }
      for (std::size_t sent = 0; sent < answer.size();) {
        const auto n = ::send(client, answer.data() + sent, answer.size() - sent, MSG_NOSIGNAL);
        if (n <= 0) break;
        sent += static_cast<std::size_t>(n);
      }
      ::close(client);
    });
  }
  ~OneAnswer() {
    ::shutdown(socket_, SHUT_RDWR);  // ends accept() if nobody came
    if (thread_.joinable()) thread_.join();
    ::close(socket_);
  }
  OneAnswer(const OneAnswer&) = delete;
  OneAnswer& operator=(const OneAnswer&) = delete;
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/input.txt"; }

  // A port on which nobody listens: bound just now, and released.
  static std::string refused_url() { return OneAnswer().url(); }

 private:
  OneAnswer() : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* raw = reinterpret_cast<sockaddr*>(&address);
    REQUIRE(::bind(socket_, raw, size) == 0);
    REQUIRE(::listen(socket_, 1) == 0);
    REQUIRE(::getsockname(socket_, raw, &size) == 0);
    port_ = ntohs(address.sin_port);
  }
  int socket_, port_ = 0;
  std::thread thread_;
};

std::string ok(const std::string& body, std::size_t announced) {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(announced) +
         "\r\nConnection: close\r\n\r\n" + body;
}

struct Result {
  int code = 0;
  std::string output;  // both streams
};

Result run_script(const std::string& arguments) {
  const std::string command =
      "bash '" MUONLAB_SOURCE_DIR "/data/get_shakespeare.sh' " + arguments + " 2>&1";
  std::FILE* pipe = ::popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  Result result;
  char buffer[4096];
  for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;)
    result.output.append(buffer, n);
  result.code = WEXITSTATUS(::pclose(pipe));
  return result;
}

Result download(const std::string& url) { return run_script("--timeout 5 --url " + url); }

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Links the programs that the script uses into a folder, for a PATH that lacks all others.
void link_tools(const TempFolder& bin, const std::vector<std::string>& more) {
  std::vector<std::string> names = {"bash", "wc",   "mkdir", "mktemp",  "rm",        "chmod",
                                    "mv",   "grep", "tail",  "timeout", "sha256sum", "shasum"};
  names.insert(names.end(), more.begin(), more.end());
  std::stringstream path(std::getenv("PATH"));
  for (std::string folder; std::getline(path, folder, ':');)
    for (const std::string& name : names)
      if (std::filesystem::exists(folder + "/" + name) && !std::filesystem::exists(bin / name))
        std::filesystem::create_symlink(folder + "/" + name, bin / name);
}

bool have_downloader() {
  const bool found = std::system("command -v curl >/dev/null || command -v wget >/dev/null") == 0;
  if (!found) WARN("skipped: neither curl nor wget is installed");
  return found;
}

// What every failure must look like: one line that says how to go on, and nothing kept.
void check_failure(const Result& result, const TempFolder& cache) {
  INFO(result.output);
  CHECK(result.code == 1);
  CHECK(contains(result.output, "--data PATH"));
  CHECK(result.output.find('\n') == result.output.size() - 1);
  CHECK((!std::filesystem::exists(cache / "muonlab") ||
         std::filesystem::is_empty(cache / "muonlab")));
}

struct Sandbox {
  TempFolder cache;
  ScopedEnv xdg{"XDG_CACHE_HOME", cache.str().c_str()};
  ScopedEnv no_proxy{"no_proxy", "127.0.0.1"};
};

}  // namespace

TEST_CASE("get_shakespeare: answers that are not tiny Shakespeare leave nothing behind") {
  if (!have_downloader()) return;
  Sandbox sandbox;

  SECTION("another text of the right size") {
    const std::string body(1115394, 'a');
    const OneAnswer server(ok(body, body.size()));
    const Result result = download(server.url());
    check_failure(result, sandbox.cache);
    CHECK(contains(result.output, "its sha256 is"));
  }
  SECTION("another size") {
    const OneAnswer server(ok("To be", 5));
    const Result result = download(server.url());
    check_failure(result, sandbox.cache);
    CHECK(contains(result.output, "it has 5 bytes instead of 1115394"));
  }
  SECTION("an answer that breaks off") {
    const OneAnswer server(ok(std::string(50000, 'a'), 1115394));
    const Result result = download(server.url());
    check_failure(result, sandbox.cache);
    CHECK(contains(result.output, "cannot download " + server.url()));
  }
  SECTION("not found") {
    const OneAnswer server(
        "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnone");
    const Result result = download(server.url());
    check_failure(result, sandbox.cache);
    CHECK(contains(result.output, "404"));
  }
  SECTION("connection refused") {
    const Result result = download(OneAnswer::refused_url());
    check_failure(result, sandbox.cache);
    CHECK(contains(result.output, "cannot download"));
  }
  SECTION("a server that says nothing is given up after the time limit") {
    const OneAnswer server("");
    const auto start = std::chrono::steady_clock::now();
    check_failure(run_script("--timeout 1 --url " + server.url()), sandbox.cache);
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(30));
  }
}

TEST_CASE("get_shakespeare: the right text is kept, found and not downloaded again") {
  const std::string found = test::find_shakespeare();
  if (!have_downloader()) return;
  if (found.empty()) {
    WARN("skipped: no copy of tiny Shakespeare here");
    return;
  }
  Sandbox sandbox;
  std::stringstream text;
  text << std::ifstream(found, std::ios::binary).rdbuf();
  const std::string path = sandbox.cache / "muonlab/tinyshakespeare.txt";
  // A damaged copy is replaced.
  sandbox.cache.write("muonlab/tinyshakespeare.txt", "To be");
  {
    const OneAnswer server(ok(text.str(), text.str().size()));
    const Result result = download(server.url());
    CHECK(result.code == 0);
    CHECK(result.output == path + "\n");
  }
  DataConfig config;
  config.data = "shakespeare";
  CHECK(open_corpus(config).train.size() == 1003854);
  const Result again = download(OneAnswer::refused_url());
  CHECK(again.code == 0);
  CHECK(again.output == path + "\n");
}

TEST_CASE("get_shakespeare: either downloader will do, and without both it says so") {
  for (const std::string tool : {"curl", "wget"}) {
    if (std::system(("command -v " + tool + " >/dev/null").c_str()) != 0) {
      WARN("skipped: " << tool << " is not installed");
      continue;
    }
    Sandbox sandbox;
    const TempFolder bin;
    link_tools(bin, {tool});
    const ScopedEnv path("PATH", bin.str().c_str());
    const OneAnswer server(ok("To be", 5));
    const Result result = download(server.url());
    check_failure(result, sandbox.cache);
    CHECK(contains(result.output, "it has 5 bytes instead of 1115394"));
    const Result refused = download(OneAnswer::refused_url());
    check_failure(refused, sandbox.cache);
    CHECK(contains(refused.output, "cannot download"));
  }
  Sandbox sandbox;
  const TempFolder bin;
  link_tools(bin, {});
  const ScopedEnv path("PATH", bin.str().c_str());
  const Result result = download(OneAnswer::refused_url());
  check_failure(result, sandbox.cache);
  CHECK(contains(result.output, "neither curl nor wget is installed"));
}

TEST_CASE("get_shakespeare: usage and folders") {
  Sandbox sandbox;
  CHECK(run_script("--help").code == 0);
  CHECK(run_script("--nonsense").code == 2);
  CHECK(run_script("--url").code == 2);
  for (const char* seconds : {"0", "x", "-3", "1.5", "''"})
    CHECK(run_script(std::string("--timeout ") + seconds).code == 2);
  {
    const ScopedEnv nothing("XDG_CACHE_HOME", "relative"), no_home("HOME", nullptr);
    const Result result = download(OneAnswer::refused_url());
    CHECK(result.code == 1);
    CHECK(contains(result.output, "no cache folder"));
  }
  sandbox.cache.write("muonlab", "a file where the folder should be");
  const Result result = download(OneAnswer::refused_url());
  CHECK(result.code == 1);
  CHECK(contains(result.output, "cannot create the folder"));
}
